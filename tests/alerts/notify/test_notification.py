"""Notifications as the outbox keeps them, and the trace they belong to."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from alerts.model import Alert
from alerts.notify.notification import (
    Notification,
    span_context_of,
    status_of,
    trace_parent_of,
)
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, make_alert, make_notification

LABELS = st.dictionaries(st.text(), st.text()).map(Labels)
TIMES = st.integers(0, 2**50)
ALERTS = st.builds(Alert, LABELS, LABELS, TIMES, st.none() | TIMES, st.text())


@given(LABELS, st.lists(ALERTS, max_size=3), st.text(), TIMES)
def test_round_trip(labels: Labels, alerts: list[Alert], key: str, created_at_ms: int) -> None:
    """What the outbox reads is what was written."""
    notification = make_notification(
        group=key, group_labels=labels, alerts=tuple(alerts), created_at_ms=created_at_ms
    )

    assert Notification.from_json(notification.to_json()) == notification


def test_status() -> None:
    """A notification is firing while one of its alerts is."""
    firing, ended = make_alert(), make_alert(ends_at_ms=START_MS)

    assert status_of((ended, firing)) == "firing"
    assert status_of((ended,)) == "resolved"


def test_trace_parent() -> None:
    """A span's identity survives as text."""
    span_context = TracerProvider().get_tracer("t").start_span("s").get_span_context()

    found = span_context_of(trace_parent_of(span_context))

    assert found is not None
    assert (found.trace_id, found.span_id) == (span_context.trace_id, span_context.span_id)


def test_no_trace_parent() -> None:
    """No span, or a malformed text, is no span."""
    assert trace_parent_of(None) == ""
    assert span_context_of("") is None
    assert span_context_of("00-nonsense") is None


def test_earlier_rows() -> None:
    """What an earlier version left in the outbox is read."""
    text = make_notification("n1", reason="x").to_json()
    data = json.loads(text)
    for name in ("reason", "route_labels", "believed"):
        del data[name]

    assert Notification.from_json(json.dumps(data)) == make_notification("n1")
