"""One run of a check, whatever its probe does."""

from __future__ import annotations

import asyncio
import logging

import pytest
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import ManualClock, SystemClock
from service.config.health_settings import HealthSettings
from service.config.settings import HTTPPoolSettings
from service.health.checks import Check, configured_checks, run_check
from service.health.probes.factory import ProbeParts
from service.health.pushes import PushInbox
from service.health.state import ProbeResult, Thresholds
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments


class SlowProbe:
    """Takes a number of seconds on a clock."""

    target = "something slow"

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    async def run(self, timeout_s: float) -> ProbeResult:
        await self._clock.sleep(self._seconds)
        return ProbeResult.passed()


class BrokenProbe:
    """Raises."""

    target = "something broken"

    async def run(self, timeout_s: float) -> ProbeResult:
        raise LookupError("a bug")


@pytest.mark.parametrize(("takes", "success"), [(4.9, True), (5.1, False)])
async def test_a_run_ends_at_its_timeout(takes, success):
    """A probe that hangs is a failure with a reason, at the timeout and not later."""
    clock = ManualClock()
    check = Check("slow", SlowProbe(clock, takes), timeout_s=5.0)
    task = asyncio.create_task(run_check(check, clock))
    await clock.advance(5.0)
    result = await task

    assert result.success is success
    assert result.duration_s == pytest.approx(min(takes, 5.0))
    assert result.reason == ("" if success else "no result within 5s")


async def test_a_probe_that_raises_is_a_failure_and_logged(caplog):
    """A bug in a probe fails its check only, with a traceback in the log."""
    with caplog.at_level(logging.ERROR):
        result = await run_check(Check("broken", BrokenProbe()), ManualClock())

    assert (result.success, result.error_type) == (False, "LookupError")
    assert result.reason == "the probe failed: LookupError: a bug"
    assert caplog.records[0].exc_info is not None


def test_checks_are_made_from_settings():
    """Every setting of a check arrives, and the interval falls back to the common one."""
    settings = HealthSettings.model_validate(
        {
            "interval": "30s",
            "checks": [
                {"name": "a", "http": {"url": "http://u:p@localhost/x?key=1"}},
                {
                    "name": "b",
                    "http": {"url": "http://localhost/", "method": "HEAD"},
                    "interval": "5s",
                    "timeout": "1s",
                    "failure_threshold": 2,
                    "success_threshold": 4,
                },
            ],
        }
    )
    pool = HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=SystemClock(),
    )
    clock = SystemClock()
    first, second = configured_checks(settings, ProbeParts(pool, clock, PushInbox(clock)))

    assert (first.name, first.interval_s, first.probe.target) == (
        "a",
        30.0,
        "GET http://localhost/x",
    )
    assert (second.interval_s, second.timeout_s) == (5.0, 1.0)
    assert second.thresholds == Thresholds(2, 4)
    assert second.probe.target == "HEAD http://localhost/"
