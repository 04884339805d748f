"""The settings of checks of ports, certificates, names and hosts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from service.config.addresses import split_address
from service.config.probe_settings import ProbeTLSSettings
from service.config.section import Section
from service.config.types import Address, Duration, PositiveDuration, Secret


def _server(value: str) -> str:
    if value:
        split_address(value, 53)
    return value


def _host(value: str) -> str:
    host, _ = split_address(f"[{value}]" if ":" in value else value, 1)
    return host


def _websocket_url(value: str) -> str:
    if not value.startswith(("ws://", "wss://")) or not value.partition("://")[2]:
        raise ValueError(f"{value!r} is no URL of a WebSocket; write one such as ws://host/path")
    return value


DNSServer = Annotated[str, AfterValidator(_server)]
Host = Annotated[str, AfterValidator(_host)]
WebSocketURL = Annotated[str, AfterValidator(_websocket_url)]


class TCPProbeSettings(Section):
    """A port that takes connections, and perhaps answers."""

    address: Address
    """Host and port, such as db.example.com:5432."""
    send: str = ""
    """Text to send once connected."""
    expect: str = ""
    """Text that must be in what comes back, of which the first 64KiB are read."""


class TLSProbeSettings(Section):
    """A certificate that is valid, and stays so for a while."""

    address: Address
    """Host and port, such as example.com:443."""
    starttls: Literal["", "smtp", "imap", "pop3"] = ""
    """The protocol in which TLS is asked for first; empty: TLS from the start."""
    min_validity: Duration = 7 * 86400.0
    """How long the certificate has to be valid still; conditions on [CERTIFICATE_EXPIRATION] take
    its place."""
    tls: ProbeTLSSettings = ProbeTLSSettings()
    """How the connection is made."""


class DNSProbeSettings(Section):
    """A name that resolves."""

    query_name: str
    """The name to ask for."""
    query_type: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "CAA"] = "A"
    """What to ask for."""
    server: DNSServer = ""
    """Server to ask, with a port if it is not 53; empty: those of this machine."""
    transport: Literal["udp", "tcp"] = "udp"
    """How to ask; an answer that does not fit into UDP is asked for again with TCP."""
    expect: tuple[str, ...] = ()
    """Answers of which at least one has to come; empty: any answer will do."""


class ICMPProbeSettings(Section):
    """A host that answers pings."""

    host: Host
    """Its name or address."""


class WebSocketProbeSettings(Section):
    """A WebSocket that opens, and perhaps answers."""

    url: WebSocketURL
    """Where to, ws:// or wss://."""
    headers: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Headers of the request that opens it."""
    subprotocols: tuple[str, ...] = ()
    """Protocols to offer."""
    send: str = ""
    """Text to send once it is open."""
    expect: str = ""
    """Text that must be in the first message."""
    centrifuge: bool = False
    """Connect as a client of Centrifugo or gatewatch does; the answer must not be an error."""
    centrifuge_token: Secret | None = None
    """Token of that connection."""
    tls: ProbeTLSSettings = ProbeTLSSettings()
    """How TLS connections are made."""


class PushProbeSettings(Section):
    """Something that reports by itself, with `POST /health/push/{check}`; silence is a failure."""

    token: Secret
    """What it sends as `Authorization: Bearer`."""
    max_silence: PositiveDuration | None = None
    """How long it may be silent; unset: twice the interval of the check."""
