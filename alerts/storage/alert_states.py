"""The state of alerts in the database: written as it changes, read at the start.

Every method is one transaction. What is written when, and why nothing is lost in between, is in
``alerts.rules.state``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from alerts.rules.alerting import AlertInstance, AlertState
from alerts.rules.state import OUTAGE_TOLERANCE_MS, SavedGroup, StateChange
from alerts.series.labels import Labels
from alerts.storage.database import Database
from alerts.storage.tables import ALERT_STATE, RULE_GROUP

_BATCH: Final = 500
"""Rows of one statement: between statements the event loop gets its turn."""

_DELETE_ALERT: Final = delete(ALERT_STATE).where(
    ALERT_STATE.c.group_key == bindparam("of_group"),
    ALERT_STATE.c.rule == bindparam("of_rule"),
    ALERT_STATE.c.fingerprint == bindparam("of_alert"),
)
_DELETE_GROUP: Final = delete(RULE_GROUP).where(RULE_GROUP.c.group_key == bindparam("of_group"))
_DELETE_ALERTS: Final = delete(ALERT_STATE).where(ALERT_STATE.c.group_key == bindparam("of_group"))


class AlertStates:
    """The alerts of all groups in the database. A ``StateSink``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, change: StateChange) -> None:
        """Store how a pass changed the alerts of a group, all of it or nothing.

        Raises:
            StorageError: Nothing was stored.
        """
        key = change.group_key
        rows = [_row(key, rule, instance) for rule, instance in change.put]
        old = [
            *({"of_group": key, "of_rule": r, "of_alert": _fingerprint(a)} for r, a in change.gone),
            *(
                {"of_group": key, "of_rule": row["rule"], "of_alert": row["fingerprint"]}
                for row in rows
            ),
        ]
        async with self._database.transaction() as connection:
            for batch in _batches(old):
                await connection.execute(_DELETE_ALERT, batch)
            for batch in _batches(rows):
                await connection.execute(insert(ALERT_STATE), batch)
            await _watched(connection, {key: change.evaluated_at_ms})

    async def watched(self, until_ms: Mapping[str, int]) -> None:
        """Store until when groups were watched whose alerts did not change.

        Raises:
            StorageError: Nothing was stored.
        """
        if until_ms:
            async with self._database.transaction() as connection:
                await _watched(connection, until_ms)

    async def forget(self, group_keys: Collection[str]) -> None:
        """Delete all that is stored of groups.

        Raises:
            StorageError: Nothing was deleted.
        """
        rows = [{"of_group": key} for key in group_keys]
        if rows:
            async with self._database.transaction() as connection:
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
            ]
        )
        return {key: group for key, group in groups.items() if key in known}


async def _watched(connection: AsyncConnection, until_ms: Mapping[str, int]) -> None:
    await connection.execute(_DELETE_GROUP, [{"of_group": key} for key in until_ms])
    await connection.execute(
        insert(RULE_GROUP),
        [{"group_key": key, "evaluated_at_ms": moment} for key, moment in until_ms.items()],
    )


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _row(group_key: str, rule: str, instance: AlertInstance) -> dict[str, Any]:
    labels = _text(instance.labels)
    return {
        "group_key": group_key,
        "rule": rule,
        "fingerprint": _digest(labels),
        "labels": labels,
        "annotations": _text(instance.annotations),
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
        labels=_labels(row.labels),
        texts=_labels(row.annotations),
        value=float(row.value),
        active_at_ms=row.active_at_ms,
        state=AlertState(row.state),
        fired_at_ms=row.fired_at_ms,
        resolved_at_ms=row.resolved_at_ms,
        keep_firing_since_ms=row.keep_firing_since_ms,
        last_sent_at_ms=row.last_sent_at_ms,
    )


def _text(labels: Labels) -> str:
    return json.dumps(labels.pairs, ensure_ascii=False, separators=(",", ":"))


def _labels(text: str) -> Labels:
    pairs: Iterable[tuple[str, str]] = json.loads(text)
    return Labels(pairs)


def _fingerprint(labels: Labels) -> str:
    return _digest(_text(labels))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
