"""Checks on the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import StatusCode

from alerts.clock import ManualClock
from service.health.checks import Check
from service.health.monitor import (
    FIRST_RUNS_WITHIN_S,
    CheckSnapshot,
    HealthMonitor,
    UnknownCheckError,
    job_name,
)
from service.health.state import CheckState, ProbeResult, Thresholds
from service.jobs import JobError
from service.scheduler import Scheduler
from tests.support.http import RecordedTelemetry


class ScriptedProbe:
    """Succeeds or fails as the script says, one character for each run."""

    target = "a script"

    def __init__(self, script: str) -> None:
        self._script = iter(script)

    async def run(self, timeout_s: float) -> ProbeResult:
        if next(self._script) == "+":
            return ProbeResult.passed("fine", **{"http.response.status_code": 200})
        return ProbeResult.failed("status 500", "status", {"http.response.status_code": 500})


class House:
    """A monitor with all it needs, on a clock turned by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.telemetry = RecordedTelemetry()
        self.scheduler = Scheduler(clock=self.clock, instruments=self.telemetry.instruments)
        self.monitor = HealthMonitor(
            scheduler=self.scheduler,
            clock=self.clock,
            instruments=self.telemetry.instruments,
        )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    async with made.scheduler:
        yield made


def check(name: str = "web", script: str = "+" * 99, **options: object) -> Check:
    return Check(name, ScriptedProbe(script), interval_s=3600.0, **options)  # type: ignore[arg-type]  # tests pass what Check takes


async def test_a_check_is_unknown_until_it_ran(house):
    """Nothing is claimed before there is a result."""
    house.monitor.add(check())

    snapshot = house.monitor.check("web")
    assert snapshot.status.state is CheckState.UNKNOWN
    assert (snapshot.probe_success, snapshot.http_status) == (None, None)


async def test_every_check_runs_soon_after_the_start(house):
    """Even an hourly check has a result within seconds, and not all start at once."""
    for number in range(20):
        house.monitor.add(check(f"check{number}"))
    await house.clock.advance(FIRST_RUNS_WITHIN_S / 2)
    halfway = [each.status.state for each in house.monitor.checks()]
    await house.clock.advance(FIRST_RUNS_WITHIN_S / 2)

    assert set(halfway) == {CheckState.UNKNOWN, CheckState.UP}
    assert {each.status.state for each in house.monitor.checks()} == {CheckState.UP}


async def test_checks_of_one_interval_are_spread_over_it(house):
    """Offsets depend on the name alone, so they are the same after every restart."""
    other = House()
    for number in range(10):
        house.monitor.add(check(f"check{number}"))
        other.monitor.add(check(f"check{number}"))

    offsets = [job.offset_s for job in house.scheduler.jobs()]
    assert offsets == [job.offset_s for job in other.scheduler.jobs()]
    assert len(set(offsets)) == 10
    assert all(0 <= offset < 3600 for offset in offsets)


async def test_results_become_states_by_the_thresholds(house):
    """Runs by the scheduler's jobs move the state of the check."""
    house.monitor.add(check(script="+---+", thresholds=Thresholds(failure=3, success=1)))
    seen = []
    for _ in range(5):
        await house.scheduler.run_now(job_name("web"))
        seen.append(house.monitor.check("web").status.state.name)

    assert seen == ["UP", "DEGRADED", "DEGRADED", "DOWN", "UP"]


async def test_a_run_is_a_span_inside_the_span_of_its_job(house):
    """The check's span says what was found."""
    house.monitor.add(check(script="-"))
    await house.scheduler.run_now(job_name("web"))

    (span,) = house.telemetry.spans("check web")
    (job,) = house.telemetry.spans("job check web")
    assert span.parent is not None
    assert span.parent.span_id == job.context.span_id
    assert span.status.status_code is StatusCode.ERROR
    attributes = house.telemetry.attributes("check web")
    assert attributes["gateway.health.state"] == "degraded"
    assert attributes["http.response.status_code"] == 500


async def test_results_are_metrics(house):
    """Duration and error type are recorded, and the snapshot has what is observed."""
    house.monitor.add(check(script="-"))
    await house.monitor.run("web")

    (point,) = house.telemetry.points("gateway.health.check.duration")
    assert point.attributes == {"check": "web", "error.type": "status"}
    snapshot = house.monitor.check("web")
    assert (snapshot.probe_success, snapshot.http_status) == (0, 500)


async def test_listeners_see_every_run_and_cannot_break_it(house, caplog):
    """A listener that raises is logged, and the next one is told all the same."""
    seen: list[tuple[CheckState, CheckState]] = []

    def broken(_before: CheckSnapshot, _after: CheckSnapshot) -> None:
        raise RuntimeError("a bug")

    house.monitor.add_listener(broken)
    house.monitor.add_listener(
        lambda before, after: seen.append((before.status.state, after.status.state))
    )
    house.monitor.add(check(script="+-"))
    await house.monitor.run("web")
    await house.monitor.run("web")

    assert seen == [(CheckState.UNKNOWN, CheckState.UP), (CheckState.UP, CheckState.DEGRADED)]
    assert "check web: a listener raised" in caplog.text


async def test_changes_of_state_are_logged_once(house, caplog):
    """The log tells changes with their reason, not every run."""
    house.monitor.add(check(script="---", thresholds=Thresholds(failure=1)))
    for _ in range(3):
        await house.monitor.run("web")

    assert caplog.text.count("check web is down: status 500") == 1


async def test_a_removed_check_is_gone(house):
    """Its job goes with it, and its name is free."""
    house.monitor.add(check())
    house.monitor.remove("web")

    assert house.monitor.checks() == ()
    assert house.scheduler.jobs() == ()
    with pytest.raises(UnknownCheckError, match="there are: none"):
        house.monitor.check("web")


async def test_a_name_is_taken_once(house):
    """Two checks of one name would be one series, so the second is refused and changes nothing."""
    house.monitor.add(check())
    await house.monitor.run("web")

    with pytest.raises(JobError, match="already"):
        house.monitor.add(check())
    assert house.monitor.check("web").status.state is CheckState.UP
