"""The history of health checks in the database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.storage.check_history import (
    CheckHistory,
    CheckNews,
    SavedChange,
    SavedResult,
    SavedState,
)
from alerts.storage.check_periods import DAY_MS, HOUR_MS, CheckPeriod, StateTimes
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.storage.tables import CHECK_CHANGE
from tests.support.alerts import START_MS

DAY = START_MS // DAY_MS * DAY_MS
RESULT = SavedResult("web", DAY, True, "up", 0.25, "", "status 200 ü\x00")
CHANGE = SavedChange("web", DAY, "up", "down", "status 500")
STATE = SavedState("web", "down", DAY, 3, 0, DAY + 5)


def up(start_ms: int, end_ms: int, name: str = "web", runs: int = 1) -> CheckPeriod:
    """Return a period in which a check was up; each run took a second."""
    return CheckPeriod(
        name, start_ms, end_ms, StateTimes(end_ms - start_ms, 0, 0, 0, 0, runs, 0, runs, 1, 1)
    )


def down(start_ms: int, end_ms: int) -> CheckPeriod:
    """Return a period in which a check was down; its run took three seconds."""
    return CheckPeriod(
        "web", start_ms, end_ms, StateTimes(0, 0, end_ms - start_ms, 0, 0, 1, 1, 3, 3, 3)
    )


async def test_everything_comes_back(database: Database) -> None:
    """States replace those of their checks; results and changes are told newest first."""
    history = CheckHistory(database)
    later = replace(RESULT, at_ms=DAY + 1, success=False, state="down", error_type="status")
    await history.save(CheckNews([STATE], [RESULT], [CHANGE], [up(DAY, DAY + 10)]))
    await history.save(CheckNews([replace(STATE, failures=4)], [later]))
    await history.save(CheckNews())

    assert await history.states() == {"web": replace(STATE, failures=4)}
    assert await history.results("web", 10) == (later, RESULT)
    assert await history.results("web", 1) == (later,)
    assert await history.changes("web", 10) == (CHANGE,)
    assert await history.results("other", 10) == ()


async def test_a_period_that_grew_replaces_what_it_was(database: Database) -> None:
    """A period is told apart by where it begins."""
    history = CheckHistory(database)
    await history.save(CheckNews(periods=[up(DAY, DAY + 10)]))
    await history.save(CheckNews(periods=[up(DAY, DAY + 20)]))

    assert await history.periods.periods("web") == (up(DAY, DAY + 20),)


async def test_windows_cut_periods_to_the_millisecond(database: Database) -> None:
    """Of a period that reaches out of the window only what is inside counts."""
    history = CheckHistory(database)
    await history.save(
        CheckNews(
            periods=[
                up(DAY, DAY + HOUR_MS),
                down(DAY + HOUR_MS, DAY + HOUR_MS + 1_000),
                up(DAY + HOUR_MS + 1_000, DAY + 2 * HOUR_MS),
                up(DAY, DAY + 10, name="api"),
            ]
        )
    )
    totals = await history.periods.totals(DAY + HOUR_MS - 1, DAY + HOUR_MS + 1_001)

    assert totals.keys() == {"web"}
    times = totals["web"]
    assert (times.up_ms, times.down_ms) == (2, 1_000)
    assert times.uptime == 2 / 1_002
    assert (times.runs, times.failures) == (3, 1)
    assert (times.duration_min_s, times.duration_max_s, times.duration_avg_s) == (1, 3, 5 / 3)
    only = await history.periods.totals(DAY, DAY + 5, check_name="api")
    assert {name: each.up_ms for name, each in only.items()} == {"api": 5}
    assert await history.periods.totals(DAY - 5, DAY) == {}


async def test_merging_keeps_every_sum(database: Database) -> None:
    """Periods become hours, then days; only those that ended in time, and none of another check."""
    history = CheckHistory(database)
    quarter = HOUR_MS // 4
    periods = [
        up(DAY, DAY + quarter),
        down(DAY + quarter, DAY + HOUR_MS),
        up(DAY + HOUR_MS, DAY + HOUR_MS + quarter, runs=0),
        up(DAY + HOUR_MS + 2 * quarter, DAY + 2 * HOUR_MS),
        up(DAY + 24 * HOUR_MS, DAY + 25 * HOUR_MS - quarter),
        up(DAY + 25 * HOUR_MS - quarter, DAY + 25 * HOUR_MS),
        up(DAY + quarter, DAY + HOUR_MS, name="api"),
    ]
    await history.save(CheckNews(periods=periods))
    before = await history.periods.totals(DAY, DAY + 2 * DAY_MS)

    merge = history.periods.merge
    assert await merge(HOUR_MS, since_ms=0, before_ms=DAY + 24 * HOUR_MS + 10) == 2
    assert [(each.start_ms, each.end_ms) for each in await history.periods.periods("web")] == [
        (DAY, DAY + HOUR_MS),
        (DAY + HOUR_MS, DAY + 2 * HOUR_MS),
        (DAY + 24 * HOUR_MS, DAY + 25 * HOUR_MS - quarter),
        (DAY + 25 * HOUR_MS - quarter, DAY + 25 * HOUR_MS),
    ]
    assert await history.periods.totals(DAY, DAY + 2 * DAY_MS) == before

    assert await merge(DAY_MS, since_ms=0, before_ms=DAY + 2 * DAY_MS) == 2
    assert len(await history.periods.periods("web")) == 2
    assert await history.periods.totals(DAY, DAY + 2 * DAY_MS) == before
    assert await history.periods.periods("api") == (periods[-1],)


async def test_merging_in_many_transactions(database: Database) -> None:
    """More spans than go into one transaction are all merged."""
    history = CheckHistory(database)
    periods = [
        up(start, start + 1_000)
        for hour in range(450)
        for start in (DAY + hour * HOUR_MS, DAY + hour * HOUR_MS + 1_000)
    ]
    await history.save(CheckNews(periods=periods))

    assert await history.periods.merge(HOUR_MS, since_ms=0, before_ms=DAY + 450 * HOUR_MS) == 450


async def test_what_is_old_is_forgotten(database: Database) -> None:
    """Results sooner than the rest, and the state of checks that are no more."""
    history = CheckHistory(database)
    old, new = DAY, DAY + DAY_MS
    await history.save(
        CheckNews(
            [STATE, replace(STATE, check_name="api", last_at_ms=new)],
            [replace(RESULT, at_ms=at) for at in (old, new)],
            [replace(CHANGE, at_ms=at) for at in (old, new)],
            [up(old, old + 10), up(new, new + 10)],
        )
    )
    assert await history.prune(results_before_ms=new, before_ms=old) == 1
    assert await history.prune(results_before_ms=new, before_ms=new) == 3

    assert [each.at_ms for each in await history.results("web", 9)] == [new]
    assert [each.at_ms for each in await history.changes("web", 9)] == [new]
    assert await history.periods.periods("web") == (up(new, new + 10),)
    assert (await history.states()).keys() == {"api"}


async def test_much_that_is_old(database: Database) -> None:
    """More than goes into one transaction is all forgotten."""
    history = CheckHistory(database)
    await history.save(
        CheckNews(
            results=[replace(RESULT, at_ms=DAY + at) for at in range(4_100)],
            periods=[up(DAY + 2 * at, DAY + 2 * at + 1) for at in range(4_100)],
        )
    )

    deleted = await history.prune(results_before_ms=DAY + 4_000, before_ms=DAY + 8_001)
    assert deleted == 4_000 + 4_001


async def test_a_database_that_fails(database: Database) -> None:
    """What cannot be written or read is an error that says so."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql("DROP TABLE check_change")
    try:
        with pytest.raises(StorageError, match="check_change"):
            await CheckHistory(database).save(CheckNews(results=[RESULT], changes=[CHANGE]))

        assert await CheckHistory(database).results("web", 9) == ()
    finally:
        async with database.transaction() as connection:
            await connection.run_sync(CHECK_CHANGE.create)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(
        st.tuples(st.booleans(), st.integers(1, 3 * HOUR_MS)), min_size=1, max_size=12
    ),
    cut=st.tuples(st.integers(0, 40 * HOUR_MS), st.integers(0, 40 * HOUR_MS)),
)
async def test_any_window(
    database: Database, lengths: list[tuple[bool, int]], cut: tuple[int, int]
) -> None:
    """Sums of any window over periods of one state are exact."""
    history = CheckHistory(database)
    await history.prune(results_before_ms=0, before_ms=2 * DAY)
    at, periods = DAY, []
    for is_up, length in lengths:
        periods.append(up(at, at + length) if is_up else down(at, at + length))
        at += length
    await history.save(CheckNews(periods=periods))
    start, end = DAY + min(cut), DAY + max(cut)
    times = (await history.periods.totals(start, end)).get("web", StateTimes())

    inside = [
        (max(0, min(each.end_ms, end) - max(each.start_ms, start)), each.times.up_ms > 0)
        for each in periods
    ]
    assert times.up_ms == sum(length for length, is_up in inside if is_up)
    assert times.down_ms == sum(length for length, is_up in inside if not is_up)
