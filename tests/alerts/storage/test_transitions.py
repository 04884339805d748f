"""What changes of alerts mean for the history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.series.labels import Labels
from alerts.storage.history import EventKind
from alerts.storage.transitions import AlertTimes, Subject, events_of_change, events_of_end

SUBJECT = Subject("rules.yaml;group", Labels({"alertname": "Down"}), Labels({"s": "text"}), "1.5")
PENDING = AlertTimes(10, None, None)
FIRING = AlertTimes(10, 20, None)
ENDED = AlertTimes(10, 20, 30)
AT_ONCE = AlertTimes(10, 10, None)
LATER = AlertTimes(40, None, None)


@st.composite
def lives(draw: st.DrawFn) -> list[AlertTimes]:
    """Return an alert at moments of its life, those at which it happened to be stored."""
    active, waited, fired = (draw(st.integers(0, 3)) for _ in range(3))
    whole = [
        AlertTimes(active, None, None),
        AlertTimes(active, active + waited, None),
        AlertTimes(active, active + waited, active + waited + fired),
    ]
    if not waited:
        del whole[0]
    kept = draw(st.lists(st.integers(0, len(whole) - 1), min_size=1).map(sorted))
    return [whole[index] for index in kept]


LIVES = lives()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, PENDING, [("pending", 10, "inactive")]),
        (None, AT_ONCE, [("firing", 10, "inactive")]),
        (None, FIRING, [("pending", 10, "inactive"), ("firing", 20, "pending")]),
        (PENDING, PENDING, []),
        (PENDING, FIRING, [("firing", 20, "pending")]),
        (PENDING, LATER, [("pending", 40, "inactive")]),
        (FIRING, FIRING, []),
        (FIRING, ENDED, [("resolved", 30, "firing")]),
        (PENDING, ENDED, [("firing", 20, "pending"), ("resolved", 30, "firing")]),
        (FIRING, PENDING, [("pending", 99, "firing")]),
        (AT_ONCE, PENDING, [("pending", 99, "firing")]),
        (ENDED, LATER, [("pending", 40, "inactive")]),
        (ENDED, AlertTimes(40, 40, None), [("firing", 40, "inactive")]),
    ],
)
def test_changes(
    before: AlertTimes | None, after: AlertTimes, expected: list[tuple[str, int, str]]
) -> None:
    """What happened is what the times tell now and did not tell before."""
    events = events_of_change(SUBJECT, before, after, 99)

    assert [(each.kind, each.at_ms, each.detail["from"]) for each in events] == expected


@pytest.mark.parametrize(
    ("before", "expected"), [(PENDING, ["pending"]), (FIRING, ["firing"]), (ENDED, [])]
)
def test_ends(before: AlertTimes, expected: list[str]) -> None:
    """An alert that is forgotten has ended, unless it had before."""
    events = events_of_end(SUBJECT, before, 99)

    assert [each.detail["from"] for each in events] == expected
    assert all((each.kind, each.at_ms) == (EventKind.RESOLVED, 99) for each in events)


def test_subject() -> None:
    """An event says which alert it is about and what its value was."""
    (event,) = events_of_change(SUBJECT, None, PENDING, 99)

    assert (event.labels, event.annotations) == (SUBJECT.labels, SUBJECT.annotations)
    assert event.fingerprint == SUBJECT.labels.fingerprint()
    assert event.detail == {"group": "rules.yaml;group", "from": "inactive", "value": "1.5"}


@given(LIVES)
def test_told_once(life: list[AlertTimes]) -> None:
    """However often its life was stored, everything in it is told once, in order."""
    stored: AlertTimes | None = None
    told = []
    for times in life:
        told += events_of_change(SUBJECT, stored, times, 99)
        stored = times

    assert told == events_of_change(SUBJECT, None, life[-1], 99)
