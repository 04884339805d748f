"""The scheduler: every periodic job of the process runs here.

APScheduler decides when a slot has come; everything else (one run at a time, deadlines, counts,
spans) is ``service.jobs``. APScheduler reads the machine's own clock and cannot be given another,
so its part is kept to two small adapters below.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from alerts.clock import Clock, Timer
from service.deadline import Deadline
from service.jobs import Job, JobError, JobFunction, JobSnapshot, Slots, UnknownJobError
from service.telemetry.instruments import Instruments

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CANCEL_GRACE_S = 1.0

_logger = logging.getLogger(__name__)


class Scheduler:
    """Runs jobs at fixed rates; an async context manager.

    Jobs may be added before it starts and while it runs. On exit no run starts any more, runs in
    progress have ``stop_timeout_s`` to end, then they are cancelled and awaited.
    """

    def __init__(
        self, *, clock: Clock, instruments: Instruments, stop_timeout_s: float = 5.0
    ) -> None:
        self._clock = clock
        self._instruments = instruments
        self._stop_timeout_s = stop_timeout_s
        self._jobs: dict[str, Job] = {}
        self._removed: list[Job] = []
        self._at_start: list[tuple[Job, float]] = []
        self._timers: dict[str, Timer] = {}
        self._started = False
        self._closed = False
        self._apscheduler = AsyncIOScheduler(
            timezone=UTC, executors={"default": _SlotExecutor(self._due)}
        )

    async def __aenter__(self) -> Self:
        self._started = True
        _detached(self._apscheduler.start)
        for job, delay_s in self._at_start:
            self._start_after(job, delay_s)
        self._at_start.clear()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def add_job(
        self,
        name: str,
        function: JobFunction,
        *,
        interval_s: float,
        kind: str = "",
        offset_s: float = 0.0,
        timeout_s: float | None = None,
        run_at_start: bool = False,
        start_delay_s: float = 0.0,
    ) -> None:
        """Run a function at every multiple of an interval, shifted by an offset.

        Args:
            name: Name of the job in spans, logs and ``/jobs``; unique.
            function: Awaited with the Unix time in seconds of the slot it runs for.
            interval_s: Seconds between slots.
            kind: What the job is counted as in metrics, so that a thousand checks are not a
                thousand series; the name when nothing is given.
            offset_s: Shifts the slots, so that jobs of one interval do not all run at once.
            timeout_s: A run that takes longer is cancelled and counts as failed.
            run_at_start: Run once as soon as the scheduler runs, not only at the first slot.
            start_delay_s: How long after the start that first run comes.

        Raises:
            JobError: The name is taken, the interval too short, or the scheduler is closed.
        """
        if self._closed:
            raise JobError(f"the scheduler is closed; job {name!r} cannot be added")
        if name in self._jobs:
            raise JobError(
                f"there is a job {name!r} already; remove it first, or take another name"
            )
        job = Job(
            name,
            function,
            Slots.every(interval_s, offset_s),
            kind=kind or name,
            timeout_s=timeout_s,
            clock=self._clock,
            instruments=self._instruments,
        )
        self._jobs[name] = job
        _detached(
            lambda: self._apscheduler.add_job(
                _unused, SlotTrigger(job.slots), id=name, name=name, coalesce=True
            )
        )
        if run_at_start and self._started:
            self._start_after(job, start_delay_s)
        elif run_at_start:
            self._at_start.append((job, start_delay_s))

    def remove_job(self, name: str) -> None:
        """Forget a job; a run in progress ends by itself.

        Raises:
            UnknownJobError: There is no such job.
        """
        job = self._find(name)
        del self._jobs[name]
        self._at_start = [entry for entry in self._at_start if entry[0] is not job]
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        self._removed = [each for each in (*self._removed, job) if each.task is not None]
        _detached(lambda: self._apscheduler.remove_job(name))

    async def run_now(self, name: str) -> JobSnapshot:
        """Run a job once, now, and return what is known about it when the run has ended.

        The slot the function gets is the present time. Cancelling the call does not cancel the
        run.

        Raises:
            UnknownJobError: There is no such job.
            JobBusyError: A run is in progress.
            JobError: The scheduler is closed.
        """
        job = self._find(name)
        if self._closed:
            raise JobError(f"the scheduler is closed; job {name!r} does not run any more")
        await asyncio.wait([job.start(self._clock.time(), scheduled=False)])
        return job.snapshot()

    def run_soon(self, name: str) -> None:
        """Start a run of a job now, unless one is in progress; nobody waits for its end.

        Raises:
            UnknownJobError: There is no such job.
        """
        job = self._find(name)
        if job.task is None and not self._closed:
            _ = job.start(self._clock.time(), scheduled=False)

    def pause(self, name: str) -> None:
        """Start no runs of a job until ``resume``; ``run_now`` still works.

        Raises:
            UnknownJobError: There is no such job.
        """
        self._find(name).pause()
        _detached(lambda: self._apscheduler.pause_job(name))

    def resume(self, name: str) -> None:
        """Run a job at its slots again, from the next one on.

        Raises:
            UnknownJobError: There is no such job.
        """
        self._find(name).resume()
        _detached(lambda: self._apscheduler.resume_job(name))

    def job(self, name: str) -> JobSnapshot:
        """Return what is known about a job.

        Raises:
            UnknownJobError: There is no such job.
        """
        return self._find(name).snapshot()

    def jobs(self) -> tuple[JobSnapshot, ...]:
        """Return what is known about every job, in the order they were added."""
        # A copy first: metrics are collected on another thread, while jobs come and go here.
        return tuple(job.snapshot() for job in tuple(self._jobs.values()))

    async def aclose(self) -> None:
        """Start no more runs, wait for those in progress, cancel what takes too long."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        if self._started:
            self._apscheduler.shutdown(wait=False)
            await asyncio.sleep(0)  # APScheduler stops in a callback it has just put on the loop
        try:
            await self._wait_for_runs(self._stop_timeout_s)
        finally:
            for job in self._running():
                _logger.warning("job %s: cancelled, it did not end in time for the stop", job.name)
                _cancel(job)
        await self._wait_for_runs(_CANCEL_GRACE_S)
        for job in self._running():
            _logger.error("job %s: still runs although it was cancelled; given up", job.name)

    async def _wait_for_runs(self, seconds: float) -> None:
        tasks = [job.task for job in self._running() if job.task is not None]
        if not tasks:
            return
        try:
            async with Deadline(self._clock, seconds):
                await asyncio.wait(tasks)
        except TimeoutError:
            return

    def _running(self) -> Iterable[Job]:
        return [job for job in (*self._jobs.values(), *self._removed) if job.task is not None]

    def _find(self, name: str) -> Job:
        job = self._jobs.get(name)
        if job is None:
            known = ", ".join(sorted(self._jobs)) or "none"
            raise UnknownJobError(f"there is no job {name!r}; there are: {known}")
        return job

    def _due(self, name: str, slot_ms: int) -> None:
        job = self._jobs.get(name)
        if job is not None and not self._closed:
            job.due(slot_ms)

    def _start_after(self, job: Job, delay_s: float) -> None:
        def start() -> None:
            self._timers.pop(job.name, None)
            if job.task is None and not self._closed:
                _ = job.start(self._clock.time(), scheduled=False)

        self._timers[job.name] = self._clock.call_later(delay_s, start)


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Tells APScheduler the slots of a job."""

    __slots__ = ("_slots",)

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the slot after the previous one, or the last that has passed if that is later."""
        now_ms = (now - _EPOCH) // _MILLISECOND
        if previous_fire_time is None:
            slot_ms = self._slots.after(now_ms)
        else:
            slot_ms = self._slots.following((previous_fire_time - _EPOCH) // _MILLISECOND, now_ms)
        return _EPOCH + slot_ms * _MILLISECOND

    def __str__(self) -> str:
        return f"every {self._slots.interval_ms} ms"


class _SlotExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler ships no types
    """Hands a slot that has come to the scheduler instead of calling the job's function.

    APScheduler's own executors do not tell the function its slot, log two lines for every run,
    swallow cancellation, and know nothing of runs started by hand.
    """

    def __init__(self, due: Callable[[str, int], None]) -> None:
        super().__init__()
        self._due = due

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Report the latest slot; which runs are in progress is the business of ``Job``."""
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        self._due(job.id, (run_times[-1] - _EPOCH) // _MILLISECOND)


def _unused() -> None:
    """Stand in for the function APScheduler asks for and ``_SlotExecutor`` never calls."""


def _cancel(job: Job) -> None:
    if job.task is not None:
        job.task.cancel()


def _detached(call: Callable[[], object]) -> None:
    """Call something that arms timers in an empty context, so that they keep nothing alive."""
    contextvars.Context().run(call)
