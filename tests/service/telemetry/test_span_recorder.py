"""Spans of fixed shapes: recorded when the SDK's sampler would, and told to whoever listens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from alerts.clock import ManualClock
from service.telemetry.export import ExportQueue, QueueLimits
from service.telemetry.late_spans import LatePolicy
from service.telemetry.recorded_spans import RecordedSpan, SpanShape
from service.telemetry.sampling import EntrySampler, MessageSampling, create_sampler, with_links
from service.telemetry.sampling_rules import SamplingRule, SamplingRules
from service.telemetry.span_definitions import SEND
from service.telemetry.span_recorder import SpanRecorder
from service.telemetry.spans import FinishedSpans
from tests.support.spans import ORIGIN, recorder

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
PARENT = SpanContext(1, 2, is_remote=False, trace_flags=SAMPLED)
OTHER = SpanContext(3, 4, is_remote=True, trace_flags=SAMPLED)

flags = st.sampled_from([TraceFlags(bits) for bits in range(4)])
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    flags,
    st.none() | st.just(TraceState([("vendor", "1")])),
)
rules = st.lists(
    st.builds(
        SamplingRule, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from(["send *", "publish *"])
    ),
    max_size=2,
)


def shape_of(spans: SpanRecorder) -> SpanShape:
    """Return the shape of spans with two attributes that are the same and one that differs."""
    attributes = {"messaging.system": "gatewatch", "messaging.destination.template": "*", "no": ""}
    return spans.shape(SEND, {"channel": "*"}, attributes, "size")


@given(
    st.none() | contexts,
    st.lists(contexts, max_size=2).map(tuple),
    st.sampled_from([0.0, 0.3, 1.0]),
    rules,
    st.booleans(),
    st.integers(1, 2**128 - 1),
)
def test_it_decides_as_the_sampler_of_the_sdk(
    parent: SpanContext | None,
    linked: tuple[SpanContext, ...],
    ratio: float,
    rules: list[SamplingRule],
    keep: bool,
    trace_id: int,
) -> None:
    """Whatever the parent, the links, the share and the rules are."""
    sampler = create_sampler(ratio, rules, keep=keep)
    context = set_span_in_context(NonRecordingSpan(parent), Context()) if parent else Context()
    used_id = parent.trace_id if parent else trace_id
    links = [Link(each) for each in linked]
    wanted = sampler.should_sample(context, used_id, "send *", links=links)

    spans = SpanRecorder(
        ORIGIN,
        EntrySampler(SamplingRules(ratio, rules), keep=keep and ratio > 0),
        ManualClock(),
        random_bits=lambda bits: trace_id if bits == 128 else 9,
    )
    span = spans.start(shape_of(spans), parent, (1,), linked=linked)

    made = span.get_span_context()
    assert made.trace_id == used_id
    assert made.trace_flags.sampled is (wanted.decision is Decision.RECORD_AND_SAMPLE)
    assert made.trace_flags.random_trace_id is (
        parent is None or parent.trace_flags.random_trace_id
    )
    assert made.trace_state == wanted.trace_state
    assert span.is_recording() is (wanted.decision is not Decision.DROP)


def test_what_was_decided_is_recorded() -> None:
    """In a context that an entry point was given, with what it says of parent and links."""
    finished = FinishedSpans()
    spans = recorder(finished, ratio=1e-9)
    sampling = MessageSampling(1.0)
    context = sampling.decide(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=1")
    assert context is not None
    spans.start_in(with_links(context, (OTHER,)), shape_of(spans), (7,)).end()

    (span,) = finished.spans()
    assert span.context is not None and span.parent is not None
    assert (span.context.trace_id, span.parent.span_id) == (int("a" * 32, 16), int("b" * 16, 16))
    assert span.context.trace_state.to_header() == "vendor=1"
    assert [link.context for link in span.links] == [OTHER]
    assert dict(span.attributes or {}) == {
        "messaging.system": "gatewatch",
        "messaging.destination.template": "*",
        "size": 7,
    }


def test_spans_of_the_sdk_are_its_children() -> None:
    """What is started while it is current belongs to its trace, and is recorded."""
    finished = FinishedSpans()
    spans = recorder(finished)
    provider = TracerProvider(sampler=create_sampler(0.0), shutdown_on_exit=False)
    provider.add_span_processor(finished)
    above = spans.start(shape_of(spans), None, (1,))
    below = provider.get_tracer("tests").start_span("below", set_span_in_context(above, Context()))
    spans.start_in(set_span_in_context(below, Context()), shape_of(spans), (2,)).end()
    below.end()
    above.end()

    lowest, below_it, top = finished.spans()
    assert (lowest.parent, below_it.parent) == (below_it.context, top.context)
    assert top.parent is None


def test_times_are_those_of_the_clock() -> None:
    """It begins when it is started, or earlier, and ends when it is ended, once."""
    clock, finished = ManualClock(), FinishedSpans()
    spans = recorder(finished, clock=clock)
    now_ns = spans.now_ns()
    spans.start(shape_of(spans), None, (1,)).end()
    span = spans.start(shape_of(spans), None, (1,), start_ns=5)
    span.end(8)
    span.end(9)
    span.set_attribute("late", True)

    assert [(each.start_time, each.end_time) for each in finished.spans()] == [
        (now_ns, now_ns),
        (5, 8),
    ]
    assert span.attributes() == {**shape_of(spans).attributes, "size": 1}


def test_the_queue_gets_it_as_it_is() -> None:
    """Nothing is made of it for the export but the bytes."""
    taken: list[ReadableSpan | RecordedSpan] = []

    def export(batch: list[ReadableSpan | RecordedSpan]) -> bool:
        taken.extend(batch)
        return True

    queue = ExportQueue("traces", export, limits=QueueLimits(delay_s=60))
    spans = recorder(queue=queue)
    span = spans.start(shape_of(spans), PARENT, (1,))
    span.end()
    dropped = SpanContext(1, 2, is_remote=True)
    spans.start(shape_of(spans), dropped, (1,)).end()
    assert queue.flush(5)
    queue.close(5)

    assert taken == [span]


@pytest.mark.parametrize(
    ("limits", "cut"),
    [
        pytest.param(SpanLimits(max_span_attribute_length=4), ("gate", 2, 0), id="length"),
        pytest.param(SpanLimits(max_links=1), ("gatewatch", 1, 1), id="links"),
        pytest.param(SpanLimits(), ("gatewatch", 2, 0), id="none"),
    ],
)
def test_limits_are_those_of_the_sdk(limits: SpanLimits, cut: tuple[str, int, int]) -> None:
    """What is longer than a limit is cut, and what is dropped counted."""
    finished = FinishedSpans()
    spans = recorder(finished, limits=limits)
    spans.start(shape_of(spans), PARENT, (1,), linked=(OTHER, OTHER)).end()

    (span,) = finished.spans()
    system = (span.attributes or {})["messaging.system"]
    assert (system, len(span.links), span.dropped_links) == cut


@pytest.mark.parametrize("limits", [None, SpanLimits(max_links=1)], ids=["none", "links"])
def test_limits_hold_for_what_is_exported(limits: SpanLimits | None) -> None:
    """Where a limit may be reached, the SDK's form waits for the export, cut to it."""
    taken: list[ReadableSpan | RecordedSpan] = []

    def export(batch: list[ReadableSpan | RecordedSpan]) -> bool:
        taken.extend(batch)
        return True

    queue = ExportQueue("traces", export, limits=QueueLimits(delay_s=60))
    spans = recorder(queue=queue, limits=limits)
    spans.start(shape_of(spans), PARENT, (1,), linked=(OTHER, OTHER)).end()
    assert queue.flush(5)
    queue.close(5)

    (item,) = taken
    links = item.linked if isinstance(item, RecordedSpan) else item.links
    assert len(links) == (2 if limits is None else 1)


def test_an_unsampled_batch_that_is_slow_is_told_of() -> None:
    """A rule left it out, and it took long: it is recorded with the reason; a quick one is not."""
    clock, finished = ManualClock(), FinishedSpans()
    late = LatePolicy(clock, errors=True, slow_s=1.0)
    spans = recorder(
        finished, ratio=1.0, rules=[SamplingRule(1e-9, name="send *")], late=late, clock=clock
    )
    for end_ns in (10, 1_000_000_001):
        spans.start(shape_of(spans), None, (1,), linked=(OTHER,), start_ns=1).end(end_ns)

    (span,) = finished.spans()
    assert span.context is not None and span.context.trace_flags.sampled
    assert (span.attributes or {})["gateway.sampling.reason"] == "slow"
