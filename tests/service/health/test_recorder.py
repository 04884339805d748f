"""What is written down of checks: state, history, uptime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alerts.clock import ManualClock
from alerts.storage.check_periods import DAY_MS
from service.health.checks import Check
from service.health.recorder import Retention
from service.health.state import CheckState, ProbeResult, Thresholds
from tests.support.checks import NOON, SwitchedProbe, WatchedHouse, watched_house

HOUR_S = 3_600.0
DAY_S = 86_400.0


async def take(house: WatchedHouse, *durations_s: float, every_s: float = 60.0) -> None:
    """Have good runs of these durations end, and let time pass after each."""
    for duration_s in durations_s:
        before = house.monitor.check("web")
        result = ProbeResult(True, "fine", duration_s=duration_s)
        status = before.status.after(result, house.clock.time(), Thresholds(1, 1))
        house.recorder.listen(before, replace(before, status=status, state=CheckState.UP))
        await house.clock.advance(every_s)


async def test_uptime_is_weighted_by_time(tmp_path: Path) -> None:
    """A minute down in ten is 90 %, and what was before the first run is not counted."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(*[True] * 5, False, *[True] * 4)
        uptimes = (await house.recorder.uptime())["web"]

    assert uptimes.keys() == {"1h", "24h", "7d", "30d", "90d"}
    assert {each.uptime for each in uptimes.values()} == {0.9}
    assert uptimes["1h"].watched_ms == 600_000
    assert (uptimes["1h"].runs, uptimes["1h"].failures) == (10, 1)


async def test_windows_are_exact(tmp_path: Path) -> None:
    """What was an hour and a second ago is in no window of an hour."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(False, True, every_s=30)
        await house.clock.advance(HOUR_S - 30)
        uptimes = (await house.recorder.uptime())["web"]
        assert uptimes["1h"].down_ms == 0
        assert uptimes["1h"].up_ms == 130_000  # believed for two intervals and a timeout
        assert uptimes["24h"].down_ms == 30_000


async def test_time_without_the_process_is_unknown(tmp_path: Path) -> None:
    """Neither up nor down: uptime is of the time it was there, over restarts."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(True, False)
    clock = ManualClock(NOON + 2 * HOUR_S)
    async with watched_house(tmp_path, clock=clock) as house:
        house.add()
        await house.run(True, True)
        times = (await house.recorder.uptime())["web"]["24h"]

    assert (times.up_ms, times.down_ms, times.known_ms) == (180_000, 60_000, 240_000)
    assert times.uptime == 0.75


async def test_the_state_outlives_the_process(tmp_path: Path) -> None:
    """Since when, and how many in a row, go on as if there had been no restart."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(True, False, False)
    clock = ManualClock(NOON + HOUR_S)
    async with watched_house(tmp_path, clock=clock) as house:
        known = await house.recorder.load()
        house.monitor.add(Check("web", SwitchedProbe()), status=known["web"])
        found = house.monitor.check("web")

    assert found.state is CheckState.DOWN
    assert (found.since_s, found.status.failures) == (NOON + 60, 2)
    assert found.probe_success is None  # nothing was found yet in this process


async def test_maintenance_is_counted_neither_way(tmp_path: Path) -> None:
    """Results are kept, but what was found in a window is no part of the uptime."""
    async with watched_house(tmp_path) as house:
        house.add("db")
        house.add("web", depends_on=("db",))
        await house.run(False, name="db", every_s=0)
        await house.run(False)
        times = (await house.recorder.uptime("web"))["web"]["1h"]

    assert (times.held_ms, times.watched_ms, times.uptime) == (60_000, 0, None)


async def test_changes_and_results_are_told_newest_first(tmp_path: Path) -> None:
    """Each change with its reason, each run with what it found."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(True, True, False)
        results = await house.recorder.results("web", 2)
        changes = await house.recorder.changes("web", 10)

    assert [(each.success, each.state, each.at_ms) for each in results] == [
        (False, "down", round((NOON + 120) * 1000)),
        (True, "up", round((NOON + 60) * 1000)),
    ]
    assert [(each.before, each.after, each.reason) for each in changes] == [
        ("up", "down", "broken"),
        ("unknown", "up", "fine"),
    ]


async def test_what_cannot_be_written_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that fails is logged and counted, and nothing is lost once it works again."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(True)
        database = house.history._database
        async with database.transaction() as connection:
            await connection.exec_driver_sql("ALTER TABLE check_result RENAME TO away")
        await house.recorder.write()
        await house.run(False)
        await house.recorder.write()
        assert house.recorder.stats.failures == 2
        async with database.transaction() as connection:
            await connection.exec_driver_sql("ALTER TABLE away RENAME TO check_result")
        results = await house.recorder.results("web", 9)
        times = (await house.recorder.uptime())["web"]["1h"]

    assert "what checks found is not written yet" in caplog.text
    assert [each.success for each in results] == [False, True]
    assert (times.up_ms, times.down_ms) == (60_000, 60_000)


