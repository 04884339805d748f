"""What health checks found, in the database: their state, results and changes, beside the periods.

Everything of one moment is written in one transaction. Checks are told apart by their names: one
that is renamed begins anew, and what is known of the old name is forgotten when it is old enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, delete, insert, select

from alerts.storage.check_periods import CheckPeriod, CheckPeriods, save_periods_in
from alerts.storage.database import Database
from alerts.storage.statements import as_row, in_batches, upsert
from alerts.storage.tables import CHECK_CHANGE, CHECK_RESULT, CHECK_STATE

_OLD: Final = 2_000
"""Rows that are deleted in one transaction."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """Where the results of a check led; times in Unix milliseconds.

    Attributes:
        check_name: The check.
        state: The state, as a word.
        since_ms: Since when.
        failures: Failures in a row.
        successes: Successes in a row.
        last_at_ms: The last result.
    """

    check_name: str
    state: str
    since_ms: int
    failures: int
    successes: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class SavedResult:
    """What a run found.

    Attributes:
        check_name: The check.
        at_ms: When it ended, in Unix milliseconds.
        success: Whether the thing worked.
        state: The state that was reported after it.
        duration_s: How long it took, in seconds.
        error_type: Why it did not work, as one of few words.
        reason: Why it did not, or a remark.
    """

    check_name: str
    at_ms: int
    success: bool
    state: str
    duration_s: float
    error_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class SavedChange:
    """A change of the reported state.

    Attributes:
        check_name: The check.
        at_ms: When, in Unix milliseconds.
        before: The state before.
        after: The state since.
        reason: Why; may be empty.
    """

    check_name: str
    at_ms: int
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckNews:
    """What is to be stored at once."""

    states: Sequence[SavedState] = ()
    results: Sequence[SavedResult] = ()
    changes: Sequence[SavedChange] = ()
    periods: Sequence[CheckPeriod] = ()

    def __bool__(self) -> bool:
        return bool(self.states or self.results or self.changes or self.periods)


class CheckHistory:
    """The history of health checks in the database.

    Attributes:
        periods: How long they were in which state.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.periods = CheckPeriods(database)

    async def save(self, news: CheckNews) -> None:
        """Store news, in one transaction.

        Raises:
            StorageError: Nothing was stored.
        """
        if not news:
            return
        async with self._database.transaction() as connection:
            for states in in_batches(news.states):
                await upsert(connection, CHECK_STATE, [as_row(state) for state in states])
            for results in in_batches(news.results):
                rows = [{**as_row(result), "success": int(result.success)} for result in results]
                await upsert(connection, CHECK_RESULT, rows)
            for changes in in_batches(news.changes):
                await connection.execute(
                    insert(CHECK_CHANGE), [as_row(change) for change in changes]
                )
            await save_periods_in(connection, news.periods)

    async def states(self) -> dict[str, SavedState]:
        """Return where results led, by check.

        Raises:
            StorageError: They cannot be read.
        """
        async with self._database.transaction() as connection:
            rows = (await connection.execute(select(CHECK_STATE))).all()
        return {row.check_name: SavedState(*row) for row in rows}

    async def results(self, check_name: str, limit: int) -> tuple[SavedResult, ...]:
        """Return the newest results of a check, newest first.

        Raises:
            StorageError: They cannot be read.
        """
        rows = await self._newest(CHECK_RESULT, check_name, limit)
        return tuple(
            SavedResult(
                row.check_name,
                row.at_ms,
                bool(row.success),
                row.state,
                row.duration_s,
                row.error_type,
                row.reason,
            )
            for row in rows
        )

    async def changes(self, check_name: str, limit: int) -> tuple[SavedChange, ...]:
        """Return the newest changes of a check's state, newest first.

        Raises:
            StorageError: They cannot be read.
        """
        rows = await self._newest(CHECK_CHANGE, check_name, limit)
        return tuple(
            SavedChange(row.check_name, row.at_ms, row.before, row.after, row.reason)
            for row in rows
        )

    async def prune(self, *, results_before_ms: int, before_ms: int) -> int:
        """Delete what is old and return how many rows that was.

        Args:
            results_before_ms: Results older than this go, in Unix milliseconds.
            before_ms: Everything else older than this goes, also of checks that are no more.

        Raises:
            StorageError: Not all of it was deleted.
        """
        deleted = await self._prune(CHECK_RESULT, results_before_ms)
        deleted += await self._prune(CHECK_CHANGE, before_ms)
        async with self._database.transaction() as connection:
            gone = await connection.execute(
                delete(CHECK_STATE).where(CHECK_STATE.c.last_at_ms < before_ms)
            )
        return deleted + gone.rowcount + await self.periods.prune(before_ms)

    async def _newest(self, table: Table, check_name: str, limit: int) -> Sequence[Any]:
        order = [table.c.at_ms.desc()]
        if "sequence" in table.c:
            order.append(table.c.sequence.desc())
        statement = (
            select(table).where(table.c.check_name == check_name).order_by(*order).limit(limit)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).all()

    async def _prune(self, table: Table, before_ms: int) -> int:
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                times = (
                    await connection.execute(
                        select(table.c.at_ms)
                        .where(table.c.at_ms < before_ms)
                        .order_by(table.c.at_ms)
                        .limit(_OLD)
                    )
                ).all()
                if times:
                    newest = times[-1].at_ms
                    result = await connection.execute(delete(table).where(table.c.at_ms <= newest))
                    deleted += result.rowcount
            if len(times) < _OLD:
                return deleted
