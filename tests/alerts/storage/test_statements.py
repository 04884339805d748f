"""Statements over many rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import event, select

from alerts.storage.database import Database
from alerts.storage.statements import as_row, in_batches, upsert
from alerts.storage.tables import RULE_GROUP


@pytest.mark.parametrize(
    ("count", "batches"), [(0, []), (1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2])]
)
def test_batches(count: int, batches: list[int]) -> None:
    """Rows are cut into batches, in order, none empty."""
    found = list(in_batches(list(range(count)), 2))

    assert [len(batch) for batch in found] == batches
    assert [row for batch in found for row in batch] == list(range(count))


async def test_upsert(database: Database) -> None:
    """A row takes the place of the one of its key; of two in one call the later stays."""
    async with database.transaction() as connection:
        await upsert(connection, RULE_GROUP, [])
        await upsert(connection, RULE_GROUP, [{"group_key": "a", "evaluated_at_ms": 1}])
        await upsert(
            connection,
            RULE_GROUP,
            [
                {"group_key": key, "evaluated_at_ms": at}
                for key, at in (("a", 2), ("b", 3), ("b", 4))
            ],
        )
        rows = await connection.execute(select(RULE_GROUP).order_by(RULE_GROUP.c.group_key))

        assert [tuple(row) for row in rows] == [("a", 2), ("b", 4)]


async def test_upsert_of_many_rows(database: Database) -> None:
    """They go in statements of some rows each, made when it is their turn."""
    made: list[int] = []
    written: list[int] = []

    def rows() -> Iterator[dict[str, object]]:
        for number in range(250):
            made.append(number)
            yield {"group_key": f"{number}", "evaluated_at_ms": number}

    def note(*_arguments: object) -> None:
        written.append(len(made))

    async with database.transaction() as connection:
        event.listen(connection.sync_connection, "before_cursor_execute", note)
        await upsert(connection, RULE_GROUP, rows())
        event.remove(connection.sync_connection, "before_cursor_execute", note)
        found = (await connection.execute(select(RULE_GROUP))).all()

    assert written == [100, 200, 250]
    assert len(found) == 250


def test_a_row_has_the_fields_of_a_value_as_they_are():
    """By their names, without copies of what is in them."""

    @dataclass(frozen=True, slots=True)
    class Value:
        name: str
        parts: list[int]

    value = Value("a", [1])

    row = as_row(value)

    assert row == {"name": "a", "parts": [1]}
    assert row["parts"] is value.parts
