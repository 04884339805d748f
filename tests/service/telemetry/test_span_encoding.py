"""Spans in OTLP: the same requests as those of the exporter's own encoder."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from service.telemetry.recorded_spans import RecordedSpan, SpanOrigin, SpanShape
from service.telemetry.span_encoding import SpanEncoder
from service.telemetry.spans import FinishedSpans
from tests.support.spans import recorder

RESOURCES = (
    Resource({"service.name": "a", "process.pid": 7}, "https://example.org/schema"),
    Resource({}),
)
SCOPES = (
    None,
    InstrumentationScope("gatewatch", "1.0"),
    InstrumentationScope("x", schema_url="https://example.org/x", attributes={"a": True}),
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
names = st.sampled_from(["http.route", "size", "messaging.system"]) | words.filter(bool)
plain = (
    words
    | st.booleans()
    | st.sampled_from([0, 1, 127, 128, 200, -1, 2**63 - 1, -(2**63)])
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=20)
    | st.none()
)
values = plain | st.lists(plain, max_size=3).map(tuple) | st.dictionaries(words, plain, max_size=2)
attributes = st.dictionaries(names, values, max_size=5)
times = st.integers(0, 2**63)
states = st.none() | st.just(TraceState([("vendor", "1"), ("other", "x")]))
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(TraceFlags.SAMPLED)),
    states,
)
statuses = (
    st.just(Status())
    | st.just(Status(StatusCode.OK))
    | st.builds(Status, st.just(StatusCode.ERROR), st.none() | words)
)
spans = st.builds(
    ReadableSpan,
    name=words,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.sampled_from(RESOURCES),
    attributes=attributes,
    events=st.lists(st.builds(Event, words, attributes, times), max_size=2),
    links=st.lists(st.builds(Link, contexts, attributes), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=st.none() | times,
    end_time=st.none() | times,
    instrumentation_scope=st.sampled_from(SCOPES),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(spans, max_size=4), min_size=1, max_size=3))
def test_requests_equal_those_of_the_exporter(batches: list[list[ReadableSpan]]) -> None:
    """Whatever spans hold, and however often the same encoder is used."""
    encoder = SpanEncoder()

    for batch in batches:
        assert ExportTraceServiceRequest.FromString(encoder.encode(batch)) == encode_spans(batch)


shapes = st.builds(
    SpanShape,
    words,
    st.sampled_from(SpanKind),
    st.dictionaries(words.filter(bool), words, max_size=3),
    st.just(("one", "two", "three")),
    st.builds(
        SpanOrigin,
        st.sampled_from(RESOURCES),
        # Equal to one of the others, and another object.
        st.builds(InstrumentationScope, st.just("gatewatch"), st.just("1.0")),
    ),
)


@st.composite
def recorded(draw: st.DrawFn) -> RecordedSpan:
    """Return a span of a fixed shape that ended."""
    spans = recorder()
    span = RecordedSpan(
        draw(shapes),
        draw(contexts),
        draw(st.none() | contexts),
        (draw(st.none() | words), draw(st.none() | st.integers(-5, 2**40)), draw(st.booleans())),
        draw(st.lists(contexts, max_size=2).map(tuple)),
        draw(times),
        spans,
    )
    # Nothing that the SDK's form would leave out, as an attribute without a name.
    simple = words | st.booleans() | st.integers(-5, 2**40)
    span.set_attributes(draw(st.dictionaries(names, simple, max_size=2)))
    if draw(st.booleans()):
        span.set_status(draw(statuses))
        span.add_event("e", draw(attributes), draw(times))
        span.add_link(draw(contexts), draw(attributes))
    span.end(draw(times))
    return span


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(recorded() | spans, max_size=4), min_size=1, max_size=3))
def test_recorded_spans_equal_those_of_the_sdk(
    batches: list[list[ReadableSpan | RecordedSpan]],
) -> None:
    """The same request comes out as of their SDK forms, also among spans of the SDK."""
    encoder, unlimited = SpanEncoder(), SpanLimits(max_span_attributes=SpanLimits.UNSET)

    for batch in batches:
        readable = [
            span.readable(unlimited) if isinstance(span, RecordedSpan) else span for span in batch
        ]
        for _ in range(2):  # what is known is written again
            request = ExportTraceServiceRequest.FromString(encoder.encode(batch))
            assert request == encode_spans(readable)


def test_spans_of_the_sdk_say_what_was_dropped() -> None:
    """Attributes, events and links beyond the SDK's limits are counted."""
    finished = FinishedSpans()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(finished)
    other = SpanContext(1, 2, is_remote=True)
    span = provider.get_tracer("test").start_span("x", links=[Link(other)] * 130)
    for number in range(130):
        span.set_attribute(f"a{number}", number)
        span.add_event("e", {"n": number})
    span.end()

    encoded = ExportTraceServiceRequest.FromString(SpanEncoder().encode(finished.spans()))

    assert encoded == encode_spans(finished.spans())
    (sent,) = encoded.resource_spans[0].scope_spans[0].spans
    dropped = (sent.dropped_attributes_count, sent.dropped_events_count, sent.dropped_links_count)
    assert dropped == (2, 2, 2)


def test_what_protobuf_has_no_form_for_is_sent_as_text() -> None:
    """One odd value costs neither its span nor the others of the batch."""
    given: dict[str, Any] = {"big": 2**63, "half": "a\ud800", "fine": 1}
    context = SpanContext(1, 2, is_remote=False)
    batch = [ReadableSpan("\udfff", context, attributes=given, resource=RESOURCES[1])]

    request = ExportTraceServiceRequest.FromString(SpanEncoder().encode(batch))

    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.name == "?"
    found = {each.key: each.value for each in span.attributes}
    assert found["big"].string_value == "9223372036854775808"
    assert found["half"].string_value == "a?"
    assert found["fine"].int_value == 1


def test_any_number_of_values_may_come() -> None:
    """What is kept is bounded, and what follows is as true as before."""
    encoder = SpanEncoder()
    context = SpanContext(1, 2, is_remote=False)
    many = [
        ReadableSpan("x", context, attributes={"id": f"{number}"}, resource=RESOURCES[0])
        for number in range(10_000)
    ]

    request = ExportTraceServiceRequest.FromString(encoder.encode(many))

    sent = request.resource_spans[0].scope_spans[0].spans
    assert [int(span.attributes[0].value.string_value) for span in sent] == [*range(10_000)]
