"""What a health check is, and one run of it: always a result, never an error."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from typing import Protocol

from alerts.clock import Clock
from alerts.durations import format_duration
from service.config.health_settings import CheckSettings, HealthSettings
from service.deadline import Deadline
from service.health.maintenance import Maintenance, configured_maintenance
from service.health.probes.factory import ProbeParts, make_probe
from service.health.state import ProbeResult, Thresholds

_logger = logging.getLogger(__name__)


class Probe(Protocol):
    """Finds out whether one thing works."""

    @property
    def target(self) -> str:
        """What is looked at, for a person; without secrets."""

    async def run(self, timeout_s: float) -> ProbeResult:
        """Look once; cancelled after ``timeout_s``. The caller fills in the duration."""


@dataclass(frozen=True, slots=True)
class Check:
    """A probe and how often to run it.

    Attributes:
        name: Unique; the label ``check`` of its metrics.
        probe: Finds out.
        interval_s: Seconds between runs.
        timeout_s: Seconds one run may take.
        thresholds: How many results in a row change the state.
        group: The group it belongs to; empty: none.
        depends_on: Names of the checks it needs.
        maintenance: When what it finds says nothing.
        kind: The kind of its probe; ``own`` for checks of the process itself.
    """

    name: str
    probe: Probe
    interval_s: float = 60.0
    timeout_s: float = 10.0
    thresholds: Thresholds = field(default_factory=Thresholds)
    group: str = ""
    depends_on: tuple[str, ...] = ()
    maintenance: Maintenance = field(default_factory=Maintenance)
    kind: str = "own"


def configured_checks(settings: HealthSettings, parts: ProbeParts) -> tuple[Check, ...]:
    """Return the checks the settings ask for.

    Args:
        settings: What is checked.
        parts: What probes work with.
    """
    return tuple(_check(each, settings, parts) for each in settings.checks)


def _check(settings: CheckSettings, around: HealthSettings, parts: ProbeParts) -> Check:
    interval_s = around.interval if settings.interval is None else settings.interval
    return Check(
        name=settings.name,
        probe=make_probe(settings, parts, interval_s=interval_s),
        interval_s=interval_s,
        timeout_s=settings.timeout,
        thresholds=Thresholds(settings.failure_threshold, settings.success_threshold),
        group=settings.group,
        depends_on=settings.depends_on,
        maintenance=configured_maintenance((*around.maintenance, *settings.maintenance)),
        kind=settings.kind,
    )


async def run_check(check: Check, clock: Clock) -> ProbeResult:
    """Run a check once and return what it found, whatever its probe does, within its timeout."""
    started = clock.monotonic()
    limit = Deadline(clock, check.timeout_s)
    try:
        async with limit:
            result = await check.probe.run(check.timeout_s)
    except Exception as error:  # noqa: BLE001 - supervisor: a broken probe is a failed check, logged
        result = _error_result(check, error, timed_out=limit.expired)
    return dataclasses.replace(result, duration_s=clock.monotonic() - started)


def _error_result(check: Check, error: Exception, *, timed_out: bool) -> ProbeResult:
    if timed_out and isinstance(error, TimeoutError):
        limit = format_duration(check.timeout_s)
        return ProbeResult.failed(f"no result within {limit}", "timeout")
    _logger.error("check %s: its probe raised", check.name, exc_info=error)
    kind = type(error).__name__
    return ProbeResult.failed(f"the probe failed: {kind}: {error}".rstrip(": "), kind)
