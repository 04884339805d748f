"""Who looks after which alert, in the database. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select

from alerts.routing.views import Acknowledgement
from alerts.storage.database import Database
from alerts.storage.history import HistoryEvent, record_in
from alerts.storage.statements import in_batches, upsert
from alerts.storage.tables import ACKNOWLEDGEMENT


class AcknowledgementStore:
    """The newest acknowledgement of each alert."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, acknowledgement: Acknowledgement, *, events: Sequence[HistoryEvent] = ()
    ) -> None:
        """Store an acknowledgement, in place of an earlier one of the same alert.

        Args:
            acknowledgement: The acknowledgement.
            events: What this is in the history; committed with it.

        Raises:
            StorageError: It was not stored.
        """
        row = {
            "fingerprint": acknowledgement.fingerprint,
            "starts_at_ms": acknowledgement.starts_at_ms,
            "acknowledged_by": acknowledgement.by,
            "at_ms": acknowledgement.at_ms,
            "note": acknowledgement.note,
        }
        async with self._database.transaction() as connection:
            await upsert(connection, ACKNOWLEDGEMENT, [row])
            await record_in(connection, events)

    async def load(self) -> tuple[Acknowledgement, ...]:
        """Return all acknowledgements, by fingerprint.

        Raises:
            StorageError: They cannot be read.
        """
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(ACKNOWLEDGEMENT).order_by(ACKNOWLEDGEMENT.c.fingerprint)
            )
            return tuple(
                Acknowledgement(
                    fingerprint=row.fingerprint,
                    starts_at_ms=row.starts_at_ms,
                    by=row.acknowledged_by,
                    at_ms=row.at_ms,
                    note=row.note,
                )
                for row in rows
            )

    async def forget(
        self, fingerprints: Collection[str], *, events: Sequence[HistoryEvent] = ()
    ) -> None:
        """Delete the acknowledgements of alerts; an alert without one is none of them.

        Args:
            fingerprints: Of the alerts.
            events: What this is in the history; committed with it.

        Raises:
            StorageError: None was deleted.
        """
        column = ACKNOWLEDGEMENT.c.fingerprint
        if fingerprints or events:
            async with self._database.transaction() as connection:
                for batch in in_batches(list(fingerprints)):
                    await connection.execute(delete(ACKNOWLEDGEMENT).where(column.in_(batch)))
                await record_in(connection, events)
