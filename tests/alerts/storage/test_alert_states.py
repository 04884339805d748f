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
from alerts.storage.history import History
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


async def test_nan(database: Database) -> None:
    """A value that is no number is no problem."""
    nan = replace(PENDING, value=math.nan)
    states = AlertStates(database)
    await states.save(StateChange("f;g", START_MS, (("r", nan),)))
    (found,) = (await states.load({"f;g"}, START_MS))["f;g"].rules["r"]

    assert math.isnan(found.value)


async def test_changed_and_gone(database: Database) -> None:
    """A later change replaces what it names, deletes what is gone, and leaves the rest."""
    later = replace(PENDING, state=AlertState.FIRING, fired_at_ms=START_MS + 60_000)
    states = AlertStates(database)
    first = (("r", PENDING), ("r", FIRING), ("other", FIRING))
    await states.save(StateChange("f;g", START_MS, first))
    await states.save(StateChange("f;g", START_MS, (("r", later),), (("r", FIRING.labels),)))
    found = (await states.load({"f;g"}, START_MS))["f;g"].rules

    assert found == {"r": [later], "other": [FIRING]}


async def test_all_or_nothing(database: Database) -> None:
    """A change that cannot be stored in full is not stored in part."""
    twice = (("r", PENDING), ("r", PENDING))
    states = AlertStates(database)
    await states.save(StateChange("f;g", START_MS, (("r", FIRING),)))
    with pytest.raises(StorageError):
        await states.save(StateChange("f;g", START_MS + 1, twice, (("r", FIRING.labels),)))
    found = (await states.load({"f;g"}, START_MS))["f;g"]

    assert (found.evaluated_at_ms, found.rules) == (START_MS, {"r": [FIRING]})


async def test_watched(database: Database) -> None:
    """Until when nothing changed is stored as well."""
    states = AlertStates(database)
    await states.save(StateChange("f;g", START_MS, (("r", FIRING),)))
    await states.watched({"f;g": START_MS + 60_000})
    found = (await states.load({"f;g"}, START_MS))["f;g"]

    assert (found.evaluated_at_ms, found.rules) == (START_MS + 60_000, {"r": [FIRING]})


@pytest.mark.parametrize(("late_ms", "kept"), [(0, 1), (1, 0)])
async def test_unknown_groups(database: Database, late_ms: int, kept: int) -> None:
    """A group whose file is not there is kept for an hour, in case it comes back."""
    states = AlertStates(database)
    await states.save(StateChange("f;g", START_MS, (("r", FIRING),)))
    assert await states.load(set(), START_MS + OUTAGE_TOLERANCE_MS + late_ms) == {}
    found = await states.load({"f;g"}, START_MS)

    assert len(found) == kept


async def test_forgotten(database: Database) -> None:
    """What is stored of a group can be deleted, the others stay."""
    states = AlertStates(database)
    for key in ("a", "b"):
        await states.save(StateChange(key, START_MS, (("r", FIRING),)))
    await states.forget({"a"})
    found = await states.load({"a", "b"}, START_MS)

    assert list(found) == ["b"]


async def test_many(database: Database) -> None:
    """Thousands of alerts of one rule are one change."""
    alerts = [replace(FIRING, labels=Labels({"n": str(number)})) for number in range(2500)]
    states = AlertStates(database)
    await states.save(StateChange("f;g", START_MS, tuple(("r", alert) for alert in alerts)))
    found = (await states.load({"f;g"}, START_MS))["f;g"].rules["r"]

    assert set(found) == set(alerts)


async def history(database: Database) -> list[tuple[int, str, str, str]]:
    """Return time, kind, job and state before of what the history says, oldest first."""
    page = await History(database).query(since_ms=0, until_ms=START_MS * 2, limit=100)
    return [
        (event.at_ms - START_MS, event.kind, event.labels.get("job", ""), event.detail["from"])
        for event in reversed(page.events)
    ]


