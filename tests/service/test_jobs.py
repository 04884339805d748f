"""Slots and runs of jobs, by a clock turned by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from alerts.clock import ManualClock
from service.jobs import Job, JobBusyError, JobError, JobFunction, JobOutcome, Slots
from tests.support.http import RecordedTelemetry

START = 1_700_000_000.0
TEN_SECONDS = Slots.every(10.0)

slots_of_any_kind = st.builds(
    Slots.every, st.floats(0.001, 1e6), st.floats(-1e6, 1e6, allow_nan=False)
)
times = st.integers(0, 4_000_000_000_000)


class Fixture:
    """A job whose runs end when the test says so."""

    def __init__(self, function: JobFunction | None = None, timeout_s: float | None = None) -> None:
        self.clock = ManualClock(START)
        self.telemetry = RecordedTelemetry()
        self.slots_seen: list[float] = []
        self.release = asyncio.Event()
        self.job = Job(
            "tidy",
            function or self.run,
            TEN_SECONDS,
            kind="tidy",
            timeout_s=timeout_s,
            clock=self.clock,
            instruments=self.telemetry.instruments,
        )

    async def run(self, slot_s: float) -> None:
        self.slots_seen.append(slot_s)
        await self.release.wait()

    async def ended(self) -> None:
        self.release.set()
        await self.clock.settle()


def raising(error: Callable[[], BaseException]) -> JobFunction:
    async def fail(_slot_s: float) -> None:
        raise error()

    return fail


@given(slots_of_any_kind, times)
def test_slots_do_not_drift(slots, now_ms):
    """Every slot is a whole number of intervals from the epoch plus the offset, at any time."""
    after = slots.after(now_ms)

    assert (after - slots.offset_ms) % slots.interval_ms == 0
    assert slots.latest(now_ms) <= now_ms < after
    assert after - slots.latest(now_ms) == slots.interval_ms


@given(slots_of_any_kind, times, st.lists(st.integers(0, 10**8), max_size=50))
def test_no_slot_is_lost_or_run_twice(slots, start_ms, steps):
    """However late the process is, slots run plus slots missed are the slots that passed."""
    now_ms = start_ms
    first = previous = slots.after(now_ms)
    runs, missed = 1, 0
    for step in steps:
        now_ms = max(now_ms + step, previous)
        following = slots.following(previous, now_ms)
        assert following > previous
        if following <= now_ms:
            missed += slots.between(previous, following)
            runs += 1
            previous = following

    assert runs + missed == (previous - first) // slots.interval_ms + 1


@pytest.mark.parametrize("interval_s", [0.0, 0.0004, -1.0])
def test_an_interval_needs_a_millisecond(interval_s):
    """Shorter intervals are refused with the shortest that works."""
    with pytest.raises(JobError, match=r"shortest is 0\.001 s"):
        Slots.every(interval_s)


async def test_a_run_gets_its_slot():
    """The function is told the slot it runs for, not the moment it was started."""
    fixture = Fixture()
    await fixture.clock.advance(0.25)
    fixture.job.due(int(START * 1000))
    await fixture.ended()

    assert fixture.slots_seen == [START]
    (delay,) = fixture.telemetry.points("gateway.job.schedule.delay")
    assert delay.sum == 0.25


async def test_a_slot_that_comes_while_a_run_is_in_progress_is_missed():
    """One run at a time: the next slot is counted, not queued."""
    fixture = Fixture()
    fixture.job.due(10_000)
    await fixture.clock.settle()
    fixture.job.due(20_000)
    await fixture.ended()

    assert fixture.slots_seen == [10.0]
    assert (fixture.job.missed, fixture.job.runs) == (1, 1)


async def test_slots_the_process_slept_through_are_missed():
    """Late by three slots means one run and two missed."""
    fixture = Fixture()
    fixture.release.set()
    fixture.job.due(10_000)
    await fixture.clock.settle()
    fixture.job.due(40_000)
    await fixture.clock.settle()

    assert fixture.slots_seen == [10.0, 40.0]
    assert fixture.job.missed == 2


async def test_slots_during_a_pause_are_not_missed():
    """Whoever pauses a job does not want to hear that it did not run."""
    fixture = Fixture()
    fixture.release.set()
    fixture.job.due(10_000)
    fixture.job.pause()
    paused = fixture.job.snapshot()
    fixture.job.resume()
    await fixture.clock.settle()
    fixture.job.due(90_000)

    assert (paused.paused, paused.next_run_s) == (True, None)
    assert fixture.job.missed == 0
    await fixture.ended()


async def test_a_job_that_runs_cannot_be_started_again():
    """Starting by hand obeys the same rule as the schedule."""
    fixture = Fixture()
    task = fixture.job.start(START, scheduled=False)

    with pytest.raises(JobBusyError, match="runs at this moment"):
        await fixture.job.start(START, scheduled=False)
    fixture.release.set()
    await task


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lambda: ValueError("no such table"), "ValueError"),
        (lambda: TimeoutError("of its own"), "TimeoutError"),
        (lambda: asyncio.CancelledError("of a task it awaited"), "CancelledError"),
    ],
)
async def test_a_run_that_raises_is_logged_counted_and_runs_again(caplog, error, kind):
    """A failure is reported with its cause, and the next slot is run as if nothing happened."""
    fixture = Fixture(raising(error), timeout_s=5.0)
    with caplog.at_level(logging.ERROR):
        fixture.job.due(10_000)
        await fixture.clock.settle()
        fixture.job.due(20_000)
        await fixture.clock.settle()

    snapshot = fixture.job.snapshot()
    assert (snapshot.runs, snapshot.failures, snapshot.last_outcome) == (2, 2, JobOutcome.FAILED)
    assert kind in snapshot.last_error
    assert caplog.records[0].exc_info is not None
    (point,) = fixture.telemetry.points("gateway.job.duration")
    assert point.attributes == {"gateway.job.kind": "tidy", "error.type": kind}


@pytest.mark.parametrize(("elapsed", "outcome"), [(4.9, "ok"), (5.0, "timeout")])
async def test_a_run_has_a_time_limit(elapsed, outcome):
    """At its timeout a run is cancelled and counts as failed."""
    fixture = Fixture(timeout_s=5.0)
    fixture.job.due(10_000)
    await fixture.clock.advance(elapsed)
    await fixture.ended()

    snapshot = fixture.job.snapshot()
    assert snapshot.last_outcome == outcome
    assert snapshot.last_duration_s == pytest.approx(elapsed)
    assert snapshot.failures == (outcome == "timeout")


async def test_a_cancelled_run_ends_as_cancelled():
    """A stop that cannot wait is recorded, and is no failure of the job."""
    fixture = Fixture()
    task = fixture.job.start(START, scheduled=False)
    await fixture.clock.settle()
    task.cancel()
    await asyncio.wait([task])

    snapshot = fixture.job.snapshot()
    assert (snapshot.last_outcome, snapshot.failures) == (JobOutcome.CANCELLED, 0)
    assert fixture.telemetry.attributes("job tidy")["gateway.job.outcome"] == "cancelled"


async def test_a_run_is_a_span_of_its_own():
    """The span has no parent, even when the run is started inside another span."""
    fixture = Fixture(raising(lambda: ValueError("broken")))
    with fixture.telemetry.tracer_provider.get_tracer("tests").start_as_current_span("request"):
        task = fixture.job.start(START, scheduled=False)
        await task

    (span,) = fixture.telemetry.spans("job tidy")
    assert span.parent is None
    assert span.status.status_code is StatusCode.ERROR
    assert fixture.telemetry.attributes("job tidy")["error.type"] == "ValueError"


async def test_what_a_run_does_is_inside_its_span():
    """Spans made by the function are children of the run's."""
    seen: list[trace.SpanContext] = []

    async def look(_slot_s: float) -> None:
        seen.append(trace.get_current_span().get_span_context())

    fixture = Fixture(look)
    await fixture.job.start(START, scheduled=False)

    (span,) = fixture.telemetry.spans("job tidy")
    assert [each.span_id for each in seen] == [span.context.span_id]
