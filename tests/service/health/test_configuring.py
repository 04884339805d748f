"""Checks kept in step with settings that change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.config.health_settings import HealthSettings
from service.errors import ConfigurationError
from service.health.checks import Check
from service.health.configuring import ConfiguredChecks
from service.health.monitor import job_name
from service.health.state import CheckState
from tests.support.checks import SwitchedProbe, WatchedHouse, watched_house

URL = {"url": "http://127.0.0.1:9/"}


def health(*checks: dict[str, Any], **settings: Any) -> HealthSettings:
    """Return settings of checks; what they look at does not matter here."""
    return HealthSettings.model_validate(
        {"checks": [{"http": URL, **each} for each in checks], **settings}
    )


def build(settings: HealthSettings) -> list[Check]:
    """Build checks that look at nothing; one called bad cannot be built."""
    if any(check.name == "bad" for check in settings.checks):
        raise ConfigurationError([])
    return [
        Check(
            each.name,
            SwitchedProbe(),
            settings.interval if each.interval is None else each.interval,
            group=each.group,
        )
        for each in settings.checks
    ]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[WatchedHouse]:
    async with watched_house(tmp_path) as made:
        yield made


def configured(house: WatchedHouse, settings: HealthSettings) -> ConfiguredChecks:
    checks = ConfiguredChecks(
        house.monitor,
        settings,
        built_in=[Check("own", SwitchedProbe())],
        build=build,
        expect=lambda settings: None,
        forget=house.recorder.forget,
        known={},
    )
    checks.start()
    return checks


async def test_only_what_differs_is_touched(house):
    """The others keep state, job and counts."""
    checks = configured(house, health({"name": "a"}, {"name": "b"}, {"name": "c"}))
    for name in ("a", "b", "c"):
        await house.scheduler.run_now(job_name(name))
    jobs = {name: house.scheduler._jobs[job_name(name)] for name in ("a", "b")}
    plan = checks.plan(health({"name": "a"}, {"name": "b", "group": "g"}, {"name": "d"}))
    assert [each.name for each in house.monitor.checks()] == ["own", "a", "b", "c"]

    checks.apply(plan)

    assert str(plan) == "checks: 1 unchanged, 1 changed, 1 added, 1 removed"
    assert [each.name for each in house.monitor.checks()] == ["own", "a", "b", "d"]
    assert house.monitor.check("b").group == "g"
    assert house.monitor.check("b").state is CheckState.UP
    assert {name: house.scheduler._jobs[job_name(name)] for name in ("a", "b")} == jobs
    again = checks.plan(health({"name": "a"}, {"name": "b", "group": "g"}, {"name": "d"}))
    assert str(again) == "checks: 3 unchanged, 0 changed, 0 added, 0 removed"


async def test_one_that_cannot_be_built_changes_nothing(house):
    """Planning fails, and there is nothing to apply."""
    checks = configured(house, health({"name": "a"}))

    with pytest.raises(ConfigurationError):
        checks.plan(health({"name": "bad"}))
    assert [each.name for each in house.monitor.checks()] == ["own", "a"]


async def test_windows_of_all_checks(house):
    """Those that are new hold for built-in checks too, which stay the same otherwise."""
    checks = configured(house, health({"name": "a"}))
    await house.monitor.run("own")
    window = {"start": "2000-01-01", "end": "2100-01-01", "name": "move"}

    checks.apply(checks.plan(health({"name": "a"}, maintenance=[window])))
    assert house.monitor.check("own").state is CheckState.MAINTENANCE
    checks.apply(checks.plan(health({"name": "a"})))
    assert house.monitor.check("own").state is CheckState.UP


async def test_the_common_interval(house):
    """It is taken by built-in checks and those without one of their own; the others keep slots."""
    before = health({"name": "a"}, {"name": "b", "interval": "30s"}, interval="60s")
    checks = configured(house, before)
    for name in ("own", "a", "b"):
        await house.scheduler.run_now(job_name(name))
    job = house.scheduler._jobs[job_name("b")]
    plan = checks.plan(health({"name": "a"}, {"name": "b", "interval": "30s"}, interval="5s"))

    assert checks.interval_s == 60
    checks.apply(plan)

    assert str(plan) == (
        "checks: 1 unchanged, 1 changed, 0 added, 0 removed, the built-in ones every 5s"
    )
    assert checks.interval_s == 5
    found = {each.name: (each.interval_s, each.state) for each in house.monitor.checks()}
    assert found == {
        "own": (5, CheckState.UP),
        "a": (5, CheckState.UP),
        "b": (30, CheckState.UP),
    }
    assert house.scheduler._jobs[job_name("b")] is job
    assert house.scheduler.job(job_name("own")).interval_s == 5


async def test_an_interval_is_what_counts_and_not_where_it_stands(house):
    """A check that gets the old common interval as its own stays the same but for its words."""
    checks = configured(house, health({"name": "a"}, interval="60s"))
    job = house.scheduler._jobs[job_name("a")]

    checks.apply(checks.plan(health({"name": "a", "interval": "60s"}, interval="5s")))

    assert house.monitor.check("a").interval_s == 60
    assert house.scheduler._jobs[job_name("a")] is job
