"""Limits: samples, wall time and cancellation, looked at between the nodes of a plan."""

import threading

import pytest

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.promql.errors import PromQLError, QueryCancelledError, QueryTimeoutError
from alerts.promql.limits import Budget, QueryLimits
from alerts.series.store import SeriesStore
from tests.support.promql import labels, loaded

SUM = "+".join(["sum(m)"] * 50)


def test_time_is_up():
    """A query that may take no time fails as Prometheus's does."""
    engine = loaded({"m": [1.0]})

    with pytest.raises(QueryTimeoutError, match="query timed out in expression evaluation"):
        engine.instant(engine.prepare(SUM), 0, limits=QueryLimits(timeout_s=0.0))


async def test_time_is_looked_at_while_evaluating():
    """The time that passed since the query began counts."""
    clock = ManualClock()
    budget = Budget(10, QueryLimits(timeout_s=5.0), clock)

    await clock.advance(4.999)
    budget.check()
    await clock.advance(0.001)

    with pytest.raises(QueryTimeoutError):
        budget.check()


def test_cancelled():
    """A query whose flag is set is given up, range queries too."""
    engine = loaded({"m": [1.0]})
    limits = QueryLimits(cancelled=threading.Event())
    query = engine.prepare(SUM)
    assert engine.instant(query, 0, limits=limits).samples

    assert limits.cancelled is not None
    limits.cancelled.set()

    with pytest.raises(QueryCancelledError, match="query was canceled in expression evaluation"):
        engine.instant(query, 0, limits=limits)
    with pytest.raises(QueryCancelledError):
        engine.range(query, 0, 60_000, 1000, limits=limits)


def test_cancelled_by_another_thread():
    """A running query stops soon after another thread sets its flag."""
    engine = loaded({f'm{{i="{i}"}}': [float(i)] * 60 for i in range(50)}, max_samples=10**9)
    limits = QueryLimits(cancelled=threading.Event())
    query = engine.prepare("+".join(["sum(rate(m[30m]))"] * 3000))
    failures: list[PromQLError] = []

    def run() -> None:
        try:
            engine.range(query, 0, 3_600_000, 1_000, limits=limits)
        except PromQLError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert limits.cancelled is not None
    limits.cancelled.set()
    thread.join(timeout=30)

    assert [type(error) for error in failures] == [QueryCancelledError]


@pytest.mark.parametrize(("limit", "is_refused"), [(3, True), (4, False), (5, False)])
def test_samples(limit, is_refused):
    """A query loads as many samples as it may and not one more."""
    engine = loaded({"m": [1.0, 2.0, 3.0, 4.0]})
    query = engine.prepare("sum_over_time(m[5m])")
    limits = QueryLimits(max_samples=limit)

    if is_refused:
        with pytest.raises(PromQLError, match="would load too many samples into memory"):
            engine.instant(query, 180_000, limits=limits)
    else:
        assert engine.instant(query, 180_000, limits=limits).samples[0].value == 10.0


def test_results_too_large_to_hold():
    """A range that gives more points than may be held is refused before they take memory."""
    engine = loaded({"m": [1.0, 2.0], 'm{i="b"}': [1.0, 2.0]}, max_samples=100)
    query = engine.prepare("last_over_time(m[1m])")

    assert engine.range(query, 0, 49_000, 1_000).series
    with pytest.raises(PromQLError, match="would load too many samples into memory"):
        engine.range(query, 0, 50_000, 1_000)


def test_the_engine_limit_stays():
    """A query may ask for less than the engine allows, not for more."""
    engine = loaded({"m": [1.0, 2.0]}, max_samples=1)

    with pytest.raises(PromQLError, match="the limit is 1"):
        engine.instant(engine.prepare("m[5m]"), 60_000, limits=QueryLimits(max_samples=10))


def test_lookback_of_one_query():
    """A query may look back less or more than the engine does."""
    store = SeriesStore(clock=ManualClock(0.0), retention_s=1e6)
    store.source("s").append(0, [(labels("m"), 1.0)])
    engine = Engine(store)
    query = engine.prepare("m")

    assert engine.instant(query, 60_000, lookback_s=60).samples == ()
    assert len(engine.instant(query, 600_000, lookback_s=601).samples) == 1
    assert len(engine.range(query, 0, 60_000, 60_000, lookback_s=1).series[0].values) == 1