async def test_history(database: Database) -> None:
    """Every change of state is in the history, with when it happened; nothing else is."""
    states = AlertStates(database)
    firing = replace(PENDING, state=AlertState.FIRING, fired_at_ms=START_MS + 60)
    kept = replace(firing, keep_firing_since_ms=START_MS + 70)
    ended = replace(kept, state=AlertState.INACTIVE, resolved_at_ms=START_MS + 80)
    for at_ms, instance in ((0, PENDING), (60, firing), (70, kept), (80, ended), (90, ended)):
        await states.save(StateChange("f;g", START_MS + at_ms, (("r", instance),)))
    await states.save(StateChange("f;g", START_MS + 95, gone=(("r", ended.labels),)))

    assert await history(database) == [
        (0, "pending", "", "inactive"),
        (60, "firing", "", "pending"),
        (80, "resolved", "", "firing"),
    ]


async def test_history_of_what_is_gone(database: Database) -> None:
    """An alert that is gone, or whose group is, has ended in the history."""
    states = AlertStates(database)
    firing = replace(FIRING, active_at_ms=START_MS, fired_at_ms=START_MS)
    await states.save(StateChange("f;g", START_MS, (("r", PENDING), ("r", firing))))
    await states.save(StateChange("f;g", START_MS + 5, gone=(("r", PENDING.labels),)))
    await states.forget({"f;g"}, START_MS + 9)
    await states.forget({"f;g"}, START_MS + 10)

    assert await history(database) == [
        (0, "pending", "", "inactive"),
        (0, "firing", "db", "inactive"),
        (5, "resolved", "", "pending"),
        (9, "resolved", "db", "firing"),
    ]


async def test_history_of_a_group_that_stays_away(database: Database) -> None:
    """Alerts of a group that is given up at a start end in the history by that."""
    states = AlertStates(database)
    await states.save(StateChange("f;g", START_MS, (("r", PENDING),)))
    await states.load(set(), START_MS + OUTAGE_TOLERANCE_MS + 1)

    assert (await history(database))[1:] == [(OUTAGE_TOLERANCE_MS + 1, "resolved", "", "pending")]


async def test_history_shows_what_leaves(database: Database) -> None:
    """The history names alerts as they leave, external labels included."""
    states = AlertStates(database, Labels({"region": "eu", "job": "none"}))
    await states.save(StateChange("f;g", START_MS, (("r", FIRING),)))
    page = await History(database).query(since_ms=0, until_ms=START_MS * 2, limit=1)
    expected = Labels({"region": "eu", "job": "db", "alertname": "Down"})

    assert page.events[0].labels == expected
    assert page.events[0].fingerprint == expected.fingerprint()
    assert page.events[0].annotations == Labels({"summary": "text"})


async def test_same_alert_of_two_rules(database: Database) -> None:
    """Alerts of the same labels belong to their rules."""
    states = AlertStates(database)
    both = (("a", FIRING), ("b", ENDED), ("b", FIRING))
    await states.save(StateChange("f;g", START_MS, both))
    await states.save(
        StateChange("f;g", START_MS, gone=(("a", FIRING.labels), ("c", ENDED.labels)))
    )
    found = (await states.load({"f;g"}, START_MS))["f;g"].rules

    assert {rule: set(alerts) for rule, alerts in found.items()} == {"b": {ENDED, FIRING}}


async def test_odd_names(database: Database) -> None:
    """Groups and rules may be named by any text, alerts labelled by it."""
    states = AlertStates(database)
    odd = replace(FIRING, labels=Labels({"a": "\x00\x1b", "b\x7f": "\u2028"}))
    await states.save(StateChange("f\x00;g", START_MS, (("r\x00", odd),)))
    await states.save(StateChange("f\x00;g", START_MS, (("r\x00", odd),)))

    assert (await states.load({"f\x00;g"}, START_MS))["f\x00;g"].rules == {"r\x00": [odd]}
