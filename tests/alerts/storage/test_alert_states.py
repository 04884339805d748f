"""The state of alerts in the database."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from alerts.rules.alerting import AlertInstance, AlertState
from alerts.rules.state import OUTAGE_TOLERANCE_MS, StateChange
from alerts.series.labels import Labels
from alerts.storage.alert_states import AlertStates
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from tests.support.alerts import START_MS

PENDING = AlertInstance(
    Labels({"alertname": "Down", "path": 'C:\\ "ü"\n', "x": "\U0001f6a8"}),
    Labels({"summary": "text"}),
    math.inf,
    START_MS,
)
FIRING = replace(
    PENDING,
    labels=Labels({"alertname": "Down", "job": "db"}),
    value=5e-324,
    state=AlertState.FIRING,
    fired_at_ms=START_MS + 1,
    keep_firing_since_ms=START_MS + 2,
    last_sent_at_ms=START_MS + 3,
)
ENDED = replace(
    FIRING,
    labels=Labels({"alertname": "Down", "job": "web"}),
    state=AlertState.INACTIVE,
    resolved_at_ms=START_MS + 4,
)


async def test_round_trip(storage_url: str) -> None:
    """Every time of every kind of alert comes back exactly, by group and rule."""
    put = (("r1", PENDING), ("r1", FIRING), ("r2", ENDED))
    async with Database(storage_url) as database:
        await AlertStates(database).save(StateChange("f;g", START_MS + 9, put))

    async with Database(storage_url) as database:
        found = (await AlertStates(database).load({"f;g"}, START_MS))["f;g"]

    assert found.evaluated_at_ms == START_MS + 9
    assert set(found.rules["r1"]) == {PENDING, FIRING}
    assert found.rules["r2"] == [ENDED]


async def test_nan(storage_url: str) -> None:
    """A value that is no number is no problem."""
    nan = replace(PENDING, value=math.nan)
    async with Database(storage_url) as database:
        states = AlertStates(database)
        await states.save(StateChange("f;g", START_MS, (("r", nan),)))
        (found,) = (await states.load({"f;g"}, START_MS))["f;g"].rules["r"]

    assert math.isnan(found.value)


async def test_changed_and_gone(storage_url: str) -> None:
    """A later change replaces what it names, deletes what is gone, and leaves the rest."""
    later = replace(PENDING, state=AlertState.FIRING, fired_at_ms=START_MS + 60_000)
    async with Database(storage_url) as database:
        states = AlertStates(database)
        first = (("r", PENDING), ("r", FIRING), ("other", FIRING))
        await states.save(StateChange("f;g", START_MS, first))
        await states.save(StateChange("f;g", START_MS, (("r", later),), (("r", FIRING.labels),)))
        found = (await states.load({"f;g"}, START_MS))["f;g"].rules

    assert found == {"r": [later], "other": [FIRING]}


async def test_all_or_nothing(storage_url: str) -> None:
    """A change that cannot be stored in full is not stored in part."""
    twice = (("r", PENDING), ("r", PENDING))
    async with Database(storage_url) as database:
        states = AlertStates(database)
        await states.save(StateChange("f;g", START_MS, (("r", FIRING),)))
        with pytest.raises(StorageError):
            await states.save(StateChange("f;g", START_MS + 1, twice, (("r", FIRING.labels),)))
        found = (await states.load({"f;g"}, START_MS))["f;g"]

    assert (found.evaluated_at_ms, found.rules) == (START_MS, {"r": [FIRING]})


async def test_watched(storage_url: str) -> None:
    """Until when nothing changed is stored as well."""
    async with Database(storage_url) as database:
        states = AlertStates(database)
        await states.save(StateChange("f;g", START_MS, (("r", FIRING),)))
        await states.watched({"f;g": START_MS + 60_000})
        found = (await states.load({"f;g"}, START_MS))["f;g"]

    assert (found.evaluated_at_ms, found.rules) == (START_MS + 60_000, {"r": [FIRING]})


@pytest.mark.parametrize(("late_ms", "kept"), [(0, 1), (1, 0)])
async def test_unknown_groups(storage_url: str, late_ms: int, kept: int) -> None:
    """A group whose file is not there is kept for an hour, in case it comes back."""
    async with Database(storage_url) as database:
        states = AlertStates(database)
        await states.save(StateChange("f;g", START_MS, (("r", FIRING),)))
        assert await states.load(set(), START_MS + OUTAGE_TOLERANCE_MS + late_ms) == {}
        found = await states.load({"f;g"}, START_MS)

    assert len(found) == kept


async def test_forgotten(storage_url: str) -> None:
    """What is stored of a group can be deleted, the others stay."""
    async with Database(storage_url) as database:
        states = AlertStates(database)
        for key in ("a", "b"):
            await states.save(StateChange(key, START_MS, (("r", FIRING),)))
        await states.forget({"a"})
        found = await states.load({"a", "b"}, START_MS)

    assert list(found) == ["b"]


async def test_many(storage_url: str) -> None:
    """Thousands of alerts of one rule are one change."""
    alerts = [replace(FIRING, labels=Labels({"n": str(number)})) for number in range(2500)]
    async with Database(storage_url) as database:
        states = AlertStates(database)
        await states.save(StateChange("f;g", START_MS, tuple(("r", alert) for alert in alerts)))
        found = (await states.load({"f;g"}, START_MS))["f;g"].rules["r"]

    assert set(found) == set(alerts)
