"""How long health checks were in which state, in the database: sums of windows, and roll-up.

A row says how long a check was in each state between two moments. Rows of one state are exact to
the millisecond wherever a window cuts them; of a row that was merged from several states a window
takes its share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Text,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from alerts.storage.database import Database
from alerts.storage.duration_counts import DurationCounts
from alerts.storage.statements import as_row, upsert
from alerts.storage.tables import CHECK_PERIOD

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

_GROUPS: Final = 200
"""Rows that are merged into in one transaction."""
_SUMMED_AT_ONCE: Final = 100
"""Checks whose sums are made in one transaction: the event loop and others get their turn then."""
_OLD: Final = 2_000
"""Rows that are deleted in one transaction."""


@dataclass(frozen=True, slots=True)
class StateTimes:
    """How long a check was in each state, in milliseconds, and what its runs were like.

    Attributes:
        up_ms: Up.
        degraded_ms: Failing, but fewer times than make it down.
        down_ms: Down.
        maintenance_ms: In maintenance.
        held_ms: Failing while something it depends on failed.
        runs: Runs in that time.
        failures: Those that failed.
        duration_sum_s: How long they took together, in seconds.
        duration_min_s: How long the shortest took.
        duration_max_s: How long the longest took.
    """

    up_ms: int = 0
    degraded_ms: int = 0
    down_ms: int = 0
    maintenance_ms: int = 0
    held_ms: int = 0
    runs: int = 0
    failures: int = 0
    duration_sum_s: float = 0.0
    duration_min_s: float = 0.0
    duration_max_s: float = 0.0

    @property
    def known_ms(self) -> int:
        """How long the state was known."""
        return self.watched_ms + self.maintenance_ms + self.held_ms

    @property
    def watched_ms(self) -> int:
        """How long the state said something about the thing itself."""
        return self.up_ms + self.degraded_ms + self.down_ms

    @property
    def uptime(self) -> float | None:
        """The share of the watched time in which it was not down; None: it was not watched."""
        if not self.watched_ms:
            return None
        return (self.up_ms + self.degraded_ms) / self.watched_ms

    @property
    def duration_avg_s(self) -> float | None:
        """How long a run took in the mean; None: there was none."""
        return self.duration_sum_s / self.runs if self.runs else None


@dataclass(frozen=True, slots=True)
class CheckPeriod:
    """One row.

    Attributes:
        check_name: The check.
        start_ms: The first moment, in Unix milliseconds.
        end_ms: The first moment behind it.
        times: What was then.
        durations: How long its runs took.
    """

    check_name: str
    start_ms: int
    end_ms: int
    times: StateTimes
    durations: DurationCounts = field(default_factory=DurationCounts)


class CheckPeriods:
    """The periods in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        name = CHECK_PERIOD.c.check_name
        totals = _totals()
        self._totals_of_check = totals.where(name == bindparam("of_check", type_=Text))
        self._page_of_totals = (
            totals.where(name > bindparam("after", type_=Text))
            .order_by(name)
            .limit(_SUMMED_AT_ONCE)
        )

    async def totals(
        self, start_ms: int, end_ms: int, *, check_name: str | None = None
    ) -> dict[str, StateTimes]:
        """Return the sums of a window, by check; checks of which nothing is known are left out.

        Runs are counted, and their durations taken, of every period that reaches into the window.

        Args:
            start_ms: Its first moment, in Unix milliseconds.
            end_ms: The first moment behind it.
            check_name: Only of this check; None: of all.

        Raises:
            StorageError: They cannot be read.
        """
        window: dict[str, int | str] = {"window_start_ms": start_ms, "window_end_ms": end_ms}
        if check_name is not None:
            return await self._sum(self._totals_of_check, {**window, "of_check": check_name})
        found: dict[str, StateTimes] = {}
        last = ""
        while True:
            page = await self._sum(self._page_of_totals, {**window, "after": last})
            found |= page
            if len(page) < _SUMMED_AT_ONCE:
                return found
            last = next(reversed(page))

    async def durations(self, start_ms: int, end_ms: int, check_name: str) -> DurationCounts:
        """Return how long the runs of a check took, of every period that reaches into a window.

        Args:
            start_ms: Its first moment, in Unix milliseconds.
            end_ms: The first moment behind it.
            check_name: The check.

        Raises:
            StorageError: They cannot be read.
        """
        table = CHECK_PERIOD.c
        statement = select(func.aggregate_strings(table.durations, " ")).where(
            table.check_name == check_name, table.end_ms > start_ms, table.start_ms < end_ms
        )
        async with self._database.transaction() as connection:
            text = (await connection.execute(statement)).scalar_one()
        # Months of them are ten thousand numbers: not on the event loop.
        return await asyncio.to_thread(DurationCounts.from_text, text or "")

    async def periods(self, check_name: str) -> tuple[CheckPeriod, ...]:
        """Return all periods of a check, oldest first.

        Raises:
            StorageError: They cannot be read.
        """
        statement = (
            select(CHECK_PERIOD)
            .where(CHECK_PERIOD.c.check_name == check_name)
            .order_by(CHECK_PERIOD.c.start_ms)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statement)).all()
        return tuple(
            CheckPeriod(
                row.check_name,
                row.start_ms,
                row.end_ms,
                _times(row[3:]),
                DurationCounts.from_text(row.durations),
            )
            for row in rows
        )

    async def merge(self, span_ms: int, *, since_ms: int, before_ms: int) -> int:
        """Merge the periods of each check within each span into one, and return how many went.

        Every few hundred are a transaction, so that others get their turn.

        Args:
            span_ms: An hour or a day, in milliseconds.
            since_ms: Only periods that begin then or later.
            before_ms: Only periods that ended by then; made a whole number of spans.

        Raises:
            StorageError: Not all of them were merged.
        """
        merged: int = 0
        statement = _mergeable(span_ms, since_ms, before_ms // span_ms * span_ms)
        while True:
            async with self._database.transaction() as connection:
                rows = (await connection.execute(statement.limit(_GROUPS))).all()
                for row in rows:
                    await _merge(connection, row)
            merged += sum(int(row.number) - 1 for row in rows)
            if len(rows) < _GROUPS:
                return merged

    async def prune(self, before_ms: int) -> int:
        """Delete the periods that ended by a time and return how many those were.

        Raises:
            StorageError: Not all of them were deleted.
        """
        table = CHECK_PERIOD.c
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                oldest = (
                    await connection.execute(
                        select(table.check_name, table.start_ms)
                        .where(table.start_ms < before_ms, table.end_ms <= before_ms)
                        .order_by(table.start_ms)
                        .limit(_OLD)
                    )
                ).all()
                if oldest:
                    # By the newest of them: a key of two columns is no list for every database.
                    await connection.execute(
                        delete(CHECK_PERIOD).where(
                            table.start_ms <= oldest[-1].start_ms, table.end_ms <= before_ms
                        )
                    )
            deleted += len(oldest)
            if len(oldest) < _OLD:
                return deleted

    async def _sum(
        self, statement: Select[Any], parameters: Mapping[str, int | str]
    ) -> dict[str, StateTimes]:
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statement, parameters)).all()
        return {row[0]: _times(row[1:]) for row in rows}


