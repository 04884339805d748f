"""What ``gatewatch notify test`` does: one marked alert through every channel of a receiver."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit
from uuid import uuid4

from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import Clock, SystemClock
from alerts.model import ALERT_NAME, Alert
from alerts.notify.apprise_sender import AppriseSender, ThreadedApprise
from alerts.notify.channel import Channel
from alerts.notify.channels import ChannelContext, build_channels
from alerts.notify.errors import DeliveryError
from alerts.notify.mail_transport import Mail, MailServer, MailTransport, SMTPTransport
from alerts.notify.notification import Notification
from alerts.notify.secret import HIDDEN, Secret
from alerts.notify.transport import Transport, TransportRequest, TransportResponse
from alerts.routing.model import Receiver, RoutingConfig
from alerts.series.labels import Labels
from service.codec import encode
from service.config.settings import Settings
from service.pools.http import HTTPConnectionPool
from service.pools.transport import PoolTransport
from service.telemetry.instruments import Instruments

TEST_ALERT: Final = "GatewatchTest"
"""Name of the alert that is sent."""

_SHOWN_ANSWER: Final = 2000
_SHOWN_BODY: Final = 20_000
_SECRET_HEADERS: Final = frozenset(("authorization", "x-gotify-key", "x-auth-token"))


@runtime_checkable
class Redacting(Protocol):
    """A channel that knows what must not show."""

    def redact(self, message: str) -> str:
        """Return a message without the secrets of the channel."""


@dataclass(slots=True)
class Exchange:
    """One request and what came of it, as they may be shown.

    Attributes:
        request: Method and URL, or what stands for them.
        headers: Header fields of the request.
        body: Its body.
        status: Status of the answer; None without one.
        answer: Beginning of the answer's body.
    """

    request: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    status: int | None = None
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one channel.

    Attributes:
        channel: Its key.
        exchanges: What was sent and answered.
        error: Why it failed; empty when it did not.
        permanent: Whether trying again would make no sense.
        skipped: Why nothing was sent; empty when something was.
    """

    channel: str
    exchanges: tuple[Exchange, ...] = ()
    error: str = ""
    permanent: bool = False
    skipped: str = ""


class _Recorder:
    """Keeps what passes: a transport, a mail transport and a sender of Apprise's in one."""

    def __init__(self, transport: Transport) -> None:
        self.exchanges: list[Exchange] = []
        self._transport = transport

    async def send(self, request: TransportRequest) -> TransportResponse:
        """Send a request."""
        exchange = Exchange(
            f"{request.method} {request.url}",
            dict(request.headers),
            request.body[:_SHOWN_BODY].decode(errors="replace"),
        )
        self.exchanges.append(exchange)
        response = await self._transport.send(request)
        exchange.status = response.status
        exchange.answer = response.body[:_SHOWN_ANSWER].decode(errors="replace")
        return response


class _MailRecorder:
    def __init__(self, exchanges: list[Exchange], mail: MailTransport) -> None:
        self._exchanges = exchanges
        self._mail = mail

    async def send(self, server: MailServer, mail: Mail) -> str:
        """Send a mail."""
        where = f"mail by {server.host}:{server.port}, TLS {server.encryption}"
        exchange = Exchange(
            f"{where}, from {mail.sender} to {', '.join(mail.recipients)}",
            body=mail.content[:_SHOWN_BODY].decode(errors="replace"),
        )
        self._exchanges.append(exchange)
        exchange.answer = await self._mail.send(server, mail)
        return exchange.answer


class _AppriseRecorder:
    def __init__(self, exchanges: list[Exchange], sender: AppriseSender) -> None:
        self._exchanges = exchanges
        self._sender = sender

    async def send(
        self, url: Secret, title: str, text: str, kind: Literal["failure", "success"]
    ) -> None:
        """Send a text."""
        scheme = url.reveal().partition("://")[0]
        self._exchanges.append(Exchange(f"Apprise {scheme}://{HIDDEN}", body=f"{title}\n{text}"))
        await self._sender.send(url, title, text, kind)


async def run_notify_test(
    settings: Settings, routing: RoutingConfig, receiver: Receiver, *, resolved: bool
) -> tuple[Outcome, ...]:
    """Send a test alert through every channel of a receiver.

    Args:
        settings: All settings; ``pools.http`` and ``alerts.external_url`` are used.
        routing: Where the receiver is from; its templates are used.
        receiver: Who is told.
        resolved: Whether the alert has ended.
    """
    clock = SystemClock()
    async with HTTPConnectionPool(
        settings.pools.http,
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=clock,
    ) as pool:
        recorder = _Recorder(PoolTransport(pool))
        context = ChannelContext(
            recorder,
            clock,
            routing.templates,
            external_url=_external_url(settings),
            allow_private=settings.alerts.private_addresses,
            encode=encode,
            mail=_MailRecorder(recorder.exchanges, SMTPTransport()),
            apprise=_AppriseRecorder(recorder.exchanges, ThreadedApprise()),
        )
        channels = build_channels(receiver.name, receiver.channels, context)
        return tuple(
            [await _outcome(channel, recorder, clock, resolved=resolved) for channel in channels]
        )


