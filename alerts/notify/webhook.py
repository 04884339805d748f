"""The webhook channel: Alertmanager's JSON, version 4, posted to a URL.

Source: Alertmanager, notify/webhook/webhook.go and template/template.go (Data).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from alerts.clock import Clock
from alerts.model import Alert, format_time
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.notification import Notification, status_of
from alerts.notify.secret import Secret
from alerts.notify.transport import (
    Transport,
    TransportError,
    TransportRequest,
    TransportResponse,
)
from alerts.series.labels import Labels

Encode = Callable[[object], bytes]
"""Returns a value as JSON."""

DEFAULT_TIMEOUT_S: Final = 30.0
_RETRIED_STATUSES: Final = {
    408: FailureReason.TIMEOUT,
    429: FailureReason.THROTTLED,
}
_SHOWN_BODY: Final = 200


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """A ``webhook_configs`` entry.

    Attributes:
        url: Where to post.
        send_resolved: Whether alerts that ended are sent.
        max_alerts: Most alerts in one request; 0: all.
        timeout_s: Longest wait for the answer, in seconds.
        headers: Header fields to add; they may hold credentials.
    """

    url: Secret
    send_resolved: bool = True
    max_alerts: int = 0
    timeout_s: float = DEFAULT_TIMEOUT_S
    headers: tuple[tuple[str, Secret], ...] = ()


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """One webhook of a receiver.

    Attributes:
        key: See ``Channel``.
        receiver: See ``Channel``.
        config: What the configuration says.
        transport: Sends the request.
        clock: Turns a date in ``Retry-After`` into a delay.
        external_url: Where this process is reached by people.
        encode: Makes the JSON.
    """

    key: str
    receiver: str
    config: WebhookConfig
    transport: Transport
    clock: Clock
    external_url: str = ""
    encode: Encode = field(default=lambda value: json.dumps(value).encode())

    @property
    def sends_resolved(self) -> bool:
        """Whether it is told about alerts that ended."""
        return self.config.send_resolved

    async def deliver(self, notification: Notification) -> None:
        """Post the notification once.

        Raises:
            DeliveryError: There was no answer, or one other than 2xx.
        """
        body = self.encode(
            payload(notification, max_alerts=self.config.max_alerts, external_url=self.external_url)
        )
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": notification.id,
            **{name: value.reveal() for name, value in self.config.headers},
        }
        try:
            response = await self.transport.send(
                TransportRequest(
                    "POST", self.config.url.reveal(), headers, body, self.config.timeout_s
                )
            )
        except TransportError as error:
            reason = FailureReason.TIMEOUT if error.is_timeout else FailureReason.NETWORK
            # Not chained: the transport's own error may show the URL.
            raise DeliveryError(self._redact(f"no answer: {error}"), reason) from None
        self._judge(response)

    def _judge(self, response: TransportResponse) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        shown = response.body[:_SHOWN_BODY].decode(errors="replace").strip()
        message = self._redact(f"the answer was {status}{f': {shown}' if shown else ''}")
        if status >= 500 or status in _RETRIED_STATUSES:
            raise DeliveryError(
                message,
                _RETRIED_STATUSES.get(status, FailureReason.SERVER_ERROR),
                retry_after_s=retry_after_s(response.header("Retry-After"), self.clock.time()),
            )
        if 300 <= status < 400:
            message = f"the answer was {status}: redirects are not followed, set the final URL"
            raise DeliveryError(message, FailureReason.REDIRECTED, permanent=True)
        raise DeliveryError(message, FailureReason.REFUSED, permanent=True)

    def _redact(self, message: str) -> str:
        for secret in (self.config.url, *(value for _, value in self.config.headers)):
            message = secret.redact(message)
        return message


def payload(notification: Notification, *, max_alerts: int, external_url: str) -> dict[str, object]:
    """Return the body of the request, ready for JSON."""
    alerts = notification.alerts[:max_alerts] if max_alerts else notification.alerts
    return {
        "receiver": notification.receiver,
        "status": status_of(alerts),
        "alerts": [_alert(alert) for alert in alerts],
        "groupLabels": dict(notification.group_labels),
        "commonLabels": _common([alert.labels for alert in alerts]),
        "commonAnnotations": _common([alert.annotations for alert in alerts]),
        "externalURL": external_url,
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": len(notification.alerts) - len(alerts),
    }


def _alert(alert: Alert) -> dict[str, object]:
    return {
        "status": status_of((alert,)),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": format_time(alert.starts_at_ms),
        "endsAt": format_time(alert.ends_at_ms),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def _common(sets: Sequence[Labels]) -> dict[str, str]:
    first, *others = sets
    return {
        name: text for name, text in first.pairs if all(other.get(name) == text for other in others)
    }


def retry_after_s(value: str, now_s: float) -> float | None:
    """Return the seconds a ``Retry-After`` field asks for, None when it is absent or malformed.

    Source: RFC 9110, section 10.2.3: a number of seconds, or an HTTP date.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_s)
