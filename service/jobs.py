"""Periodic jobs: when they are due, one run at a time, and what became of it.

Knows nothing of APScheduler: ``service.scheduler`` says when a slot has come. All arithmetic of
slots is in whole milliseconds, so that a slot is the same instant on every restart and no error
adds up.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode

from alerts.clock import Clock
from service.deadline import Deadline
from service.errors import GatewatchError
from service.telemetry.instruments import Instruments
from service.telemetry.span_definitions import JOB

JobFunction = Callable[[float], Awaitable[None]]
"""What a job does. Gets the Unix time in seconds of the slot it runs for."""

_logger = logging.getLogger(__name__)


class JobError(GatewatchError):
    """A job that cannot be added, found or run."""


class UnknownJobError(JobError):
    """No job has this name."""


class JobBusyError(JobError):
    """The job runs at this moment, and only one run at a time is allowed."""


class JobOutcome(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Slots:
    """The instants a job is due: every ``interval_ms``, shifted from the epoch by ``offset_ms``."""

    interval_ms: int
    offset_ms: int = 0

    @classmethod
    def every(cls, interval_s: float, offset_s: float = 0.0) -> Self:
        """Return slots with an interval and an offset in seconds, to the millisecond.

        Raises:
            JobError: The interval is shorter than a millisecond.
        """
        interval_ms = round(interval_s * 1000)
        if interval_ms < 1:
            raise JobError(f"an interval of {interval_s} s is too short; the shortest is 0.001 s")
        return cls(interval_ms, round(offset_s * 1000) % interval_ms)

    def latest(self, now_ms: int) -> int:
        """Return the last slot at or before a time."""
        return now_ms - (now_ms - self.offset_ms) % self.interval_ms

    def after(self, now_ms: int) -> int:
        """Return the first slot after a time."""
        return self.latest(now_ms) + self.interval_ms

    def following(self, previous_ms: int, now_ms: int) -> int:
        """Return the slot to run next once ``previous_ms`` was run.

        When the process was late this is the last slot that has passed: it stands for all since
        ``previous_ms``.
        """
        return max(self.after(previous_ms), self.latest(now_ms))

    def between(self, previous_ms: int, slot_ms: int) -> int:
        """Return how many slots lie between two slots, both excluded."""
        return max(0, (slot_ms - previous_ms) // self.interval_ms - 1)


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job at one moment; times are Unix seconds, None where there is nothing yet.

    Attributes:
        name: The job.
        kind: What it is counted as in metrics.
        interval_s: Seconds between its slots.
        offset_s: How far its slots are shifted from multiples of the interval.
        timeout_s: How long a run may take.
        next_run_s: Its next slot; None while it is paused.
        last_run_s: When its last finished run started.
        last_duration_s: How long that took.
        last_outcome: How that ended.
        last_error: Why it failed, empty if it did not.
        runs: Runs that ended, well or not.
        failures: Runs that raised or took too long.
        missed: Slots it did not run in, because a run was in progress or the process was late.
        running: Whether a run is in progress.
        paused: Whether it waits for ``resume``.
    """

    name: str
    kind: str
    interval_s: float
    offset_s: float
    timeout_s: float | None
    next_run_s: float | None
    last_run_s: float | None
    last_duration_s: float | None
    last_outcome: JobOutcome | None
    last_error: str
    runs: int
    failures: int
    missed: int
    running: bool
    paused: bool


@dataclass(frozen=True, slots=True)
class _Ending:
    """How one run ended, as the span, the metrics and the snapshot tell it."""

    outcome: JobOutcome
    error_type: str = ""
    error: str = ""


