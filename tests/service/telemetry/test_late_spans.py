"""What is recorded although its trace is not: failures and slow ones, and not too many."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from alerts.clock import ManualClock
from service.telemetry.late_spans import MAX_LATE_SPANS_PER_S, LatePolicy, LateSpans
from service.telemetry.sampling import create_sampler
from service.telemetry.sampling_rules import SamplingRule
from service.telemetry.spans import FinishedSpans

SECOND = 1_000_000_000


def keeping(
    ratio: float = 1e-9, *, slow_s: float = 1.0, errors: bool = True, rules=()
) -> tuple[Tracer, FinishedSpans, ManualClock]:
    """Return a tracer that draws next to nothing, what was recorded, and the clock of the limit."""
    clock, finished = ManualClock(), FinishedSpans()
    policy = LatePolicy(clock, errors=errors, slow_s=slow_s)
    provider = TracerProvider(
        sampler=create_sampler(ratio, rules, keep=True), shutdown_on_exit=False
    )
    provider.add_span_processor(finished)
    provider.add_span_processor(LateSpans(policy, [finished]))
    return provider.get_tracer("tests"), finished, clock


def run(tracer: Tracer, name: str, *, seconds: float = 0.1, failed: bool = False) -> None:
    """Start and end a span."""
    span = tracer.start_span(name, Context(), attributes={"a": 1}, start_time=SECOND)
    if failed:
        span.set_status(StatusCode.ERROR, "why")
    span.end(SECOND + round(seconds * SECOND))


def test_what_fails_or_is_slow_is_recorded():
    """As a sampled span, with the reason and all it said; what ends well in time is not."""
    tracer, finished, _ = keeping()
    run(tracer, "good")
    run(tracer, "failed", failed=True)
    run(tracer, "slow", seconds=1.0)
    run(tracer, "in time", seconds=0.999)

    told = {span.name: dict(span.attributes or {}) for span in finished.spans()}
    assert told == {
        "failed": {"a": 1, "gateway.sampling.reason": "error"},
        "slow": {"a": 1, "gateway.sampling.reason": "slow"},
    }
    failed = finished.spans()[0]
    assert failed.context is not None and failed.context.trace_flags.sampled
    assert failed.status.description == "why"
    assert (failed.start_time, failed.end_time) == (SECOND, SECOND + SECOND // 10)


def test_children_of_what_is_kept_are_kept():
    """A failure below an unsampled span is told of as well; below a caller's it was never made."""
    tracer, finished, _ = keeping()
    parent = tracer.start_span("job", Context())
    child = tracer.start_span("check", set_span_in_context(parent, Context()))
    child.set_status(StatusCode.ERROR)
    child.end()
    parent.end()
    remote = NonRecordingSpan(SpanContext(1, 2, is_remote=False))
    below = tracer.start_span("request", set_span_in_context(remote, Context()))

    assert [span.name for span in finished.spans()] == ["check"]
    assert not below.is_recording()


def test_a_sampled_span_is_recorded_once():
    """What was drawn is not told of a second time when it fails."""
    tracer, finished, _ = keeping(1.0)
    run(tracer, "failed", failed=True)

    assert [dict(span.attributes or {}) for span in finished.spans()] == [{"a": 1}]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"errors": False, "slow_s": 0.0}, id="off"),
        pytest.param({"rules": [SamplingRule(0.0, name="job *")]}, id="never"),
        pytest.param({"ratio": 0.0}, id="nothing is sampled"),
    ],
)
def test_what_nobody_wants_is_not_recorded(settings):
    """With the settings off, a share of 0 by rule, or no sampling at all."""
    tracer, finished, _ = keeping(**settings)
    run(tracer, "job a", seconds=100, failed=True)

    assert finished.spans() == []


async def test_a_flood_of_errors_is_cut():
    """No more than the limit at once and in a second, however long the flood goes on."""
    tracer, finished, clock = keeping()
    for _ in range(10 * MAX_LATE_SPANS_PER_S):
        run(tracer, "failed", failed=True)
    first = len(finished.spans())
    for _ in range(100):
        await clock.advance(0.1)
        for _ in range(MAX_LATE_SPANS_PER_S):
            run(tracer, "failed", failed=True)

    assert first == MAX_LATE_SPANS_PER_S
    assert len(finished.spans()) == pytest.approx(11 * MAX_LATE_SPANS_PER_S, abs=1)
