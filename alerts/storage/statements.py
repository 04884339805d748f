"""Statements over many rows, written once for every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
BATCH: Final = 100
"""Rows of one statement: between statements the event loop gets its turn, which 100 keep waiting
for about 3 ms."""

_Insert = sqlite.Insert | postgresql.Insert
_INSERT: Final[Mapping[str, Callable[[Table], _Insert]]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def in_batches(rows: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield the rows in order, up to ``size`` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def as_row(value: object) -> dict[str, Any]:
    """Return the fields of a slotted dataclass by their names, each as it is.

    ``dataclasses.asdict`` copies them deeply, which for thousands of rows holds up the event loop.
    """
    names: tuple[str, ...] = type(value).__slots__  # type: ignore[attr-defined]  # it has them
    return {name: getattr(value, name) for name in names}


async def upsert(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows, or replace those that are there by the same primary key.

    Args:
        connection: Inside a transaction.
        table: Where to; every row names all its columns.
        rows: Few enough for one statement, see ``in_batches``.
    """
    if not rows:
        return
    key = [column.name for column in table.primary_key]
    statement = _INSERT[connection.dialect.name](table)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=key,
            set_={
                column.name: statement.excluded[column.name]
                for column in table.columns
                if column.name not in key
            },
        ),
        rows,
    )