async def test_the_history_stays_small(tmp_path: Path) -> None:
    """Months become days without a change of uptime, and what is too old goes."""
    async with watched_house(tmp_path, retention=Retention(DAY_S, 120 * DAY_S)) as house:
        house.add(interval_s=HOUR_S)
        for _ in range(40):
            await house.run(*[True] * 11, False, every_s=2 * HOUR_S)
        before = (await house.recorder.uptime())["web"]["90d"]
        await house.recorder.keep_house()
        await house.recorder.keep_house()
        after = (await house.recorder.uptime())["web"]["90d"]
        periods = await house.history.periods.periods("web")
        results = await house.recorder.results("web", 1_000)

        await house.clock.advance(121 * DAY_S)
        await house.recorder.keep_house()
        left = await house.history.periods.periods("web")

    assert (before.uptime, before.watched_ms) == (11 / 12, 40 * DAY_MS)
    assert after == before
    assert len(periods) < 26 + 16 * 24
    assert len(results) == 12
    assert left == ()


async def test_a_check_that_is_gone_keeps_its_history(tmp_path: Path) -> None:
    """It is there again when a check of its name is."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(True)
        house.monitor.remove("web")
        house.recorder.forget("web")
        await house.clock.advance(600)
        house.add()
        await house.run(True)
        times = (await house.recorder.uptime())["web"]["1h"]

    assert (times.runs, times.up_ms) == (2, 120_000)


async def test_uptimes_for_metrics_are_of_the_last_measurement(tmp_path: Path) -> None:
    """They are read on another thread, which must not ask the database."""
    async with watched_house(tmp_path) as house:
        house.add()
        await house.run(True)
        assert house.recorder.uptimes == {}
        await house.recorder.measure()

        assert house.recorder.uptimes["web"]["24h"].uptime == 1.0


async def test_percentiles_are_exact_as_long_as_results_are_kept(tmp_path: Path) -> None:
    """Each is one of the durations; what is outside the window is not counted."""
    async with watched_house(tmp_path) as house:
        house.add()
        await take(house, 9.0, every_s=2 * HOUR_S)
        await take(house, *(number / 100 for number in range(20, 0, -1)))
        hour = await house.recorder.latency("web", "1h")
        day = await house.recorder.latency("web", "24h")

    assert (hour.runs, hour.is_exact) == (20, True)
    assert hour.percentiles_s == {"p50": 0.1, "p95": 0.19, "p99": 0.2}
    assert (day.runs, day.percentiles_s["p99"]) == (21, 9.0)


async def test_percentiles_of_long_windows_outlive_results(tmp_path: Path) -> None:
    """From buckets, within 5 %, also when periods were merged to days and results are gone."""
    async with watched_house(tmp_path) as house:
        house.add(interval_s=HOUR_S)
        for _ in range(20):
            await take(house, *[0.1] * 11, 3.0, every_s=2 * HOUR_S)
        before = await house.recorder.latency("web", "90d")
        fine = await house.history.periods.periods("web")
        await house.recorder.keep_house()
        after = await house.recorder.latency("web", "90d")
        periods = await house.history.periods.periods("web")

    assert after == before
    assert (after.runs, after.is_exact) == (240, False)
    assert after.percentiles_s == pytest.approx({"p50": 0.1, "p95": 3.0, "p99": 3.0}, rel=0.05)
    assert len(periods) < len(fine)


async def test_results_kept_for_less_than_a_window_are_not_enough(tmp_path: Path) -> None:
    """Percentiles then come from buckets, and nothing is known of a check that never ran."""
    async with watched_house(tmp_path, retention=Retention(HOUR_S)) as house:
        house.add()
        await take(house, 0.5)
        day = await house.recorder.latency("web", "24h")
        other = [await house.recorder.latency("other", window) for window in ("1h", "7d")]

    assert (day.runs, day.is_exact) == (1, False)
    assert [(each.runs, each.percentiles_s) for each in other] == [(0, {}), (0, {})]


async def test_many_checks_are_added_up_in_pages(tmp_path: Path) -> None:
    """All of them are there, however many go into one transaction."""
    async with watched_house(tmp_path) as house:
        for number in range(205):
            house.add(f"web-{number}")
            await house.run(True, name=f"web-{number}", every_s=0)
        await house.clock.advance(60)
        uptimes = await house.recorder.uptime()

    assert len(uptimes) == 205
    assert {each["24h"].up_ms for each in uptimes.values()} == {60_000}
