"""Sampling: decided once, before a span exists, and never at a client's command."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, SpanContext, TraceFlags

from alerts.clock import SystemClock
from service.telemetry.propagation import format_traceparent
from service.telemetry.sampling import MessageSampling, create_sampler
from service.telemetry.spans import FinishedSpans

LOW = 1
HIGH = 2**64 - 1


def header(low_bits: int, *, sampled: bool = True) -> str:
    """Return a traceparent whose trace id ends in the given 64 bits."""
    context = SpanContext((7 << 64) | low_bits, 9, True, TraceFlags(1 if sampled else 0))
    return format_traceparent(context)


def recording_tracer(ratio: float) -> tuple[trace.Tracer, FinishedSpans]:
    """Return a tracer with the product's sampler, and what it recorded."""
    finished = FinishedSpans()
    provider = TracerProvider(sampler=create_sampler(ratio), shutdown_on_exit=False)
    provider.add_span_processor(finished)
    return provider.get_tracer("test"), finished


@pytest.mark.parametrize(("dice", "recorded"), [(0.0, True), (0.249, True), (0.25, False)])
def test_a_share_of_the_traces_is_recorded(dice, recorded):
    """Without a parent the dice decide, by the ratio."""
    sampling = MessageSampling(0.25, random_source=lambda: dice)

    assert (sampling.decide() is not None) is recorded


def test_an_unsampled_flag_is_obeyed_without_parsing():
    """A parent that is not sampled ends the decision at its flag byte."""
    sampling = MessageSampling(1.0)

    assert sampling.decide(header(LOW, sampled=False)) is None
    assert sampling.trace_parents.stats.accepted == 0


def test_a_client_cannot_force_recording():
    """A sampled flag counts only for the configured share of trace ids."""
    sampling = MessageSampling(0.5, random_source=lambda: 0.0)

    assert sampling.decide(header(LOW)) is not None
    assert sampling.decide(header(HIGH)) is None


def test_nothing_is_recorded_at_ratio_zero():
    """With ratio 0 neither dice nor flags lead to a span."""
    sampling = MessageSampling(0.0, random_source=lambda: 0.0)

    assert sampling.decide() is None
    assert sampling.decide(header(0)) is None


def test_a_malformed_parent_counts_as_none():
    """A header that cannot be read leaves the decision to the dice, and is counted once."""
    sampling = MessageSampling(0.5, random_source=lambda: 0.0)

    context = sampling.decide("00-garbage-01")

    assert context is not None
    assert sampling.passing("00-garbage-01") is None
    assert not trace.get_current_span(context).get_span_context().is_valid
    assert sampling.trace_parents.stats.malformed == 1


def test_a_decided_trace_is_not_sampled_again():
    """What the dice chose is recorded, however small the ratio."""
    tracer, finished = recording_tracer(1e-9)
    context = MessageSampling(1e-9, random_source=lambda: 0.0).decide()

    tracer.start_span("message", context=context).end()

    assert [span.name for span in finished.spans()] == ["message"]


@given(low_bits=st.integers(0, HIGH), ratio=st.floats(0, 1))
def test_the_sdk_agrees_on_remote_parents(low_bits, ratio):
    """For a remote parent the decision beforehand is the one the SDK's sampler takes."""
    context = MessageSampling(ratio).decide(header(low_bits))

    if context is not None:
        result = create_sampler(ratio).should_sample(context, (7 << 64) | low_bits, "message")
        assert result.decision is Decision.RECORD_AND_SAMPLE


def test_a_batch_is_recorded_when_a_message_in_it_is():
    """A root span with a sampled link is recorded at any ratio, one without is not."""
    tracer, finished = recording_tracer(0.0)
    sampled = SpanContext(1, 2, False, TraceFlags(TraceFlags.SAMPLED))
    unsampled = SpanContext(3, 4, False, TraceFlags(0))

    tracer.start_span("linked", links=[Link(unsampled), Link(sampled)]).end()
    tracer.start_span("unlinked", links=[Link(unsampled)]).end()

    assert [span.name for span in finished.spans()] == ["linked"]


def test_children_follow_their_local_parent():
    """Below a recorded span everything is recorded, whatever the ratio."""
    tracer, finished = recording_tracer(0.0)
    sampled = Link(SpanContext(1, 2, False, TraceFlags(TraceFlags.SAMPLED)))

    with (
        tracer.start_as_current_span("parent", links=[sampled]),
        tracer.start_as_current_span("child"),
    ):
        pass

    assert [span.name for span in finished.spans()] == ["child", "parent"]


def test_a_trace_passes_through_unrecorded():
    """A trace that is not recorded here keeps its ids and goes on as not sampled."""
    context = MessageSampling(0.0).passing(header(LOW))

    passed = trace.get_current_span(context).get_span_context()
    assert passed.trace_id == (7 << 64) | LOW
    assert not passed.trace_flags.sampled


async def test_a_timer_does_not_inherit_the_span_it_was_armed_in():
    """A flush armed while one message is handled is not a child of that message."""
    tracer, finished = recording_tracer(1.0)
    flushed = asyncio.Event()

    def flush() -> None:
        tracer.start_span("flush").end()
        flushed.set()

    with tracer.start_as_current_span("publish"):
        SystemClock().call_later(0.0, flush)
    await flushed.wait()

    spans = {span.name: span for span in finished.spans()}
    assert spans["flush"].parent is None
