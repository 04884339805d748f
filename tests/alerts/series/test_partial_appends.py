"""A source that is sent some of its series at a time: gaps are no ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.series.errors import SeriesError
from alerts.series.labels import Labels
from alerts.series.limits import Limits
from alerts.series.matchers import Matcher, MatchOp
from alerts.series.source import QUIET_MS, Appended
from alerts.series.store import SeriesStore

A, B, C = (Labels({"__name__": "m", "i": name}) for name in "abc")
ALL = (Matcher(MatchOp.EQUAL, "__name__", "m"),)
RETENTION_S = 3600.0


def make(limits: Limits | None = None) -> SeriesStore:
    return SeriesStore(clock=ManualClock(0.0), retention_s=RETENTION_S, limits=limits or Limits())


def now(store: SeriesStore, time_ms: int, expression: str = "m") -> dict[str, float]:
    """Return the value of each series at a time, as a rule sees it."""
    engine = Engine(store)
    samples = engine.instant_vector(engine.prepare(expression), time_ms)
    return {sample.labels["i"]: sample.value for sample in samples}


def test_a_series_that_is_not_in_an_append_goes_on():
    """It keeps its last sample for as long as a query looks back."""
    store = make()
    source = store.source("s")

    source.append_some(1000, [(A, 1.0), (B, 2.0)])
    source.append_some(2000, [(B, 3.0)])

    assert now(store, 2000) == {"a": 1.0, "b": 3.0}
    assert now(store, 1000 + QUIET_MS) == {"b": 3.0}
    assert now(store, 2000, "count_over_time(m[5m])") == {"a": 1.0, "b": 2.0}


def test_a_series_ends_when_it_is_told_to():
    """The end is at that time at once, and the series may begin again."""
    store = make()
    source = store.source("s")
    source.append_some(1000, [(A, 1.0), (B, 2.0)])

    appended = source.append_some(2000, [(B, 3.0)], ended=[A, C])

    assert appended == Appended(taken=1)
    assert now(store, 2000) == {"b": 3.0}
    source.append_some(3000, [(A, 4.0)])
    assert now(store, 3000) == {"a": 4.0, "b": 3.0}


def test_a_quiet_series_is_freed():
    """After the lookback it may be another source's, after retention it is gone."""
    store = make()
    source = store.source("s")
    source.append_some(0, [(A, 1.0), (B, 1.0)])
    source.append_some(QUIET_MS, [(B, 2.0)])

    other = store.source("t").append_some(QUIET_MS, [(A, 5.0), (B, 5.0)])

    assert other == Appended(taken=1, duplicate=(B,))
    assert store.series_count == 2
    for at_ms in range(QUIET_MS + 1000, 2 * int(RETENTION_S * 1000), 60_000):
        source.append_some(at_ms, [(B, 2.0)])
    store.expire()
    assert store.source("s").append_some(10**8, [(C, 1.0)]).taken == 1


def test_what_is_not_taken_is_said():
    """A series that comes twice and one over the limits leave the others as they are."""
    store = make(Limits(max_series=2))
    source = store.source("s")

    appended = source.append_some(1000, [(A, 1.0), (A, 2.0), (B, 3.0), (C, 4.0)])

    assert appended == Appended(taken=2, duplicate=(A,), over_limit=(C,))
    assert now(store, 1000) == {"a": 1.0, "b": 3.0}
    with pytest.raises(SeriesError, match="already has samples"):
        source.append_some(1000, [(A, 1.0)])


def test_gaps_survive_a_restart():
    """A restored source goes on as it was, also for a query of one moment."""
    store = make()
    source = store.source("s")
    source.append_some(1000, [(A, 1.0), (B, 2.0)])
    source.append_some(2000, [(B, 3.0)])
    restored = SeriesStore(clock=ManualClock(3.0), retention_s=RETENTION_S)

    restored.restore(store.images())

    assert now(restored, 3000) == {"a": 1.0, "b": 3.0}
    restored.source("s").append_some(4000, [(B, 4.0)])
    assert now(restored, 4000) == {"a": 1.0, "b": 4.0}


@given(
    st.lists(
        st.tuples(
            st.integers(1, QUIET_MS),
            st.dictionaries(st.sampled_from("abc"), st.floats(0, 9)),
            st.sets(st.sampled_from("abc")),
        ),
        max_size=12,
    )
)
def test_a_query_sees_the_newest_sample_of_each_series(appends):
    """Whatever was appended: the last value within the lookback, unless the series ended."""
    store = make()
    source = store.source("s")
    expected: dict[str, tuple[int, float]] = {}
    at_ms = 0
    for step_ms, samples, ended in appends:
        at_ms += step_ms
        ends = ended - samples.keys()
        source.append_some(
            at_ms,
            [(Labels({"__name__": "m", "i": name}), value) for name, value in samples.items()],
            [Labels({"__name__": "m", "i": name}) for name in ends],
        )
        expected.update({name: (at_ms, value) for name, value in samples.items()})
        for name in ends:
            expected.pop(name, None)

        assert now(store, at_ms) == {
            name: value for name, (then, value) in expected.items() if then > at_ms - QUIET_MS
        }
