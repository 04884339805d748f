"""A notification: what one channel is told about one aggregation group at one moment.

It holds what happened, not how a channel puts it: each channel makes its own request of it when
it sends, so that signatures and time stamps are fresh on every attempt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from alerts.model import Alert
from alerts.series.labels import Labels

Status = Literal["firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Notification:
    """What a channel is told.

    Attributes:
        id: Unique; the same over all attempts.
        channel: Key of the channel it goes to.
        receiver: Name of the receiver the channel belongs to.
        group_key: Identity of the aggregation group; order is kept within it.
        group_labels: The labels the alerts were grouped by.
        alerts: Sorted; ``ends_at_ms`` is None for those that fire.
        created_at_ms: When it was made, in milliseconds of Unix time.
        trace_parent: W3C trace context of the evaluation it came from, empty when unknown.
        reason: Why it is sent, in Alertmanager's words, such as ``new alerts added``.
        route_labels: What the route adds, as its templates are written.
        believed: Fingerprints of the alerts its channel was told before to fire.
    """

    id: str
    channel: str
    receiver: str
    group_key: str
    group_labels: Labels
    alerts: tuple[Alert, ...]
    created_at_ms: int
    trace_parent: str = ""
    reason: str = ""
    route_labels: Labels = field(default_factory=Labels)
    believed: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the text the outbox keeps."""
        return json.dumps(
            {
                "id": self.id,
                "channel": self.channel,
                "receiver": self.receiver,
                "group_key": self.group_key,
                "group_labels": dict(self.group_labels),
                "alerts": [alert_to_dict(alert) for alert in self.alerts],
                "created_at_ms": self.created_at_ms,
                "trace_parent": self.trace_parent,
                "reason": self.reason,
                "route_labels": dict(self.route_labels),
                "believed": self.believed,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Notification:
        """Return the notification of a text that ``to_json`` made, also in an earlier version."""
        data = json.loads(text)
        return cls(
            **{
                **data,
                "group_labels": Labels(data["group_labels"]),
                "alerts": tuple(alert_from_dict(alert) for alert in data["alerts"]),
                "route_labels": Labels(data.get("route_labels", {})),
                "believed": tuple(data.get("believed", ())),
            }
        )


def alert_to_dict(alert: Alert) -> dict[str, Any]:
    """Return an alert as plain values, for JSON."""
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at_ms": alert.starts_at_ms,
        "ends_at_ms": alert.ends_at_ms,
        "generator_url": alert.generator_url,
    }


def alert_from_dict(data: dict[str, Any]) -> Alert:
    """Return the alert of plain values that ``alert_to_dict`` made."""
    return Alert(
        labels=Labels(data["labels"]),
        annotations=Labels(data["annotations"]),
        starts_at_ms=data["starts_at_ms"],
        ends_at_ms=data["ends_at_ms"],
        generator_url=data["generator_url"],
    )


def status_of(alerts: tuple[Alert, ...]) -> Status:
    """Return firing when at least one alert of a notification fires."""
    return "firing" if any(alert.ends_at_ms is None for alert in alerts) else "resolved"


def trace_parent_of(span_context: SpanContext | None) -> str:
    """Return a span's identity as W3C trace context, empty for none."""
    if span_context is None or not span_context.is_valid:
        return ""
    carrier: dict[str, str] = {}
    context = trace.set_span_in_context(NonRecordingSpan(span_context), Context())
    TraceContextTextMapPropagator().inject(carrier, context)
    return carrier.get("traceparent", "")


def span_context_of(trace_parent: str) -> SpanContext | None:
    """Return the span a W3C trace context names, None when there is none."""
    context = TraceContextTextMapPropagator().extract({"traceparent": trace_parent}, Context())
    span_context = trace.get_current_span(context).get_span_context()
    return span_context if span_context.is_valid else None
