"""Selectors: lookback, staleness, offset, @, windows and subqueries."""

import pytest

from alerts.promql.errors import PromQLError
from alerts.series.bits import STALE
from tests.support.promql import GAP, at, labels, loaded, over, scalar_at


def test_lookback_is_open_on_the_left():
    """A sample counts for less than five minutes, and not for exactly five."""
    engine = loaded({"m": [1.0]})

    assert at(engine, "m", 299.999) == {"m": 1.0}
    assert at(engine, "m", 300) == {}


def test_stale_series_is_absent_at_once():
    """A staleness marker ends the series, although older samples are within the lookback."""
    engine = loaded({"m": [1.0, STALE, GAP, 4.0]})

    assert over(engine, "m", 0, 180, 60) == {"m": {0: 1.0, 180: 4.0}}


def test_gap_is_bridged_by_the_lookback():
    """A missed collection leaves the last sample in force."""
    engine = loaded({'m{i="a"}': [1.0, GAP, GAP, 4.0], 'm{i="b"}': [5.0, 6.0, 7.0, 8.0]})

    assert over(engine, "m", 0, 180, 60) == {
        'm{i="a"}': {0: 1.0, 60: 1.0, 120: 1.0, 180: 4.0},
        'm{i="b"}': {0: 5.0, 60: 6.0, 120: 7.0, 180: 8.0},
    }


def test_series_of_one_source_with_gaps():
    """Series that share a time axis and come at different times each have their own latest."""
    engine = loaded({'m{i="a"}': [1.0, 2.0]})
    store = engine._store
    first, second = (
        store.select(engine.prepare("m").selectors[0]).labels[0].merge({"i": i}) for i in "bc"
    )
    source = store.source("shared")
    source.append(0, [(first, 1.0), (second, 10.0)])
    source.append(60_000, [(second, 20.0)])

    assert at(engine, "m", 60) == {'m{i="a"}': 2.0, 'm{i="c"}': 20.0}
    assert at(engine, "m", 59) == {'m{i="a"}': 1.0, 'm{i="b"}': 1.0, 'm{i="c"}': 10.0}
    assert at(engine, "count_over_time(m[5m])", 60) == {
        '{i="a"}': 2.0,
        '{i="b"}': 1.0,
        '{i="c"}': 2.0,
    }


def test_series_that_begin_later_than_their_source():
    """Before its first sample a series is not there, though its source has samples."""
    engine = loaded({})
    source = engine._store.source("shared")
    source.append(0, [(labels('m{i="a"}'), 1.0)])
    source.append(60_000, [(labels('m{i="a"}'), 2.0), (labels('m{i="b"}'), 20.0)])

    assert over(engine, "m", 0, 60, 30) == {
        'm{i="a"}': {0: 1.0, 30: 1.0, 60: 2.0},
        'm{i="b"}': {60: 20.0},
    }
    assert at(engine, "timestamp(m)", 61) == {'{i="a"}': 60.0, '{i="b"}': 60.0}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("m offset 1m", 2.0),
        ("m offset -1m", 4.0),
        ("m @ 60", 2.0),
        ("m @ 120 offset 1m", 2.0),
        ("m @ start()", 3.0),
        ("sum_over_time(m[2m] @ 60)", 3.0),
        ("sum_over_time(m[2m] offset 1m)", 3.0),
        ("timestamp(m offset 1m)", 60.0),
    ],
)
def test_moved_selectors(expression, value):
    """Offsets and @ move where a selector looks, not when the result is."""
    engine = loaded({"m": [1.0, 2.0, 3.0, 4.0]})

    assert scalar_at(engine, expression, 120) == value


def test_start_and_end_are_those_of_the_query():
    """Start and end are the first and last step of the range, also inside a subquery."""
    engine = loaded({"m": [1.0, 2.0, 3.0, 4.0]})

    assert over(engine, "m @ start() + m @ end()", 60, 180, 60) == {"{}": {60: 6, 120: 6, 180: 6}}
    assert over(engine, "max_over_time((m @ end())[2m:1m])", 60, 120, 60) == {"{}": {60: 3, 120: 3}}


def test_range_is_open_on_the_left():
    """A window takes the sample at its end and not the one at its start."""
    engine = loaded({"m": [1.0, 2.0, 3.0]})

    assert scalar_at(engine, "count_over_time(m[2m])", 120) == 2


def test_range_selector_at_the_top_gives_raw_samples():
    """A range vector as the whole query answers with the samples themselves."""
    engine = loaded({"m": [1.0, STALE, 3.0]})

    result = engine.instant(engine.prepare("m[5m]"), 120_000)

    (points,) = result.series
    assert result.kind == "matrix"
    assert points.timestamps_ms.tolist() == [0, 120_000]
    assert points.values.tolist() == [1.0, 3.0]


def test_subquery_steps_are_multiples_of_the_step():
    """The steps of a subquery are aligned to its own step, whatever the time of the query."""
    engine = loaded({"m": [0.0, 1.0, 2.0, 3.0, 4.0]})

    result = engine.instant(engine.prepare("m[3m:1m]"), 219_000)

    assert result.series[0].timestamps_ms.tolist() == [60_000, 120_000, 180_000]


def test_subquery_without_step_takes_the_engines():
    """Without a step of its own a subquery takes one minute."""
    engine = loaded({"m": [0.0, 1.0, 2.0, 3.0]}, step_s=60)

    assert scalar_at(engine, "count_over_time(m[3m:])", 180) == 3
    assert scalar_at(engine, "count_over_time(m[3m:30s])", 180) == 6


def test_subquery_of_an_expression():
    """The inner expression of a subquery is evaluated at each of its steps."""
    engine = loaded({"c": [0.0, 60.0, 180.0, 360.0]})

    assert scalar_at(engine, "max_over_time(rate(c[2m])[2m:1m])", 180) == 3.0


def test_subquery_of_a_scalar():
    """A scalar in a subquery is one series without labels."""
    assert scalar_at(loaded({}), "sum_over_time(vector(2)[3m:1m])", 180) == 6


def test_too_many_samples_are_refused():
    """A query that would load more samples than allowed fails before it is computed."""
    engine = loaded({"m": [1.0] * 100}, max_samples=50)

    with pytest.raises(PromQLError, match="too many samples"):
        at(engine, "sum_over_time(m[100m])", 6000)
    with pytest.raises(PromQLError, match="too many samples"):
        at(engine, "count_over_time(vector(1)[100m:1s])", 6000)
    with pytest.raises(PromQLError, match="too many samples"):
        over(engine, "1", 0, 1000, 1)
