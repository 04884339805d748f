"""Checks on the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import StatusCode

from alerts.clock import ManualClock
from service.health.checks import Check
from service.health.maintenance import Maintenance, OnceWindow, Period
from service.health.monitor import (
    FIRST_RUNS_WITHIN_S,
    HealthMonitor,
    UnknownCheckError,
    job_name,
)
from service.health.snapshot import CheckSnapshot
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
    """Duration and error type are recorded by kind, and the snapshot has what is observed."""
    house.monitor.add(check("web", script="-", kind="http"))
    house.monitor.add(check("shop", script="-", kind="http"))
    await house.monitor.run("web")
    await house.monitor.run("shop")

    (point,) = house.telemetry.points("gateway.health.check.duration")
    assert point.attributes == {"kind": "http", "error.type": "status"}
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


def window(start_s: float, end_s: float) -> Maintenance:
    """Return a maintenance window, in seconds of the house's clock."""
    return Maintenance((OnceWindow(Period(round(start_s * 1000), round(end_s * 1000), "move")),))


def states(house: House) -> dict[str, str]:
    return {each.name: each.state.name for each in house.monitor.checks()}


async def test_failures_below_a_failing_dependency_are_held_back(house):
    """However far below, until the dependency is up again; what works all the same is up."""
    down = Thresholds(failure=1)
    house.monitor.add(check("db", "-+", thresholds=down))
    house.monitor.add(check("api", "--", thresholds=down, depends_on=("db",)))
    house.monitor.add(check("web", "-", thresholds=down, depends_on=("api",)))
    house.monitor.add(check("docs", "+", thresholds=down, depends_on=("db",)))
    await house.monitor.run("web")  # which has the others run
    await house.clock.settle()
    await house.monitor.run("docs")

    assert states(house) == {"db": "DOWN", "api": "HELD", "web": "HELD", "docs": "UP"}
    assert house.monitor.check("web").held_by == ("api", "db")
    assert house.monitor.check("api").reason == "db fails; status 500"
    assert house.monitor.check("web").status.state is CheckState.DOWN

    await house.monitor.run("db")
    assert states(house) == {"db": "UP", "api": "HELD", "web": "HELD", "docs": "UP"}
    await house.clock.settle()  # api is looked at, and web once api works
    assert states(house) == {"db": "UP", "api": "DOWN", "web": "HELD", "docs": "UP"}


async def test_what_was_held_back_is_looked_at_when_its_dependency_works_again(house):
    """It is never told to be down for what it found while the dependency was."""
    down = Thresholds(failure=1)
    seen: list[tuple[str, str]] = []
    house.monitor.add(check("db", "-+", thresholds=down))
    house.monitor.add(check("web", "-+", thresholds=down, depends_on=("db",)))
    await house.monitor.run("db")
    await house.monitor.run("web")
    house.monitor.add_listener(lambda _, after: seen.append((after.name, after.state.name)))
    await house.monitor.run("db")
    await house.clock.settle()

    assert seen == [("db", "UP"), ("web", "UP")]


async def test_the_dependency_of_a_failed_check_is_run_at_once(house):
    """So that the cause is known although its turn is an hour away; a success asks for nothing."""
    house.monitor.add(check("db"))
    house.monitor.add(check("web", "+-", depends_on=("db",)))
    await house.monitor.run("web")
    await house.clock.settle()
    assert house.scheduler.job(job_name("db")).runs == 0

    await house.monitor.run("web")
    await house.clock.settle()
    assert house.scheduler.job(job_name("db")).runs == 1


async def test_a_dependency_looked_at_since_is_not_run_again(house):
    """A thousand failures do not make a thousand runs of what they need."""
    house.monitor.add(check("db", "-" * 9))
    for number in range(5):
        house.monitor.add(check(f"web{number}", "-", depends_on=("db",)))
    for number in range(5):
        await house.monitor.run(f"web{number}")
        await house.clock.settle()

    assert house.scheduler.job(job_name("db")).runs == 1