def _external_url(settings: Settings) -> str:
    operations = settings.operations
    return settings.alerts.external_url or f"http://{operations.host}:{operations.port}"


async def _outcome(
    channel: Channel, recorder: _Recorder, clock: Clock, *, resolved: bool
) -> Outcome:
    if resolved and not channel.sends_resolved:
        return Outcome(channel.key, skipped="it is not told about alerts that ended: send_resolved")
    recorder.exchanges.clear()
    error: DeliveryError | None = None
    try:
        await channel.deliver(_notification(channel, clock, resolved=resolved))
    except DeliveryError as caught:
        error = caught
    exchanges = tuple(_shown(channel, exchange) for exchange in recorder.exchanges)
    return Outcome(
        channel.key,
        exchanges,
        "" if error is None else str(error),
        permanent=error is not None and error.permanent,
    )


def _notification(channel: Channel, clock: Clock, *, resolved: bool) -> Notification:
    now_ms = int(clock.time() * 1000)
    labels = Labels({ALERT_NAME: TEST_ALERT, "severity": "none", "receiver": channel.receiver})
    text = f"Test of the receiver {channel.receiver}: nothing is wrong"
    alert = Alert(
        labels,
        Labels({"summary": text, "description": "Sent by gatewatch notify test."}),
        now_ms - 60_000,
        now_ms if resolved else None,
    )
    return Notification(
        id=str(uuid4()),
        channel=channel.key,
        receiver=channel.receiver,
        group_key=f'{{}}:{{alertname="{TEST_ALERT}"}}',
        group_labels=Labels({ALERT_NAME: TEST_ALERT}),
        alerts=(alert,),
        created_at_ms=now_ms,
        reason="all alerts resolved" if resolved else "first notification",
    )


def _shown(channel: Channel, exchange: Exchange) -> Exchange:
    def redact(text: str) -> str:
        return channel.redact(text) if isinstance(channel, Redacting) else text

    headers = {
        name: HIDDEN if name.lower() in _SECRET_HEADERS else redact(value)
        for name, value in exchange.headers.items()
    }
    return Exchange(
        _shown_request(exchange.request, redact),
        headers,
        redact(exchange.body),
        exchange.status,
        redact(exchange.answer),
    )


def _shown_request(request: str, redact: Callable[[str], str]) -> str:
    """Return a request with its host, which is no secret, and the rest as far as it is none."""
    method, _, url = request.partition(" ")
    if not url.startswith(("http://", "https://")):
        return redact(request)
    parts = urlsplit(url)
    tail = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"{method} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{redact(tail)}"


def as_data(receiver: str, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
    """Return outcomes for machines."""
    return {
        "receiver": receiver,
        "ok": not any(outcome.error for outcome in outcomes),
        "channels": [
            {
                "channel": outcome.channel,
                "ok": not outcome.error,
                "error": outcome.error,
                "permanent": outcome.permanent,
                "skipped": outcome.skipped,
                "requests": [
                    {
                        "request": exchange.request,
                        "headers": exchange.headers,
                        "body": exchange.body,
                        "status": exchange.status,
                        "answer": exchange.answer,
                    }
                    for exchange in outcome.exchanges
                ],
            }
            for outcome in outcomes
        ],
    }


def as_lines(outcome: Outcome) -> list[str]:
    """Return an outcome for people."""
    lines = [f"{outcome.channel}: {_verdict(outcome)}"]
    for exchange in outcome.exchanges:
        lines.append(f"  > {exchange.request}")
        lines += [f"  > {name}: {value}" for name, value in exchange.headers.items()]
        lines += [f"  > {line}" for line in _pretty(exchange.body).splitlines()]
        if exchange.status is not None:
            lines.append(f"  < {exchange.status}")
        lines += [f"  < {line}" for line in exchange.answer.splitlines()]
    return lines


def _verdict(outcome: Outcome) -> str:
    if outcome.skipped:
        return f"skipped, {outcome.skipped}"
    if not outcome.error:
        return "accepted"
    kind = "refused" if outcome.permanent else "failed, would be tried again"
    return f"{kind}: {outcome.error}"


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
