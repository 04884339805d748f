"""The history: what happened to alerts, notifications and silences, newest first.

Whoever records an event sees to it that no secret is in it: neither a URL of a receiver nor the
text of its answer, as the history is shown to people.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final, Self

from sqlalchemy import Select, and_, delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from alerts.routing.model import matches_all
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher
from alerts.storage.columns import labels_from_text, labels_to_text
from alerts.storage.database import Database
from alerts.storage.statements import BATCH
from alerts.storage.tables import HISTORY

LOOKED_AT: Final = 20_000
"""Events one query looks at to find what its matchers fit."""

_OLD: Final = 2_000
"""Events deleted in one transaction."""


class EventKind(StrEnum):
    """What happened."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    NOTIFIED = "notified"
    FAILED = "failed"
    SILENCE_CREATED = "silence_created"
    SILENCE_CHANGED = "silence_changed"
    SILENCE_EXPIRED = "silence_expired"
    ACKNOWLEDGED = "acknowledged"
    ACKNOWLEDGEMENT_WITHDRAWN = "acknowledgement_withdrawn"


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One thing that happened.

    Attributes:
        at_ms: When, in milliseconds of Unix time.
        kind: What.
        fingerprint: Of the alert, 16 hex digits; empty when it is about none.
        labels: Of the alert.
        annotations: Of the alert, when the event is one of its own.
        detail: More, by name; what there is depends on the kind.
    """

    at_ms: int
    kind: EventKind
    fingerprint: str
    labels: Labels
    annotations: Labels = field(default_factory=Labels)
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryCursor:
    """A place in the history: behind this event. Its text is for answers and parameters."""

    at_ms: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place a text names.

        Raises:
            ValueError: It names none.
        """
        at_ms, _, sequence = text.rpartition("-")
        if not (_is_number(at_ms.removeprefix("-")) and _is_number(sequence)):
            raise ValueError(f"{text!r} is no place in the history; give one that an answer named")
        return cls(int(at_ms), int(sequence))


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Part of an answer.

    Attributes:
        events: Newest first.
        following: Where the rest begins; None: this is the end. A page with fewer events than
            asked for, or none, has a rest when the matchers fit few of the events looked at.
    """

    events: tuple[HistoryEvent, ...]
    following: HistoryCursor | None = None


class History:
    """The history in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, events: Sequence[HistoryEvent]) -> None:
        """Add events, in one transaction.

        Raises:
            StorageError: None was added.
        """
        if events:
            async with self._database.transaction() as connection:
                await record_in(connection, events)

    async def query(
        self,
        *,
        since_ms: int,
        until_ms: int,
        limit: int,
        fingerprint: str | None = None,
        kinds: Collection[EventKind] = (),
        matchers: Sequence[Matcher] = (),
        before: HistoryCursor | None = None,
    ) -> HistoryPage:
        """Return events, newest first.

        Every few hundred events looked at are a transaction, so that others get their turn.

        Args:
            since_ms: From when, inclusive.
            until_ms: Until when, exclusive.
            limit: Most events to return; at least 1.
            fingerprint: Only those of one alert.
            kinds: Only those of these kinds; none: of any.
            matchers: Only those of alerts that satisfy all of them.
            before: Only what is older than this place.

        Raises:
            StorageError: The history cannot be read.
        """
        statement = _matching(since_ms, until_ms, fingerprint, kinds)
        found: list[HistoryEvent] = []
        looked_at = 0
        while looked_at < LOOKED_AT:
            wanted = limit - len(found)
            # One more than wanted tells whether there is a rest.
            size = BATCH if matchers else min(wanted + 1, BATCH)
            async with self._database.transaction() as connection:
                rows = (await connection.execute(_page(statement, before, size))).all()
            looked_at += len(rows)
            for row in rows:
                if len(found) == limit:
                    return HistoryPage(tuple(found), before)
                before = HistoryCursor(row.at_ms, row.sequence)
                labels = labels_from_text(row.labels)
                if matches_all(matchers, labels):
                    found.append(_event(row, labels))
            if len(rows) < size:
                return HistoryPage(tuple(found))
        return HistoryPage(tuple(found), before)

    async def prune(self, before_ms: int) -> int:
        """Delete what is older than a time and return how much that was.

        Every few thousand events are a transaction, so that others get their turn.

        Raises:
            StorageError: Not all of it was deleted.
        """
        table = HISTORY.c
        oldest = (
            select(table.sequence)
            .where(table.at_ms < before_ms)
            .order_by(table.at_ms, table.sequence)
            .limit(_OLD)
        )
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                result = await connection.execute(
                    delete(HISTORY).where(table.sequence.in_(oldest.scalar_subquery()))
                )
            deleted += result.rowcount
            if result.rowcount < _OLD:
                return deleted


async def record_in(connection: AsyncConnection, events: Iterable[HistoryEvent]) -> None:
    """Add events in a transaction that is under way, so that they are stored if it is.

    Events that are made as they are asked for are made a batch at a time.
    """
    left = iter(events)
    while rows := [_row(event) for event in islice(left, BATCH)]:
        await connection.execute(insert(HISTORY), rows)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _matching(
    since_ms: int, until_ms: int, fingerprint: str | None, kinds: Collection[EventKind]
) -> Select[Any]:
    table = HISTORY.c
    statement = select(HISTORY).where(table.at_ms >= since_ms, table.at_ms < until_ms)
    if fingerprint is not None:
        statement = statement.where(table.fingerprint == fingerprint)
    if kinds:
        statement = statement.where(table.kind.in_([kind.value for kind in kinds]))
    return statement.order_by(table.at_ms.desc(), table.sequence.desc())


def _page(statement: Select[Any], before: HistoryCursor | None, size: int) -> Select[Any]:
    table = HISTORY.c
    if before is not None:
        is_older = or_(
            table.at_ms < before.at_ms,
            and_(table.at_ms == before.at_ms, table.sequence < before.sequence),
        )
        # Implied by the other, and what an index can begin at.
        statement = statement.where(table.at_ms <= before.at_ms, is_older)
    return statement.limit(size)


def _row(event: HistoryEvent) -> dict[str, Any]:
    return {
        "at_ms": event.at_ms,
        "kind": event.kind.value,
        "fingerprint": event.fingerprint,
        "labels": labels_to_text(event.labels),
        "annotations": labels_to_text(event.annotations),
        "detail": json.dumps(dict(event.detail), separators=(",", ":"), sort_keys=True),
    }


def _event(row: Any, labels: Labels) -> HistoryEvent:
    return HistoryEvent(
        at_ms=row.at_ms,
        kind=EventKind(row.kind),
        fingerprint=row.fingerprint,
        labels=labels,
        annotations=labels_from_text(row.annotations),
        detail=json.loads(row.detail),
    )
