"""What can be said about a span of a fixed shape: all that the API has."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from service.telemetry.recorded_spans import RecordedSpan
from service.telemetry.span_definitions import PUBLISH
from service.telemetry.spans import FinishedSpans
from tests.support.spans import ORIGIN, recorder

OTHER = SpanContext(3, 4, is_remote=True)


def started() -> tuple[RecordedSpan, FinishedSpans]:
    """Return a span that goes on, and where it is told of its end."""
    finished = FinishedSpans()
    spans = recorder(finished)
    shape = spans.shape(PUBLISH, {"channel": "a:*"}, {"a": "1"}, "b", "c")
    return spans.start(shape, None, (2, None)), finished


def test_it_says_what_its_shape_and_its_values_say() -> None:
    """Name, kind, and the attributes that have a value."""
    span, finished = started()
    span.end()

    (told,) = finished.spans()
    assert (told.name, told.kind) == ("publish a:*", SpanKind.PRODUCER)
    assert dict(told.attributes or {}) == {"a": "1", "b": 2}
    assert (told.resource, told.instrumentation_scope) == (ORIGIN.resource, ORIGIN.scope)
    assert told.status.is_unset


def test_more_can_be_said_until_it_ends() -> None:
    """Attributes, events, links and another name, as of any span of the API."""
    span, finished = started()
    with span:
        span.set_attributes({"d": 4, "b": 3, "a": "other"})
        span.add_event("seen", {"n": 1}, 7)
        span.record_exception(ValueError("a secret"))
        span.add_link(OTHER, {"why": "x"})
        span.update_name("other")
    span.add_event("late")
    span.add_link(OTHER)
    span.update_name("late")
    span.set_status(StatusCode.ERROR)

    (told,) = finished.spans()
    assert (told.name, span.is_recording()) == ("other", False)
    assert dict(told.attributes or {}) == {"a": "other", "b": 3, "d": 4}
    # Nothing would be exported twice.
    assert (span.shape.attributes, span.shape.names, span.values) == ({}, ("c",), (None,))
    seen, raised = told.events
    assert (seen.name, seen.timestamp, dict(seen.attributes or {})) == ("seen", 7, {"n": 1})
    assert dict(raised.attributes or {}) == {"exception.type": "builtins.ValueError"}
    assert [(link.context, dict(link.attributes or {})) for link in told.links] == [
        (OTHER, {"why": "x"})
    ]
    assert span.rest is not None and span.rest.status.is_unset


def test_ok_is_final() -> None:
    """An error can become OK, and unset changes nothing; what is OK stays so."""
    span, finished = started()
    span.set_status(StatusCode.ERROR, "why")
    span.set_status(StatusCode.UNSET)
    assert span.rest is not None
    failed = span.rest.status
    span.set_status(Status(StatusCode.OK))
    span.set_status(StatusCode.ERROR)
    span.end()

    assert (failed.status_code, failed.description) == (StatusCode.ERROR, "why")
    assert finished.spans()[0].status.status_code is StatusCode.OK
