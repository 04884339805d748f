"""Silences in the database. Every method is one transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, select

from alerts.routing.silence import Silence
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage.columns import labels_from_text, labels_to_text
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.storage.history import HistoryEvent, record_in
from alerts.storage.statements import in_batches, upsert
from alerts.storage.tables import SILENCE


class SilenceStore:
    """All silences, expired ones included until they are forgotten."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, silence: Silence, *, events: Sequence[HistoryEvent] = ()) -> None:
        """Store a silence, in place of the one of the same id.

        Args:
            silence: The silence.
            events: What this is in the history; committed with it.

        Raises:
            StorageError: It was not stored.
        """
        async with self._database.transaction() as connection:
            await upsert(connection, SILENCE, [_row(silence)])
            await record_in(connection, events)

    async def load(self) -> tuple[Silence, ...]:
        """Return all silences, by when they begin.

        Raises:
            StorageError: They cannot be read, or one of them cannot be understood.
        """
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(SILENCE).order_by(SILENCE.c.starts_at_ms, SILENCE.c.id)
            )
            return tuple(_silence(row) for row in rows)

    async def forget(self, ids: Collection[str]) -> None:
        """Delete silences; an id that is not there is none of them.

        Raises:
            StorageError: None was deleted.
        """
        if ids:
            async with self._database.transaction() as connection:
                for batch in in_batches(list(ids)):
                    await connection.execute(delete(SILENCE).where(SILENCE.c.id.in_(batch)))


def _row(silence: Silence) -> dict[str, Any]:
    return {
        "id": silence.id,
        "matchers": json.dumps(
            [
                {"name": matcher.name, "op": matcher.op.value, "value": matcher.value}
                for matcher in silence.matchers
            ]
        ),
        "starts_at_ms": silence.starts_at_ms,
        "ends_at_ms": silence.ends_at_ms,
        "updated_at_ms": silence.updated_at_ms,
        "created_by": silence.created_by,
        "comment": silence.comment,
        "annotations": labels_to_text(silence.annotations),
    }


def _silence(row: Any) -> Silence:
    try:
        matchers = tuple(
            Matcher(MatchOp(item["op"]), item["name"], item["value"])
            for item in json.loads(row.matchers)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"the matchers of silence {row.id} cannot be understood: {error}; correct them in "
            "the table silence, or delete its row there"
        ) from error
    return Silence(
        id=row.id,
        matchers=matchers,
        starts_at_ms=row.starts_at_ms,
        ends_at_ms=row.ends_at_ms,
        updated_at_ms=row.updated_at_ms,
        created_by=row.created_by,
        comment=row.comment,
        annotations=labels_from_text(row.annotations),
    )
