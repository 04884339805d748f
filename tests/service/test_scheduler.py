"""The scheduler with APScheduler underneath, on the machine's clock and short intervals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from alerts.clock import ManualClock, SystemClock
from service.jobs import JobBusyError, JobError, JobOutcome, UnknownJobError
from service.scheduler import Scheduler
from tests.support.http import RecordedTelemetry, until

HOUR = 3600.0


class Recorder:
    """A job function that notes its slots and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.slots: list[float] = []
        self.started = asyncio.Event()

    async def __call__(self, slot_s: float) -> None:
        self.slots.append(slot_s)
        self.started.set()

    async def wait_for(self, count: int) -> list[float]:
        while len(self.slots) < count:
            self.started.clear()
            await self.started.wait()
        return self.slots


async def forever(_slot_s: float) -> None:
    await asyncio.Event().wait()


async def nothing(_slot_s: float) -> None:
    return


@pytest.fixture
def telemetry() -> RecordedTelemetry:
    return RecordedTelemetry()


@pytest.fixture
async def scheduler(telemetry: RecordedTelemetry) -> AsyncIterator[Scheduler]:
    async with make_scheduler(telemetry) as running:
        yield running


def make_scheduler(telemetry: RecordedTelemetry) -> Scheduler:
    return Scheduler(clock=SystemClock(), instruments=telemetry.instruments, stop_timeout_s=0.05)


async def test_a_job_runs_at_aligned_slots(scheduler):
    """Slots are multiples of the interval plus the offset, not times since the start."""
    recorder = Recorder()
    scheduler.add_job("tick", recorder, interval_s=0.05, offset_s=0.02)

    slots = await recorder.wait_for(4)
    assert [round(slot * 1000) % 50 for slot in slots] == [20] * len(slots)
    assert len(set(slots)) == len(slots)


async def test_jobs_added_before_the_start_run_after_it(telemetry):
    """The composition root may add jobs before anything runs."""
    recorder = Recorder()
    scheduler = make_scheduler(telemetry)
    scheduler.add_job("early", recorder, interval_s=HOUR, run_at_start=True)
    async with scheduler:
        await recorder.wait_for(1)

    assert scheduler.job("early").runs == 1


async def test_the_first_run_can_be_delayed(telemetry):
    """With a delay the run at the start comes that much later, by the scheduler's clock."""
    clock, recorder = ManualClock(), Recorder()
    async with Scheduler(clock=clock, instruments=telemetry.instruments) as scheduler:
        scheduler.add_job("later", recorder, interval_s=HOUR, run_at_start=True, start_delay_s=3.0)
        await clock.advance(2.9)
        assert recorder.slots == []
        await clock.advance(0.1)
        assert len(recorder.slots) == 1


async def test_runs_are_not_children_of_the_span_that_added_the_job(scheduler, telemetry):
    """APScheduler's timers remember the context of add_job; runs must not."""
    recorder = Recorder()
    with telemetry.tracer_provider.get_tracer("tests").start_as_current_span("request"):
        scheduler.add_job("tick", recorder, interval_s=0.02, run_at_start=True)
    await recorder.wait_for(3)
    await until(lambda: len(telemetry.spans("job tick")) >= 3)

    assert {span.parent for span in telemetry.spans("job tick")} == {None}


async def test_a_failing_job_does_not_stop_the_others_or_itself(scheduler):
    """Errors cost one run."""
    recorder = Recorder()

    async def fail(slot_s: float) -> None:
        await recorder(slot_s)
        raise RuntimeError("broken")

    scheduler.add_job("fail", fail, interval_s=0.02)
    scheduler.add_job("fine", nothing, interval_s=0.02)
    await recorder.wait_for(3)
    await until(lambda: scheduler.job("fine").runs >= 2)

    assert scheduler.job("fail").failures >= 2
    assert scheduler.job("fine").failures == 0


async def test_slots_that_come_while_a_run_lasts_are_counted(scheduler):
    """A job slower than its interval misses runs instead of piling them up."""
    scheduler.add_job("slow", forever, interval_s=0.01)

    await until(lambda: scheduler.job("slow").missed >= 3)
    assert scheduler.job("slow").running


async def test_run_now_waits_for_the_run(scheduler):
    """The answer says how the run went."""
    scheduler.add_job("rare", nothing, interval_s=HOUR)

    snapshot = await scheduler.run_now("rare")
    assert (snapshot.runs, snapshot.last_outcome) == (1, JobOutcome.OK)


async def test_run_soon_starts_a_run_unless_there_is_one(scheduler):
    """Nobody waits for it, and asking again while it runs changes nothing."""
    gate = asyncio.Event()

    async def wait(_slot_s: float) -> None:
        await gate.wait()

    scheduler.add_job("rare", wait, interval_s=HOUR)
    scheduler.run_soon("rare")
    scheduler.run_soon("rare")
    assert scheduler.job("rare").running

    gate.set()
    await until(lambda: not scheduler.job("rare").running)
    assert scheduler.job("rare").runs == 1


