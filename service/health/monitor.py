"""Runs health checks on the scheduler and keeps what they found."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import StatusCode

from alerts.clock import Clock, Timer
from service.errors import GatewatchError
from service.health.checks import Check, run_check
from service.health.dependencies import Dependencies
from service.health.snapshot import CheckListener, CheckSnapshot
from service.health.state import CheckState, CheckStatus, ProbeResult
from service.health.watched import WatchedCheck
from service.scheduler import Scheduler
from service.telemetry.instruments import Instruments
from service.telemetry.span_definitions import CHECK

JOB_KIND: Final = "check"
"""What the jobs of checks are counted as."""

FIRST_RUNS_WITHIN_S: Final = 10.0
"""The first runs of all checks are spread over so many seconds after the start."""

MAX_CONCURRENT: Final = 500
"""Checks that run at the same time at most, unless the settings say otherwise."""

_LONGEST_WAIT_S: Final = 3600.0
"""Windows are looked at again so often, in case the machine's clock was set."""

_logger = logging.getLogger(__name__)


class UnknownCheckError(GatewatchError):
    """No check has this name."""


class HealthMonitor:
    """Runs each check as a job of its own and turns results into states.

    Checks of one interval are spread over it by a hash of their names, so that they do not start
    together, and start at the same instants after a restart.

    An async context manager: while it is entered, maintenance windows open and close on time;
    otherwise they do so with the next result.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        clock: Clock,
        instruments: Instruments,
        max_concurrent: int = MAX_CONCURRENT,
    ) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._instruments = instruments
        self._turns = asyncio.Semaphore(max_concurrent)
        self._checks: dict[str, WatchedCheck] = {}
        self._dependencies: Dependencies | None = None
        self._listeners: list[CheckListener] = []
        self._entered = False
        self._timer: Timer | None = None

    async def __aenter__(self) -> Self:
        self._entered = True
        self._wait_for_windows()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        self._wait_for_windows()

    def add(self, check: Check, *, status: CheckStatus | None = None) -> None:
        """Run a check from now on.

        Args:
            check: The check.
            status: What is known of it from an earlier process; None: nothing.

        Raises:
            JobError: There is a check of this name already.
        """
        self._schedule(check)
        now_s = self._clock.time()
        watched = WatchedCheck(check, status or CheckStatus.initial(now_s), now_s)
        self._checks[check.name] = watched
        self._restructured(check.name)

    def replace(self, check: Check) -> None:
        """Go on with another check in place of the one of its name, whose state it takes over.

        Its slots stay as they are unless the interval is another.

        Raises:
            UnknownCheckError: There is no such check.
        """
        watched = self._find(check.name)
        interval_s = watched.check.interval_s
        watched.take(check, self._now_ms())
        if check.interval_s != interval_s:
            self._scheduler.remove_job(job_name(check.name))
            self._schedule(check)
        self._restructured(check.name)

    def remove(self, name: str) -> None:
        """Run a check no more; a run in progress is not recorded.

        Raises:
            UnknownCheckError: There is no such check.
        """
        self._find(name)
        del self._checks[name]
        self._scheduler.remove_job(job_name(name))
        self._restructured(name)

    def add_listener(self, listener: CheckListener) -> None:
        """Call a function after every run; what it raises is logged and goes no further."""
        self._listeners.append(listener)

    def check(self, name: str) -> CheckSnapshot:
        """Return one check.

        Raises:
            UnknownCheckError: There is no such check.
        """
        return self._find(name).snapshot()

    def checks(self) -> tuple[CheckSnapshot, ...]:
        """Return every check, in the order they were added."""
        # A copy first: metrics are collected on another thread, while checks come and go here.
        return tuple(watched.snapshot() for watched in tuple(self._checks.values()))

    async def run(self, name: str) -> CheckSnapshot:
        """Run a check once, now, record what it found and return it.

        The schedule calls this; a run by hand goes through ``Scheduler.run_now(job_name(name))``,
        which keeps two runs from overlapping.

        Raises:
            UnknownCheckError: There is no such check.
        """
        watched = self._find(name)
        check = watched.check
        span = CHECK.start(
            self._instruments.tracer,
            {"check": name},
            context=get_current(),
            attributes={"check": name},
        )
        with trace.use_span(span, end_on_exit=True):
            async with self._turns:
                started_s = self._clock.time()
                result = await run_check(check, self._clock)
            if self._checks.get(name) is watched and watched.check is check:
                self._record(watched, result)
                self._look_for_the_cause(watched, started_s)
                after = watched.snapshot()
            else:  # it was removed, or replaced, while it ran
                status = watched.status.after(result, self._clock.time(), check.thresholds)
                after = WatchedCheck(check, status, self._clock.time()).snapshot()
            self._measure(check, result)
            _describe(result, after.state)
        return after

    def _schedule(self, check: Check) -> None:
        async def run(_slot_s: float) -> None:
            await self.run(check.name)

        share = _share(check.name)
        self._scheduler.add_job(
            job_name(check.name),
            run,
            interval_s=check.interval_s,
            kind=JOB_KIND,
            offset_s=share * check.interval_s,
            run_at_start=True,
            start_delay_s=share * min(check.interval_s, FIRST_RUNS_WITHIN_S),
        )

    def _restructured(self, name: str) -> None:
        """Take in that a check came, went or changed, and report what follows from it."""
        self._dependencies = None
        self._report_again([name])
        if any(name in watched.check.depends_on for watched in self._checks.values()):
            self._report_again(self._graph.below(name))
        self._wait_for_windows()

    @property
    def _graph(self) -> Dependencies:
        """What depends on what; made when it is asked for, as many checks are added at a start."""
        if self._dependencies is None:
            self._dependencies = Dependencies(
                {name: watched.check.depends_on for name, watched in self._checks.items()}
            )
        return self._dependencies

    def _record(self, watched: WatchedCheck, result: ProbeResult) -> None:
        name, now_s = watched.check.name, self._clock.time()
        self._pass_windows(watched)
        before = watched.snapshot()
        was_failing = watched.status.state.is_failing
        watched.lead_to(watched.status.after(result, now_s, watched.check.thresholds))
        watched.report(now_s, self._failing_above(name), has_run=True)
        self._tell(before, watched.snapshot())
        is_failing = watched.status.state.is_failing
        if is_failing != was_failing:
            self._report_again(self._graph.below(name))
        if was_failing and not is_failing:
            self._look_whether_it_helped(name)

    def _report_again(self, names: Iterable[str]) -> None:
        """Report checks whose own results are the same, and tell of those whose state is not."""
        now_s = self._clock.time()
        for name in tuple(names):
            watched = self._checks.get(name)
            if watched is not None:
                before = watched.snapshot()
                if watched.report(now_s, self._failing_above(name)):
                    self._tell(before, watched.snapshot())

    def _failing_above(self, name: str) -> tuple[str, ...]:
        if name not in self._checks or not self._checks[name].check.depends_on:
            return ()
        above = (self._checks.get(other) for other in self._graph.above(name))
        return tuple(
            other.check.name
            for other in above
            if other is not None and other.status.state.is_failing
        )

    def _look_for_the_cause(self, watched: WatchedCheck, started_s: float) -> None:
        """Have what a failed check needs looked at too, unless that was done since it began.

        Otherwise the check might be down before what it needs has had its turn.
        """
        last = watched.status.last
        if last is None or last.success:
            return
        for name in watched.check.depends_on:
            dependency = self._checks.get(name)
            if dependency is not None and (dependency.status.last_at_s or 0.0) < started_s:
                self._scheduler.run_soon(job_name(name))

    def _look_whether_it_helped(self, name: str) -> None:
        """Have what was held back looked at as soon as nothing it depends on fails any more."""
        for below in self._graph.below(name):
            watched = self._checks.get(below)
            if (
                watched is not None
                and watched.snapshot().state is CheckState.HELD
                and not self._failing_above(below)
            ):
                self._scheduler.run_soon(job_name(below))

    def _wait_for_windows(self) -> None:
        """Wake up when the next maintenance window opens or closes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._entered:
            return
        changes = [
            watched.changes_at_ms
            for watched in self._checks.values()
            if watched.changes_at_ms is not None
        ]
        if changes:
            delay_s = max(0.0, min(changes) / 1000 - self._clock.time())
            self._timer = self._clock.call_later(min(delay_s, _LONGEST_WAIT_S), self._windows_due)

    def _windows_due(self) -> None:
        self._timer = None
        for watched in tuple(self._checks.values()):
            self._pass_windows(watched)
        self._wait_for_windows()

    def _pass_windows(self, watched: WatchedCheck) -> None:
        """Let windows that opened or closed by now take effect, each at its moment."""
        for at_ms in watched.due_changes(self._now_ms()):
            before = watched.snapshot()
            watched.look_at_windows(at_ms)
            if watched.report(at_ms / 1000, self._failing_above(watched.check.name)):
                self._tell(before, watched.snapshot())

    def _measure(self, check: Check, result: ProbeResult) -> None:
        attributes = {"kind": check.kind}
        if result.error_type:
            attributes["error.type"] = result.error_type
        self._instruments.health_check_duration.record(result.duration_s, attributes)

    def _tell(self, before: CheckSnapshot, after: CheckSnapshot) -> None:
        if before.state is not after.state:
            level = logging.INFO if after.state in _EXPECTED else logging.WARNING
            _logger.log(level, "check %s is %s: %s", after.name, after.state.label, after.reason)
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception:
                _logger.exception("check %s: a listener raised", after.name)

    def _find(self, name: str) -> WatchedCheck:
        found = self._checks.get(name)
        if found is None:
            known = ", ".join(sorted(self._checks)) or "none"
            raise UnknownCheckError(f"there is no check {name!r}; there are: {known}")
        return found

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


_EXPECTED: Final = frozenset((CheckState.UNKNOWN, CheckState.UP, CheckState.MAINTENANCE))


def job_name(check: str) -> str:
    """Return the name of the job that runs a check."""
    return f"check {check}"


def _share(name: str) -> float:
    """Return a number in [0, 1) that depends on nothing but a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _describe(result: ProbeResult, state: CheckState) -> None:
    """Write what a run found on the current span."""
    span = trace.get_current_span()
    span.set_attribute("gateway.health.state", state.label)
    for key, value in result.attributes.items():
        span.set_attribute(key if "." in key else f"gateway.health.{key}", value)
    if result.error_type:
        span.set_attribute("error.type", result.error_type)
        span.set_status(StatusCode.ERROR, result.reason)
