"""The outbox: notifications are committed here before they are sent, and leave when accepted.

A notification and the log entry that says it was made are one transaction, so that a process that
dies in between has either told nobody and knows it, or will tell and knows that too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from alerts.notify.errors import FailureReason
from alerts.notify.log import LogEntry
from alerts.notify.notification import Notification, alert_from_dict, alert_to_dict
from alerts.series.labels import Labels
from alerts.storage.database import Database
from alerts.storage.tables import NOTIFICATION_LOG, OUTBOX

WAITING: Final = "waiting"
FAILED: Final = "failed"
KEPT_FAILURES: Final = 1000
"""How many notifications that were given up are kept for people to look at."""


class Outbox:
    """Notifications and the notification log in the database; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def commit(
        self, notifications: Sequence[Notification], entries: Sequence[LogEntry]
    ) -> None:
        """Take notifications in, with what the notification log will say about them.

        Entries of the log that have expired by then are deleted on the way.

        Raises:
            StorageError: Nothing of it was stored.
        """
        async with self._database.transaction() as connection:
            if notifications:
                await connection.execute(insert(OUTBOX), [_row(item) for item in notifications])
            now_ms = max((entry.notified_at_ms for entry in entries), default=0)
            await connection.execute(
                delete(NOTIFICATION_LOG).where(NOTIFICATION_LOG.c.expires_at_ms <= now_ms)
            )
            for entry in entries:
                values = _log_row(entry)
                statement = upsert(NOTIFICATION_LOG).values(values)
                await connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["group_key", "channel"], set_=values
                    )
                )

    async def waiting(self) -> tuple[Notification, ...]:
        """Return what is not delivered yet, oldest first."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(OUTBOX.c.notification)
                .where(OUTBOX.c.state == WAITING)
                .order_by(OUTBOX.c.sequence)
            )
            return tuple(Notification.from_json(text) for (text,) in rows)

    async def failed(self) -> tuple[tuple[Notification, str, str], ...]:
        """Return what was given up, newest first, each with its reason and last error."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(OUTBOX.c.notification, OUTBOX.c.reason, OUTBOX.c.last_error)
                .where(OUTBOX.c.state == FAILED)
                .order_by(OUTBOX.c.sequence.desc())
            )
            return tuple((Notification.from_json(text), why, error) for text, why, error in rows)

    async def remove(self, notification: Notification) -> None:
        """Forget a notification its receiver has accepted."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(OUTBOX).where(OUTBOX.c.id == notification.id))

    async def fail(
        self, notification: Notification, reason: FailureReason, error: str, attempts: int
    ) -> None:
        """Keep a notification as given up, and let the log forget that its channel was told."""
        log = NOTIFICATION_LOG.c
        async with self._database.transaction() as connection:
            await connection.execute(
                update(OUTBOX)
                .where(OUTBOX.c.id == notification.id)
                .values(state=FAILED, reason=reason.value, last_error=error, attempts=attempts)
            )
            await connection.execute(
                delete(NOTIFICATION_LOG).where(log.notification_id == notification.id)
            )
            oldest_kept = (
                select(OUTBOX.c.sequence)
                .where(OUTBOX.c.state == FAILED)
                .order_by(OUTBOX.c.sequence.desc())
                .offset(KEPT_FAILURES - 1)
                .limit(1)
                .scalar_subquery()
            )
            await connection.execute(
                delete(OUTBOX).where(OUTBOX.c.state == FAILED, OUTBOX.c.sequence < oldest_kept)
            )

    async def log_entries(self, now_ms: int) -> tuple[LogEntry, ...]:
        """Return the notification log, after deleting from it what has expired."""
        async with self._database.transaction() as connection:
            await connection.execute(
                delete(NOTIFICATION_LOG).where(NOTIFICATION_LOG.c.expires_at_ms <= now_ms)
            )
            rows = await connection.execute(select(NOTIFICATION_LOG))
            return tuple(_entry(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's documented name for a row as a mapping


def _row(notification: Notification) -> dict[str, object]:
    return {
        "id": notification.id,
        "channel": notification.channel,
        "group_key": notification.group_key,
        "notification": notification.to_json(),
        "created_at_ms": notification.created_at_ms,
        "state": WAITING,
    }


def _log_row(entry: LogEntry) -> dict[str, object]:
    return {
        "group_key": entry.group_key,
        "channel": entry.channel,
        "notification_id": entry.notification_id,
        "notified_at_ms": entry.notified_at_ms,
        "expires_at_ms": entry.expires_at_ms,
        "group_labels": json.dumps(dict(entry.group_labels)),
        "firing": json.dumps([alert_to_dict(alert) for alert in entry.firing]),
        "resolved": json.dumps(sorted(entry.resolved)),
    }


def _entry(row: Any) -> LogEntry:
    return LogEntry(
        group_key=row["group_key"],
        channel=row["channel"],
        notification_id=row["notification_id"],
        notified_at_ms=row["notified_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        group_labels=Labels(json.loads(row["group_labels"])),
        firing=tuple(alert_from_dict(alert) for alert in json.loads(row["firing"])),
        resolved=frozenset(json.loads(row["resolved"])),
    )
