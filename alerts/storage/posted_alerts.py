"""Alerts that came over the API, in the database. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from alerts.model import Alert
from alerts.storage.columns import labels_from_text, labels_to_text
from alerts.storage.database import Database
from alerts.storage.history import HistoryEvent, record_in
from alerts.storage.statements import BATCH, in_batches, upsert
from alerts.storage.tables import POSTED_ALERT


class PostedAlerts:
    """Alerts others raised, each with when it was heard of last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(
        self, alerts: Sequence[tuple[Alert, int]], *, events: Sequence[HistoryEvent] = ()
    ) -> None:
        """Store alerts, each in place of the one of the same labels.

        Args:
            alerts: With when each was heard of, in Unix milliseconds. Of two with the same
                labels the later one in the sequence is stored.
            events: What this is in the history; committed with it.

        Raises:
            StorageError: None was stored.
        """
        if not (alerts or events):
            return
        async with self._database.transaction() as connection:
            for batch in in_batches(alerts):
                await upsert(
                    connection,
                    POSTED_ALERT,
                    [_row(alert, updated_at_ms) for alert, updated_at_ms in batch],
                )
            await record_in(connection, events)

    async def load(self) -> tuple[tuple[Alert, int], ...]:
        """Return all alerts by fingerprint, also those that have ended and were not forgotten.

        Raises:
            StorageError: They cannot be read.
        """
        table = POSTED_ALERT.c
        async with self._database.transaction() as connection:
            statement = select(POSTED_ALERT).order_by(table.fingerprint).limit(BATCH)
            found: list[tuple[Alert, int]] = []
            last = ""
            while True:
                rows = (await connection.execute(statement.where(table.fingerprint > last))).all()
                found += ((_alert(row), row.updated_at_ms) for row in rows)
                if len(rows) < BATCH:
                    return tuple(found)
                last = rows[-1].fingerprint

    async def forget_ended(self, by_ms: int, *, events: Sequence[HistoryEvent] = ()) -> None:
        """Delete the alerts that had ended by a time; one that was raised anew since stays.

        Args:
            by_ms: The time, in Unix milliseconds.
            events: What this is in the history; committed with it.

        Raises:
            StorageError: None was deleted.
        """
        async with self._database.transaction() as connection:
            await connection.execute(delete(POSTED_ALERT).where(POSTED_ALERT.c.ends_at_ms <= by_ms))
            await record_in(connection, events)


def _row(alert: Alert, updated_at_ms: int) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "labels": labels_to_text(alert.labels),
        "annotations": labels_to_text(alert.annotations),
        "starts_at_ms": alert.starts_at_ms,
        "ends_at_ms": alert.ends_at_ms,
        "generator_url": alert.generator_url,
        "updated_at_ms": updated_at_ms,
    }


def _alert(row: Any) -> Alert:
    return Alert(
        labels=labels_from_text(row.labels),
        annotations=labels_from_text(row.annotations),
        starts_at_ms=row.starts_at_ms,
        ends_at_ms=row.ends_at_ms,
        generator_url=row.generator_url,
    )