async def test_a_window_opens_and_closes_on_time(house):
    """Without any run, and listeners are told of both with the exact moments."""
    now = house.clock.time()
    house.monitor.add(check(maintenance=window(now + 30.5, now + 40.25)))
    await house.clock.advance(FIRST_RUNS_WITHIN_S)
    seen: list[tuple[str, float, str]] = []
    house.monitor.add_listener(
        lambda _, after: seen.append((after.state.name, after.since_s - now, after.reason))
    )
    async with house.monitor:
        await house.clock.advance(25)
        assert house.monitor.check("web").status.state is CheckState.UP
        await house.clock.advance(15)

    assert seen == [("MAINTENANCE", 30.5, "maintenance: move"), ("UP", 40.25, "fine")]


async def test_results_in_a_window_are_kept(house):
    """They are what the state is after it."""
    now = house.clock.time()
    house.monitor.add(
        check(
            script="+---",
            thresholds=Thresholds(failure=3),
            maintenance=window(now + 10, now + 20),
        )
    )
    await house.clock.advance(FIRST_RUNS_WITHIN_S + 2)
    for _ in range(3):
        await house.monitor.run("web")
    during = house.monitor.check("web")
    async with house.monitor:
        await house.clock.advance(10)

    assert (during.state, during.status.failures) == (CheckState.MAINTENANCE, 3)
    assert house.monitor.check("web").state is CheckState.DOWN


async def test_windows_that_passed_in_one_leap_are_each_told(house):
    """A machine that slept wakes up to what it missed, each with its own time."""
    now = house.clock.time()
    house.monitor.add(check(maintenance=window(now + 10, now + 20)))
    await house.monitor.run("web")
    seen: list[tuple[str, float]] = []
    house.monitor.add_listener(
        lambda _, after: seen.append((after.state.name, after.since_s - now))
    )
    house.clock._elapsed_ns += 3_600 * 10**9
    await house.monitor.run("web")

    assert seen[:2] == [("MAINTENANCE", 10), ("UP", 20)]


async def test_a_check_that_is_replaced_keeps_its_state_and_slots(house):
    """Only another interval gives it other slots; its runs go on being counted otherwise."""
    house.monitor.add(check(script="-", thresholds=Thresholds(failure=1)))
    await house.scheduler.run_now(job_name("web"))
    house.monitor.replace(check(script="+", group="shop"))
    kept = house.scheduler.job(job_name("web"))

    assert (kept.runs, house.monitor.check("web").group) == (1, "shop")
    assert house.monitor.check("web").state is CheckState.DOWN

    house.monitor.replace(Check("web", ScriptedProbe("+"), interval_s=60.0))
    assert house.scheduler.job(job_name("web")).interval_s == 60.0
    assert house.monitor.check("web").state is CheckState.DOWN


async def test_no_more_checks_run_at_once_than_allowed(house):
    """The others wait for their turn; none is lost."""
    gate, running, most = asyncio.Event(), 0, 0

    class Waiting:
        target = "a gate"

        async def run(self, timeout_s: float) -> ProbeResult:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await gate.wait()
            running -= 1
            return ProbeResult.passed()

    monitor = HealthMonitor(
        scheduler=house.scheduler,
        clock=house.clock,
        instruments=house.telemetry.instruments,
        max_concurrent=3,
    )
    for number in range(10):
        monitor.add(Check(f"c{number}", Waiting()))
    runs = [asyncio.create_task(monitor.run(f"c{number}")) for number in range(10)]
    await house.clock.settle()
    gate.set()
    await asyncio.gather(*runs)

    assert most == 3
    assert {each.state for each in monitor.checks()} == {CheckState.UP}


async def test_a_thousand_checks_that_hang_at_once(house):
    """Each is a failure at its own timeout, and none waits for another."""

    class Hanging:
        target = "nothing"

        async def run(self, timeout_s: float) -> ProbeResult:
            await house.clock.sleep(3600)
            return ProbeResult.passed()

    monitor = HealthMonitor(
        scheduler=Scheduler(clock=house.clock, instruments=house.telemetry.instruments),
        clock=house.clock,
        instruments=house.telemetry.instruments,
        max_concurrent=1000,
    )
    for number in range(1000):
        monitor.add(Check(f"c{number}", Hanging(), timeout_s=5.0))
    runs = [asyncio.create_task(monitor.run(f"c{number}")) for number in range(1000)]
    await house.clock.settle()
    await house.clock.advance(5.0)
    results = [run.result().status.last for run in runs]

    assert {result.reason for result in results if result} == {"no result within 5s"}
    assert {result.duration_s for result in results if result} == {5.0}
