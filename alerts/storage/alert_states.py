"""The state of alerts in the database: written as it changes, read at the start.

Every method is one transaction. What is written when, and why nothing is lost in between, is in
``alerts.rules.state``. What a change means for the history is committed with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from alerts.rules.alerting import AlertInstance, AlertState
from alerts.rules.state import OUTAGE_TOLERANCE_MS, SavedGroup, StateChange
from alerts.series.labels import Labels
from alerts.storage.columns import labels_from_text, labels_to_text
from alerts.storage.database import Database
from alerts.storage.history import HistoryEvent, record_in
from alerts.storage.statements import in_batches
from alerts.storage.tables import ALERT_STATE, RULE_GROUP
from alerts.storage.transitions import AlertTimes, Subject, events_of_change, events_of_end

_DELETE_ALERT: Final = delete(ALERT_STATE).where(
    ALERT_STATE.c.group_key == bindparam("of_group"),
    ALERT_STATE.c.rule == bindparam("of_rule"),
    ALERT_STATE.c.fingerprint == bindparam("of_alert"),
)
_DELETE_GROUP: Final = delete(RULE_GROUP).where(RULE_GROUP.c.group_key == bindparam("of_group"))
_DELETE_ALERTS: Final = delete(ALERT_STATE).where(ALERT_STATE.c.group_key == bindparam("of_group"))

_AlertKey = tuple[str, str]
"""Rule and fingerprint: which alert of a group it is."""


class AlertStates:
    """The alerts of all groups in the database. A ``StateSink``."""

    def __init__(self, database: Database, external_labels: Labels = Labels()) -> None:  # noqa: B008 - immutable
        """Take the database, and the labels alerts get when they leave: the history shows them."""
        self._database = database
        self._external_labels = external_labels

    async def save(self, change: StateChange) -> None:
        """Store how a pass changed the alerts of a group, all of it or nothing.

        Raises:
            StorageError: Nothing was stored.
        """
        async with self._database.transaction() as connection:
            for gone in in_batches(change.gone):
                await self._delete(connection, change, gone)
            for put in in_batches(change.put):
                await self._replace(connection, change, put)
            await _watched(connection, {change.group_key: change.evaluated_at_ms})

    async def watched(self, until_ms: Mapping[str, int]) -> None:
        """Store until when groups were watched whose alerts did not change.

        Raises:
            StorageError: Nothing was stored.
        """
        if until_ms:
            async with self._database.transaction() as connection:
                await _watched(connection, until_ms)

    async def forget(self, group_keys: Collection[str], at_ms: int | None = None) -> None:
        """Delete all that is stored of groups.

        Args:
            group_keys: The groups.
            at_ms: When their alerts ended by that, for the history; None: they ended before.

        Raises:
            StorageError: Nothing was deleted.
        """
        rows = [{"of_group": key} for key in group_keys]
        if rows:
            async with self._database.transaction() as connection:
                if at_ms is not None:
                    for key in group_keys:
                        await self._end(connection, key, at_ms)
                await connection.execute(_DELETE_ALERTS, rows)
                await connection.execute(_DELETE_GROUP, rows)

    async def load(self, known: Collection[str], now_ms: int) -> dict[str, SavedGroup]:
        """Return what is stored, by the key of the group.

        Groups that are not ``known`` are kept for as long as an outage is tolerated, as their
        files may come back, and then deleted.

        Raises:
            StorageError: Nothing can be read.
        """
        async with self._database.transaction() as connection:
            groups = {
                key: SavedGroup(evaluated_at_ms)
                for key, evaluated_at_ms in await connection.execute(select(RULE_GROUP))
            }
            for row in await connection.execute(select(ALERT_STATE)):
                group = groups.get(row.group_key)
                if group is not None:
                    group.rules.setdefault(row.rule, []).append(_instance(row))
        horizon_ms = now_ms - OUTAGE_TOLERANCE_MS
        await self.forget(
            [
                key
                for key, group in groups.items()
                if key not in known and group.evaluated_at_ms < horizon_ms
            ],
            now_ms,
        )
        return {key: group for key, group in groups.items() if key in known}

    async def _replace(
        self,
        connection: AsyncConnection,
        change: StateChange,
        put: Sequence[tuple[str, AlertInstance]],
    ) -> None:
        texts = [instance.annotations for _, instance in put]
        rows = [
            _row(change.group_key, rule, instance, annotations)
            for (rule, instance), annotations in zip(put, texts, strict=True)
        ]
        keys = [(row["rule"], row["fingerprint"]) for row in rows]
        stored = await _stored(connection, change.group_key, keys)
        events: list[HistoryEvent] = []
        for key, row, said, (_, instance) in zip(keys, rows, texts, put, strict=True):
            before = _times(stored[key]) if key in stored else None
            subject = self._subject(row, instance.labels, said)
            events += events_of_change(subject, before, _times(instance), change.evaluated_at_ms)
        if stored:
            await connection.execute(_DELETE_ALERT, _keys(change.group_key, list(stored)))
        await connection.execute(insert(ALERT_STATE), rows)
        await record_in(connection, events)

    async def _delete(
        self, connection: AsyncConnection, change: StateChange, gone: Sequence[tuple[str, Labels]]
    ) -> None:
        keys = [(rule, _fingerprint(labels)) for rule, labels in gone]
        stored = await _stored(connection, change.group_key, keys)
        if stored:
            await connection.execute(_DELETE_ALERT, _keys(change.group_key, list(stored)))
            await self._record_end(connection, list(stored.values()), change.evaluated_at_ms)

    async def _end(self, connection: AsyncConnection, group_key: str, at_ms: int) -> None:
        rows = await connection.execute(
            select(ALERT_STATE).where(ALERT_STATE.c.group_key == group_key)
        )
        for batch in in_batches(rows.all()):
            await self._record_end(connection, batch, at_ms)

    async def _record_end(
        self, connection: AsyncConnection, rows: Sequence[Any], at_ms: int
    ) -> None:
        events: list[HistoryEvent] = []
        for row in rows:
            labels, annotations = labels_from_text(row.labels), labels_from_text(row.annotations)
            subject = self._subject(row._mapping, labels, annotations)  # noqa: SLF001 - SQLAlchemy's documented name for a row as a mapping
            events += events_of_end(subject, _times(row), at_ms)
        await record_in(connection, events)

    def _subject(self, row: Mapping[str, Any], labels: Labels, annotations: Labels) -> Subject:
        external = self._external_labels
        outgoing = external.merge(labels) if external else labels
        return Subject(row["group_key"], outgoing, annotations, row["value"])


async def _watched(connection: AsyncConnection, until_ms: Mapping[str, int]) -> None:
    await connection.execute(_DELETE_GROUP, [{"of_group": key} for key in until_ms])
    await connection.execute(
        insert(RULE_GROUP),
        [{"group_key": key, "evaluated_at_ms": moment} for key, moment in until_ms.items()],
    )


async def _stored(
    connection: AsyncConnection, group_key: str, keys: Sequence[_AlertKey]
) -> dict[_AlertKey, Any]:
    """Return the rows of some alerts of a group, a batch at most."""
    table = ALERT_STATE.c
    rows = await connection.execute(
        select(ALERT_STATE).where(
            table.group_key == group_key,
            table.rule.in_(sorted({rule for rule, _ in keys})),
            table.fingerprint.in_([fingerprint for _, fingerprint in keys]),
        )
    )
    wanted = set(keys)
    found = {(row.rule, row.fingerprint): row for row in rows}
    return {key: row for key, row in found.items() if key in wanted}


def _keys(group_key: str, keys: Sequence[_AlertKey]) -> list[dict[str, Any]]:
    return [
        {"of_group": group_key, "of_rule": rule, "of_alert": fingerprint}
        for rule, fingerprint in keys
    ]


def _times(alert: Any) -> AlertTimes:
    return AlertTimes(alert.active_at_ms, alert.fired_at_ms, alert.resolved_at_ms)


def _row(group_key: str, rule: str, instance: AlertInstance, annotations: Labels) -> dict[str, Any]:
    return {
        "group_key": group_key,
        "rule": rule,
        "fingerprint": _fingerprint(instance.labels),
        "labels": labels_to_text(instance.labels),
        "annotations": labels_to_text(annotations),
        # Text, as databases take neither NaN nor the infinities everywhere.
        "value": repr(instance.value),
        "state": instance.state.value,
        "active_at_ms": instance.active_at_ms,
        "fired_at_ms": instance.fired_at_ms,
        "resolved_at_ms": instance.resolved_at_ms,
        "keep_firing_since_ms": instance.keep_firing_since_ms,
        "last_sent_at_ms": instance.last_sent_at_ms,
    }


def _instance(row: Any) -> AlertInstance:
    return AlertInstance(
        labels=labels_from_text(row.labels),
        texts=labels_from_text(row.annotations),
        value=float(row.value),
        active_at_ms=row.active_at_ms,
        state=AlertState(row.state),
        fired_at_ms=row.fired_at_ms,
        resolved_at_ms=row.resolved_at_ms,
        keep_firing_since_ms=row.keep_firing_since_ms,
        last_sent_at_ms=row.last_sent_at_ms,
    )


def _fingerprint(labels: Labels) -> str:
    text = json.dumps(labels.pairs, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
