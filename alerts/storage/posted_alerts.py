"""Alerts that came over the API, in the database. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import delete, or_, select

from alerts.model import Alert
from alerts.storage.columns import labels_from_text, labels_to_text
from alerts.storage.database import Database
from alerts.storage.history import HistoryEvent, record_in
from alerts.storage.statements import BATCH, in_batches, upsert
from alerts.storage.tables import POSTED_ALERT

ENDED_RETENTION_MS: Final = 15 * 60 * 1000
"""How long an alert that ended stays in the database, in milliseconds."""


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

    async def load(self, now_ms: int) -> tuple[tuple[Alert, int], ...]:
        """Return the alerts that have not ended, by fingerprint; deletes those that long have.

        Raises:
            StorageError: They cannot be read.
        """
        table = POSTED_ALERT.c
        async with self._database.transaction() as connection:
            await connection.execute(
                delete(POSTED_ALERT).where(table.ends_at_ms < now_ms - ENDED_RETENTION_MS)
            )
            statement = (
                select(POSTED_ALERT)
                .where(or_(table.ends_at_ms.is_(None), table.ends_at_ms > now_ms))
                .order_by(table.fingerprint)
                .limit(BATCH)
            )
            found: list[tuple[Alert, int]] = []
            last = ""
            while True:
                rows = (await connection.execute(statement.where(table.fingerprint > last))).all()
                found += ((_alert(row), row.updated_at_ms) for row in rows)
                if len(rows) < BATCH:
                    return tuple(found)
                last = rows[-1].fingerprint

    async def forget(
        self, fingerprints: Collection[str], *, events: Sequence[HistoryEvent] = ()
    ) -> None:
        """Delete alerts; a fingerprint that is not there is none of them.

        Args:
            fingerprints: Of the alerts.
            events: What this is in the history; committed with it.

        Raises:
            StorageError: None was deleted.
        """
        column = POSTED_ALERT.c.fingerprint
        if fingerprints or events:
            async with self._database.transaction() as connection:
                for batch in in_batches(list(fingerprints)):
                    await connection.execute(delete(POSTED_ALERT).where(column.in_(batch)))
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
