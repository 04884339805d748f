"""The outbox: notifications are committed here before they are sent, and leave when accepted.

A notification and the log entry that says it was made are one transaction, so that a process that
dies in between has either told nobody and knows it, or will tell and knows that too. That it was
accepted or given up goes into the history with it; what the history says holds no URL and no
words of a receiver.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

from sqlalchemy import delete, insert, select, update

from alerts.clock import Clock, SystemClock
from alerts.notify.errors import FailureReason
from alerts.notify.log import LogEntry, after_refusal
from alerts.notify.notification import Notification, alert_from_dict, alert_to_dict
from alerts.series.labels import Labels
from alerts.storage.columns import digest
from alerts.storage.database import Database
from alerts.storage.history import EventKind, HistoryEvent, record_in
from alerts.storage.statements import in_batches, upsert
from alerts.storage.tables import NOTIFICATION_LOG, OUTBOX

T = TypeVar("T")
R = TypeVar("R")
WAITING: Final = "waiting"
FAILED: Final = "failed"
KEPT_FAILURES: Final = 1000
"""How many notifications that were given up are kept for people to look at."""

_BATCH_ALERTS: Final = 500
"""Alerts written as text at a time: between batches the event loop gets its turn."""

_BATCH_CHARACTERS: Final = 100_000
"""Characters read at a time, for the same reason; some 200 alerts."""

_BATCH_REMOVED: Final = 100
"""Notifications fetched at a time to be removed."""


class Outbox:
    """Notifications and the notification log in the database; every method is one transaction."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        """Take the database, and the clock that says when something was accepted or given up."""
        self._database = database
        self._clock = SystemClock() if clock is None else clock

    async def commit(
        self, notifications: Sequence[Notification], entries: Sequence[LogEntry]
    ) -> None:
        """Take notifications in, with what the notification log will say about them.

        Entries of the log that have expired by then are deleted on the way.

        Raises:
            StorageError: Nothing of it was stored.
        """
        log = NOTIFICATION_LOG.c
        now_ms = max((entry.notified_at_ms for entry in entries), default=0)
        # In the order of their keys, so that two commits at a time cannot wait for each other.
        ordered = sorted(entries, key=lambda entry: digest(entry.group_key, entry.channel))
        async with self._database.transaction() as connection:
            async for rows in _made(_row, notifications, _size, _BATCH_ALERTS):
                await connection.execute(insert(OUTBOX), rows)
            await connection.execute(delete(NOTIFICATION_LOG).where(log.expires_at_ms <= now_ms))
            async for rows in _made(_log_row, ordered, _log_size, _BATCH_ALERTS):
                await upsert(connection, NOTIFICATION_LOG, rows)

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

    async def remove_all(self, ids: Collection[str]) -> None:
        """Forget notifications their receivers have accepted; an id that is not there is none.

        Raises:
            StorageError: All are still there.
        """
        if not ids:
            return
        now_ms = self._now_ms()
        async with self._database.transaction() as connection:
            for batch in in_batches(list(ids), _BATCH_REMOVED):
                rows = await connection.execute(
                    select(OUTBOX.c.notification)
                    .where(OUTBOX.c.id.in_(batch))
                    .order_by(OUTBOX.c.sequence)
                )
                accepted = [text for (text,) in rows]
                await connection.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(batch)))
                made = _made(Notification.from_json, accepted, len, _BATCH_CHARACTERS)
                async for told in made:
                    events = (_events(EventKind.NOTIFIED, item, now_ms) for item in told)
                    await record_in(connection, chain.from_iterable(events))

    async def fail(
        self, notification: Notification, reason: FailureReason, error: str, attempts: int
    ) -> None:
        """Keep a notification as given up, and take back what the log says of it.

        Raises:
            StorageError: It still waits.
        """
        log = NOTIFICATION_LOG.c
        detail = {"reason": reason.value, "attempts": str(attempts)}
        events = _events(EventKind.FAILED, notification, self._now_ms(), detail)
        async with self._database.transaction() as connection:
            given_up = await connection.execute(
                update(OUTBOX)
                .where(OUTBOX.c.id == notification.id, OUTBOX.c.state == WAITING)
                .values(state=FAILED, reason=reason.value, last_error=error, attempts=attempts)
            )
            if not given_up.rowcount:
                return
            await record_in(connection, events)
            told = await connection.execute(
                select(NOTIFICATION_LOG).where(log.notification_id == notification.id)
            )
            entries = [_entry(row._mapping) for row in told]  # noqa: SLF001 - see log_entries
            await connection.execute(
                delete(NOTIFICATION_LOG).where(log.notification_id == notification.id)
            )
            left = filter(None, (after_refusal(entry, notification) for entry in entries))
            if rows := [_log_row(entry) for entry in left]:
                await upsert(connection, NOTIFICATION_LOG, rows)
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

    def _now_ms(self) -> int:
        return round(self._clock.time() * 1000)


async def _made(
    make: Callable[[T], R], items: Sequence[T], size: Callable[[T], int], most: int
) -> AsyncIterator[list[R]]:
    """Yield what is made of the items, in order, some of up to a size at a time.

    An item that is larger by itself is made in a thread, so that the event loop goes on.
    """
    start = 0
    while start < len(items):
        end, held = start + 1, size(items[start])
        if held > most:
            yield [await asyncio.to_thread(make, items[start])]
        else:
            while end < len(items) and held + size(items[end]) <= most:
                held += size(items[end])
                end += 1
            yield [make(item) for item in items[start:end]]
        start = end


def _size(notification: Notification) -> int:
    return len(notification.alerts) + 1


def _log_size(entry: LogEntry) -> int:
    return len(entry.firing) + 1


def _events(
    kind: EventKind,
    notification: Notification,
    at_ms: int,
    detail: Mapping[str, str] | None = None,
) -> Iterator[HistoryEvent]:
    """Yield what became of a notification, an event for each of its alerts."""
    told = {
        "receiver": notification.receiver,
        "channel": notification.channel,
        "notification": notification.id,
    }
    for alert in notification.alerts:
        status = "firing" if alert.ends_at_ms is None else "resolved"
        yield HistoryEvent(
            at_ms,
            kind,
            alert.fingerprint,
            alert.labels,
            detail={**told, "status": status, **(detail or {})},
        )


def _row(notification: Notification) -> dict[str, object]:
    return {
        "id": notification.id,
        "channel": notification.channel,
        "group_key": notification.group_key,
        "notification": notification.to_json(),
        "created_at_ms": notification.created_at_ms,
        "state": WAITING,
        "attempts": 0,
        "reason": "",
        "last_error": "",
    }


def _log_row(entry: LogEntry) -> dict[str, object]:
    return {
        "id": digest(entry.group_key, entry.channel),
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
