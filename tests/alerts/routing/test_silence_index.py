"""Lookups of silences stay right however much is remembered."""

from __future__ import annotations

import pytest

from alerts.routing.silence_index import SilenceIndex
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from tests.support.alerts import START_MS
from tests.support.silences import make_silence

DB = Labels({"job": "db", "instance": "a"})
WEB = Labels({"job": "web", "instance": "a"})
REGEX = Matcher(MatchOp.REGEX, "job", "d.*")


@pytest.mark.parametrize("changes", [1, 999, 1000, 1001, 1002, 2500])
def test_after_many_changes(changes: int):
    """A change is seen whether few or many came before it."""
    index = SilenceIndex()
    index.put(make_silence(id="first"))
    assert index.silencing(DB, START_MS) == ("first",)

    for number in range(changes):
        index.put(make_silence("job=web", id=str(number % 7)))
    index.put(make_silence(REGEX, id="last"))

    assert index.silencing(DB, START_MS) == ("first", "last")
    assert len(index.silencing(WEB, START_MS)) == min(changes, 7)


def test_a_silence_that_fits_other_alerts_now():
    """What fitted before is no longer found, what fits now is."""
    index = SilenceIndex()
    index.put(make_silence("job=db", id="x"))
    assert (index.silencing(DB, START_MS), index.silencing(WEB, START_MS)) == (("x",), ())

    index.put(make_silence("job=web", id="x"))

    assert (index.silencing(DB, START_MS), index.silencing(WEB, START_MS)) == ((), ("x",))


def test_a_silence_that_is_gone():
    """What was removed silences nothing, even if it was remembered."""
    index = SilenceIndex()
    for name, matcher in (("a", "job=db"), ("b", "instance=a")):
        index.put(make_silence(matcher, id=name))
    index.put(make_silence(REGEX, id="c"))
    assert index.silencing(DB, START_MS) == ("a", "b", "c")

    index.remove("a")
    index.remove("c")

    assert index.silencing(DB, START_MS) == ("b",)


def test_a_silence_begins_and_ends():
    """A lookup that is remembered is still about the moment it is asked for."""
    index = SilenceIndex()
    index.put(make_silence(starts_at_ms=START_MS + 10, ends_at_ms=START_MS + 20, id="x"))

    found = [index.silencing(DB, START_MS + at_ms) for at_ms in (0, 9, 10, 19, 20, 10)]

    assert found == [(), (), ("x",), ("x",), (), ("x",)]


def test_more_alerts_than_are_remembered():
    """Lookups stay right when what is remembered has to be dropped."""
    index = SilenceIndex()
    index.put(make_silence("job=db", id="x"))
    for number in range(50_001):
        index.silencing(Labels({"job": "db", "n": str(number)}), START_MS)

    index.put(make_silence("job=db", id="y"))

    for number in (0, 49_999, 50_000):
        assert index.silencing(Labels({"job": "db", "n": str(number)}), START_MS) == ("x", "y")
