"""What all channels are handed."""

from __future__ import annotations

import json
from dataclasses import InitVar, dataclass, field

from alerts.clock import Clock
from alerts.notify.apprise_sender import AppriseSender, ThreadedApprise
from alerts.notify.http_requests import Encode
from alerts.notify.mail_transport import MailTransport, SMTPTransport
from alerts.notify.pacing import Pacers
from alerts.notify.templates import TemplateLibrary
from alerts.notify.transport import Transport


def encode_json(value: object) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class ChannelContext:
    """What all channels are handed.

    Attributes:
        transport: Sends HTTP requests.
        clock: Time stamps of requests, and the pace.
        templates: The texts.
        external_url: Where this process is reached by people.
        allow_private: Whether the URLs of the configuration may lead to this machine and private
            networks. A URL whose host comes out of the data of alerts never may.
        encode: Makes JSON.
        mail: Sends mail.
        apprise: Sends what Apprise knows how to send.
        known_pacers: Pacers to go on with.
        pacers: The pace of what is sent; channels to the same place share one.
    """

    transport: Transport
    clock: Clock
    templates: TemplateLibrary = field(default_factory=TemplateLibrary)
    external_url: str = ""
    allow_private: bool = True
    encode: Encode = encode_json
    mail: MailTransport = field(default_factory=SMTPTransport)
    apprise: AppriseSender = field(default_factory=ThreadedApprise)
    known_pacers: InitVar[Pacers | None] = None
    pacers: Pacers = field(init=False)

    def __post_init__(self, known_pacers: Pacers | None) -> None:
        """Start with nothing sent, unless there are pacers that know better."""
        object.__setattr__(self, "pacers", known_pacers or Pacers(self.clock))