async def test_run_now_refuses_a_second_run(scheduler):
    """One run at a time holds for runs started by hand."""
    scheduler.add_job("slow", forever, interval_s=HOUR, run_at_start=True)
    await until(lambda: scheduler.job("slow").running)

    with pytest.raises(JobBusyError):
        await scheduler.run_now("slow")


async def test_a_paused_job_does_not_run_until_it_is_resumed(scheduler):
    """Pausing stops the slots of one job only, and resuming starts with the next slot."""
    paused, other = Recorder(), Recorder()
    scheduler.add_job("paused", paused, interval_s=0.02)
    scheduler.add_job("other", other, interval_s=0.02)
    scheduler.pause("paused")
    await other.wait_for(3)
    before = len(paused.slots)
    scheduler.resume("paused")
    await paused.wait_for(1)

    assert before == 0
    assert scheduler.job("paused").missed == 0


async def test_a_removed_job_is_gone(scheduler):
    """Its name is free again and its slots come no more."""
    scheduler.add_job("tick", forever, interval_s=0.01)
    await until(lambda: scheduler.job("tick").running)
    scheduler.remove_job("tick")
    scheduler.add_job("tick", nothing, interval_s=HOUR)

    assert [job.interval_s for job in scheduler.jobs()] == [HOUR]


async def test_removing_a_job_cancels_its_first_run(telemetry):
    """A delayed first run of a removed job does not come."""
    clock, recorder = ManualClock(), Recorder()
    async with Scheduler(clock=clock, instruments=telemetry.instruments) as scheduler:
        scheduler.add_job("gone", recorder, interval_s=HOUR, run_at_start=True, start_delay_s=1.0)
        scheduler.remove_job("gone")
        await clock.advance(2.0)

    assert recorder.slots == []


@pytest.mark.parametrize("method", ["remove_job", "pause", "resume", "job", "run_now"])
async def test_an_unknown_job_is_an_error_that_lists_the_known(scheduler, method):
    """A person who mistyped a name sees the right one."""
    scheduler.add_job("housekeeping", nothing, interval_s=HOUR)

    with pytest.raises(UnknownJobError, match="there are: housekeeping"):
        result = getattr(scheduler, method)("housekeping")
        await result


async def test_a_name_is_taken_once(scheduler):
    """Two jobs of one name would be one series."""
    scheduler.add_job("tick", nothing, interval_s=HOUR)

    with pytest.raises(JobError, match="already"):
        scheduler.add_job("tick", nothing, interval_s=HOUR)


async def test_closing_waits_for_runs_that_end_in_time(telemetry):
    """A run in progress at the stop may finish."""
    scheduler, release = make_scheduler(telemetry), asyncio.Event()

    async def finish(_slot_s: float) -> None:
        await release.wait()

    async with scheduler:
        scheduler.add_job("tidy", finish, interval_s=HOUR, run_at_start=True)
        await until(lambda: scheduler.job("tidy").running)
        asyncio.get_running_loop().call_soon(release.set)

    assert scheduler.job("tidy").last_outcome is JobOutcome.OK


async def test_closing_cancels_runs_that_do_not_end(telemetry, caplog):
    """Past the deadline a run is cancelled, awaited and named in the log."""
    scheduler = make_scheduler(telemetry)
    async with scheduler:
        scheduler.add_job("slow", forever, interval_s=HOUR, run_at_start=True)
        scheduler.add_job("removed", forever, interval_s=HOUR, run_at_start=True)
        await until(lambda: all(job.running for job in scheduler.jobs()))
        scheduler.remove_job("removed")

    assert scheduler.job("slow").last_outcome is JobOutcome.CANCELLED
    assert "job slow: cancelled" in caplog.text
    assert "job removed: cancelled" in caplog.text


async def test_a_run_that_ignores_its_cancellation_does_not_hold_up_the_stop(telemetry, caplog):
    """The stop goes on without it and says so."""
    clock, release = ManualClock(), asyncio.Event()
    scheduler = Scheduler(clock=clock, instruments=telemetry.instruments, stop_timeout_s=5.0)

    async def stubborn(_slot_s: float) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    scheduler.add_job("stubborn", stubborn, interval_s=HOUR)
    async with asyncio.TaskGroup() as group:
        await scheduler.__aenter__()
        group.create_task(scheduler.run_now("stubborn"))
        await clock.settle()
        closing = group.create_task(scheduler.aclose())
        await clock.advance(6.0)
        assert closing.done()
        release.set()

    assert "still runs although it was cancelled" in caplog.text


async def test_a_closed_scheduler_takes_no_jobs(telemetry):
    """After the end nothing can be added or run, and closing again does nothing."""
    async with make_scheduler(telemetry) as scheduler:
        scheduler.add_job("tick", nothing, interval_s=HOUR)
    await scheduler.aclose()

    with pytest.raises(JobError, match="closed"):
        scheduler.add_job("late", nothing, interval_s=HOUR)
    with pytest.raises(JobError, match="closed"):
        await scheduler.run_now("tick")