async def save_periods_in(connection: AsyncConnection, periods: Sequence[CheckPeriod]) -> None:
    """Store periods, each in place of the one of its check that begins with it."""
    await upsert(connection, CHECK_PERIOD, map(_row, periods))


_SUMMED: Final = ("up_ms", "degraded_ms", "down_ms", "maintenance_ms", "held_ms")
_COUNTED: Final = ("runs", "failures", "duration_sum_s")


def _totals() -> Select[Any]:
    """Return the sums of a window, whose bounds are parameters: building it takes milliseconds."""
    table = CHECK_PERIOD.c
    start = bindparam("window_start_ms", type_=BigInteger)
    end = bindparam("window_end_ms", type_=BigInteger)
    first = case((table.start_ms < start, start), else_=table.start_ms)
    last = case((table.end_ms > end, end), else_=table.end_ms)
    is_inside = (table.start_ms >= start) & (table.end_ms <= end)
    return (
        select(
            table.check_name,
            *(
                # Whole numbers: a share of a period of one state is exactly the time inside.
                func.sum(
                    case(
                        (is_inside, table[name]),
                        else_=table[name] * (last - first) // (table.end_ms - table.start_ms),
                    )
                ).label(name)
                for name in _SUMMED
            ),
            *_of_runs(),
        )
        .where(table.end_ms > start, table.start_ms < end)
        .group_by(table.check_name)
    )


def _mergeable(span_ms: int, since_ms: int, before_ms: int) -> Select[Any]:
    table = CHECK_PERIOD.c
    span = (table.start_ms // span_ms).label("span")
    return (
        select(
            table.check_name,
            span,
            func.min(table.start_ms).label("start_ms"),
            func.max(table.end_ms).label("end_ms"),
            *(func.sum(table[name]).label(name) for name in _SUMMED),
            *_of_runs(),
            func.count().label("number"),
            func.aggregate_strings(table.durations, " ").label("durations"),
        )
        .where(table.start_ms >= since_ms, table.end_ms <= before_ms)
        .group_by(table.check_name, span)
        .having(func.count() > 1)
    )


def _of_runs() -> tuple[ColumnElement[Any], ...]:
    """Return the columns about runs; the shortest is of periods that have runs."""
    table = CHECK_PERIOD.c
    shortest = func.min(case((table.runs > 0, table.duration_min_s)))
    return (
        *(func.sum(table[name]).label(name) for name in _COUNTED),
        func.coalesce(shortest, 0.0).label("duration_min_s"),
        func.max(table.duration_max_s).label("duration_max_s"),
    )


async def _merge(connection: AsyncConnection, row: Row[Any]) -> None:
    table = CHECK_PERIOD.c
    await connection.execute(
        delete(CHECK_PERIOD).where(
            table.check_name == row.check_name,
            table.start_ms >= row.start_ms,
            table.end_ms <= row.end_ms,
        )
    )
    merged = CheckPeriod(
        row.check_name,
        row.start_ms,
        row.end_ms,
        _times(row[4:]),
        DurationCounts.from_text(row.durations),
    )
    await connection.execute(insert(CHECK_PERIOD), [_row(merged)])


def _row(period: CheckPeriod) -> dict[str, Any]:
    return {
        "check_name": period.check_name,
        "start_ms": period.start_ms,
        "end_ms": period.end_ms,
        **as_row(period.times),
        "durations": period.durations.to_text(),
    }


def _times(columns: Sequence[Any]) -> StateTimes:
    """Return what ten columns say, in the order of the table; more are left alone.

    By position: a name is looked up ten times as long, for each of a thousand checks.
    """
    # PostgreSQL answers sums of whole numbers as decimals.
    return StateTimes(*map(int, columns[:7]), *map(float, columns[7:10]))
