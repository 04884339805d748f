"""Runs health checks on the scheduler and keeps what they found."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import StatusCode

from alerts.clock import Clock
from service.errors import GatewatchError
from service.health.checks import Check, run_check
from service.health.probes.http import STATUS
from service.health.state import CheckState, CheckStatus, ProbeResult
from service.scheduler import Scheduler
from service.telemetry.instruments import Instruments
from service.telemetry.span_definitions import CHECK

JOB_KIND = "check"
"""What the jobs of checks are counted as."""

FIRST_RUNS_WITHIN_S = 10.0
"""The first runs of all checks are spread over so many seconds after the start."""

_logger = logging.getLogger(__name__)


class UnknownCheckError(GatewatchError):
    """No check has this name."""


@dataclass(frozen=True, slots=True)
class CheckSnapshot:
    """A check and its status at one moment.

    Attributes:
        name: The check.
        target: What it looks at.
        interval_s: Seconds between runs.
        timeout_s: Seconds one run may take.
        status: Its state, since when, and the last result.
    """

    name: str
    target: str
    interval_s: float
    timeout_s: float
    status: CheckStatus

    @property
    def probe_success(self) -> int | None:
        """Whether the last run succeeded, 0 or 1; None before the first."""
        last = self.status.last
        return None if last is None else int(last.success)

    @property
    def http_status(self) -> int | None:
        """The HTTP status the last run received, 0 for none; None before the first."""
        last = self.status.last
        return None if last is None else int(last.attributes.get(STATUS, 0))


CheckListener = Callable[[CheckSnapshot, CheckSnapshot], None]
"""Called after every run with the snapshots before and after it; must be quick."""


class HealthMonitor:
    """Runs each check as a job of its own and turns results into states.

    Checks of one interval are spread over it by a hash of their names, so that they do not start
    together, and start at the same instants after a restart.
    """

    def __init__(self, *, scheduler: Scheduler, clock: Clock, instruments: Instruments) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._instruments = instruments
        self._checks: dict[str, tuple[Check, CheckStatus]] = {}
        self._listeners: list[CheckListener] = []

    def add(self, check: Check) -> None:
        """Run a check from now on.

        Raises:
            JobError: There is a check of this name already.
        """

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
        self._checks[check.name] = (check, CheckStatus.initial(self._clock.time()))

    def remove(self, name: str) -> None:
        """Run a check no more; a run in progress is not recorded.

        Raises:
            UnknownCheckError: There is no such check.
        """
        self._find(name)
        del self._checks[name]
        self._scheduler.remove_job(job_name(name))

    def add_listener(self, listener: CheckListener) -> None:
        """Call a function after every run; what it raises is logged and goes no further."""
        self._listeners.append(listener)

    def check(self, name: str) -> CheckSnapshot:
        """Return one check.

        Raises:
            UnknownCheckError: There is no such check.
        """
        return _snapshot(*self._find(name))

    def checks(self) -> tuple[CheckSnapshot, ...]:
        """Return every check, in the order they were added."""
        # A copy first: metrics are collected on another thread, while checks come and go here.
        return tuple(_snapshot(check, status) for check, status in tuple(self._checks.values()))

    async def run(self, name: str) -> CheckSnapshot:
        """Run a check once, now, record what it found and return it.

        The schedule calls this; a run by hand goes through ``Scheduler.run_now(job_name(name))``,
        which keeps two runs from overlapping.

        Raises:
            UnknownCheckError: There is no such check.
        """
        check, _ = self._find(name)
        span = CHECK.start(
            self._instruments.tracer,
            {"check": name},
            context=get_current(),
            attributes={"check": name},
        )
        with trace.use_span(span, end_on_exit=True):
            result = await run_check(check, self._clock)
            after = self._record(check, result)
            _describe(result, after.status.state)
        return after

    def _record(self, check: Check, result: ProbeResult) -> CheckSnapshot:
        attributes = {"check": check.name}
        if result.error_type:
            attributes["error.type"] = result.error_type
        self._instruments.health_check_duration.record(result.duration_s, attributes)
        known, before = self._checks.get(check.name, (None, CheckStatus.initial(0.0)))
        status = before.after(result, self._clock.time(), check.thresholds)
        after = _snapshot(check, status)
        if known is check:  # it may have been removed, or replaced, while it ran
            self._checks[check.name] = (check, status)
            self._tell(_snapshot(check, before), after)
        return after

    def _tell(self, before: CheckSnapshot, after: CheckSnapshot) -> None:
        if before.status.state is not after.status.state:
            last = after.status.last
            reason = last.reason if last is not None else ""
            level = logging.INFO if after.status.state is CheckState.UP else logging.WARNING
            state = after.status.state.name.lower()
            _logger.log(level, "check %s is %s: %s", after.name, state, reason)
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception:
                _logger.exception("check %s: a listener raised", after.name)

    def _find(self, name: str) -> tuple[Check, CheckStatus]:
        found = self._checks.get(name)
        if found is None:
            known = ", ".join(sorted(self._checks)) or "none"
            raise UnknownCheckError(f"there is no check {name!r}; there are: {known}")
        return found


def job_name(check: str) -> str:
    """Return the name of the job that runs a check."""
    return f"check {check}"


def _share(name: str) -> float:
    """Return a number in [0, 1) that depends on nothing but a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _snapshot(check: Check, status: CheckStatus) -> CheckSnapshot:
    return CheckSnapshot(
        name=check.name,
        target=check.probe.target,
        interval_s=check.interval_s,
        timeout_s=check.timeout_s,
        status=status,
    )


def _describe(result: ProbeResult, state: CheckState) -> None:
    """Write what a run found on the current span."""
    span = trace.get_current_span()
    span.set_attribute("gateway.health.state", state.name.lower())
    for key, value in result.attributes.items():
        span.set_attribute(key if "." in key else f"gateway.health.{key}", value)
    if result.error_type:
        span.set_attribute("error.type", result.error_type)
        span.set_status(StatusCode.ERROR, result.reason)
