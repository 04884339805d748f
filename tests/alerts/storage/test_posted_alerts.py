"""Alerts that came over the API, in the database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from alerts.model import Alert
from alerts.series.labels import Labels
from alerts.storage.database import Database
from alerts.storage.posted_alerts import PostedAlerts
from alerts.storage.tables import POSTED_ALERT
from tests.support.alerts import START_MS, make_alert

TEXTS = st.dictionaries(st.text(), st.text(), max_size=3).map(Labels)
MOMENTS = st.integers(0, 253_402_300_800_000)
ALERTS = st.builds(Alert, TEXTS, TEXTS, MOMENTS, st.none() | MOMENTS, st.text(st.characters()))


def by_fingerprint(pairs: list[tuple[Alert, int]]) -> tuple[tuple[Alert, int], ...]:
    """Return alerts in the order they are loaded in."""
    return tuple(sorted(pairs, key=lambda pair: pair[0].fingerprint))


async def test_saved(database: Database) -> None:
    """An alert replaces the one of the same labels, also within one call."""
    store = PostedAlerts(database)
    first, second = make_alert(job="a"), make_alert(job="b")
    await store.save([(first, START_MS), (second, START_MS)])
    later = replace(first, annotations=Labels({"summary": "worse"}))
    await store.save([(first, START_MS + 1), (later, START_MS + 2)])
    await store.save([])

    expected = by_fingerprint([(later, START_MS + 2), (second, START_MS)])
    assert await store.load() == expected


@pytest.mark.parametrize(("late_ms", "kept"), [(-1, 2), (0, 1)])
async def test_forgotten(database: Database, late_ms: int, kept: int) -> None:
    """What has ended is there until it is forgotten; what was raised anew since stays."""
    store = PostedAlerts(database)
    await store.save(
        [
            (make_alert(ends_at_ms=START_MS, job="a"), START_MS),
            (make_alert(ends_at_ms=START_MS + 1, job="b"), START_MS),
        ]
    )
    assert len(await store.load()) == 2

    await store.forget_ended(START_MS + late_ms)

    assert len(await store.load()) == kept


async def test_many(database: Database) -> None:
    """Thousands of alerts are one call, and all of them come back."""
    store = PostedAlerts(database)
    alerts = [(make_alert(n=str(number)), START_MS) for number in range(2500)]
    await store.save(alerts)

    assert await store.load() == by_fingerprint(alerts)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(
        st.tuples(ALERTS, MOMENTS), max_size=5, unique_by=lambda pair: pair[0].fingerprint
    )
)
async def test_round_trip(database: Database, pairs: list[tuple[Alert, int]]) -> None:
    """Every alert comes back as it was, whatever its texts are made of."""
    store = PostedAlerts(database)
    await store.save(pairs)
    found = await store.load()
    await store.forget_ended(2**60)
    async with database.transaction() as connection:
        await connection.execute(delete(POSTED_ALERT))

    assert found == by_fingerprint(pairs)