class Job:
    """One periodic job: starts its runs, never two at once, and keeps count of them."""

    __slots__ = (
        "_clock",
        "_function",
        "_instruments",
        "_last",
        "_last_duration_s",
        "_last_run_s",
        "_last_slot_ms",
        "_task",
        "failures",
        "kind",
        "missed",
        "name",
        "paused",
        "runs",
        "slots",
        "timeout_s",
    )

    def __init__(
        self,
        name: str,
        function: JobFunction,
        slots: Slots,
        *,
        kind: str,
        timeout_s: float | None,
        clock: Clock,
        instruments: Instruments,
    ) -> None:
        self.name = name
        self.kind = kind
        self.slots = slots
        self.timeout_s = timeout_s
        self.paused = False
        self.runs = 0
        self.failures = 0
        self.missed = 0
        self._function = function
        self._clock = clock
        self._instruments = instruments
        self._task: asyncio.Task[None] | None = None
        self._last_slot_ms: int | None = None
        self._last_run_s: float | None = None
        self._last_duration_s: float | None = None
        self._last: _Ending | None = None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The run in progress."""
        return None if self._task is None or self._task.done() else self._task

    def due(self, slot_ms: int) -> None:
        """Run for a slot that has come, or count it as missed if a run is in progress."""
        if self._last_slot_ms is not None:
            late = self.slots.between(self._last_slot_ms, slot_ms)
            if late:
                self.missed += late
                _logger.warning("job %s: the process was late and skipped %d runs", self.name, late)
        self._last_slot_ms = slot_ms
        if self.task is not None:
            self.missed += 1
            _logger.warning("job %s: skipped a run, the one before still runs", self.name)
            return
        _ = self.start(slot_ms / 1000, scheduled=True)

    def start(self, slot_s: float, *, scheduled: bool) -> asyncio.Task[None]:
        """Start a run for a slot and return its task.

        Args:
            slot_s: Unix time the run is for.
            scheduled: Whether the run should have started at ``slot_s``, so that its delay counts.

        Raises:
            JobBusyError: A run is in progress.
        """
        if self.task is not None:
            raise JobBusyError(f"job {self.name!r} runs at this moment; try again when it is done")
        # Timers and APScheduler carry the context in which they were armed: without an empty one
        # every run would be a child of the span in which the job happened to be added.
        self._task = asyncio.get_running_loop().create_task(
            self._run(slot_s, scheduled=scheduled),
            name=f"job {self.name}",
            context=contextvars.Context(),
        )
        return self._task

    def pause(self) -> None:
        """Note that no slots come until ``resume``."""
        self.paused = True

    def resume(self) -> None:
        """Note that slots come again; those that passed meanwhile were not missed."""
        self.paused = False
        self._last_slot_ms = None

    def snapshot(self) -> JobSnapshot:
        """Return what is known about the job now."""
        now_ms = int(self._clock.time() * 1000)
        last = self._last
        return JobSnapshot(
            name=self.name,
            kind=self.kind,
            interval_s=self.slots.interval_ms / 1000,
            offset_s=self.slots.offset_ms / 1000,
            timeout_s=self.timeout_s,
            next_run_s=None if self.paused else self.slots.after(now_ms) / 1000,
            last_run_s=self._last_run_s,
            last_duration_s=self._last_duration_s,
            last_outcome=None if last is None else last.outcome,
            last_error="" if last is None else last.error,
            runs=self.runs,
            failures=self.failures,
            missed=self.missed,
            running=self.task is not None,
            paused=self.paused,
        )

    async def _run(self, slot_s: float, *, scheduled: bool) -> None:
        started_s = self._clock.time()
        started = self._clock.monotonic()
        delay_s = max(0.0, started_s - slot_s) if scheduled else 0.0
        attributes: dict[str, str] = {"gateway.job.kind": self.kind}
        if scheduled:
            self._instruments.job_delay.record(delay_s, attributes)
        span = JOB.start(
            self._instruments.tracer,
            {"job": self.name},
            context=Context(),
            attributes={
                **attributes,
                "gateway.job.name": self.name,
                "gateway.job.schedule.delay": delay_s,
            },
        )
        ending = _Ending(JobOutcome.CANCELLED, "cancelled", "the run was cancelled")
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                ending = await self._call(slot_s)
        finally:
            duration_s = self._clock.monotonic() - started
            self._ended(ending, started_s, duration_s)
            _describe(span, ending)
            if ending.error_type:
                attributes["error.type"] = ending.error_type
            self._instruments.job_duration.record(
                duration_s, attributes, trace.set_span_in_context(span)
            )

    async def _call(self, slot_s: float) -> _Ending:
        """Call the function within its time and return how that ended.

        Raises:
            asyncio.CancelledError: The run itself was cancelled.
        """
        limit = Deadline(self._clock, self.timeout_s)
        try:
            async with limit:
                await self._function(slot_s)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed(error)  # something the function awaited was cancelled, not the run
        except Exception as error:  # noqa: BLE001 - supervisor: counted, logged, and it runs again
            if limit.expired and isinstance(error, TimeoutError):
                text = f"took longer than {self.timeout_s} s"
                _logger.error("job %s: %s", self.name, text)  # noqa: TRY400 - no traceback of use
                return _Ending(JobOutcome.TIMEOUT, "timeout", text)
            return self._failed(error)
        return _Ending(JobOutcome.OK)

    def _failed(self, error: BaseException) -> _Ending:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        _logger.error("job %s failed: %s", self.name, text, exc_info=error)
        return _Ending(JobOutcome.FAILED, type(error).__qualname__, text)

    def _ended(self, ending: _Ending, started_s: float, duration_s: float) -> None:
        self.runs += 1
        if ending.outcome in (JobOutcome.FAILED, JobOutcome.TIMEOUT):
            self.failures += 1
        self._last = ending
        self._last_run_s = started_s
        self._last_duration_s = duration_s


def _describe(span: Span, ending: _Ending) -> None:
    """Write how a run ended on its span and end the span."""
    span.set_attribute("gateway.job.outcome", ending.outcome.value)
    if ending.error_type:
        span.set_attribute("error.type", ending.error_type)
        span.set_status(StatusCode.ERROR, ending.error)
    span.end()
