"""Classic histograms: quantiles and fractions, against values worked out by hand."""

import math

import pytest

from alerts.promql.errors import PromQLError
from tests.support.promql import GAP, at, loaded, over, same, scalar_at

BUCKETS = {
    'h_bucket{le="1"}': [10.0],
    'h_bucket{le="2"}': [30.0],
    'h_bucket{le="4"}': [40.0],
    'h_bucket{le="+Inf"}': [40.0],
}


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [
        ("0", 0.0),
        ("0.125", 0.5),
        ("0.5", 1.5),
        ("0.75", 2.0),
        ("0.875", 3.0),
        ("1", 4.0),
        ("-0.1", -math.inf),
        ("1.1", math.inf),
        ("NaN", math.nan),
    ],
)
def test_quantile(quantile, expected):
    """Quantiles are interpolated within the bucket that reaches the rank."""
    value = scalar_at(loaded(BUCKETS), f"histogram_quantile({quantile}, h_bucket)")

    assert same(value, expected)


def test_quantile_in_the_last_bucket_is_its_lower_bound():
    """Nothing is known about values above the highest finite bound."""
    engine = loaded(BUCKETS | {'h_bucket{le="+Inf"}': [100.0]})

    assert scalar_at(engine, "histogram_quantile(0.99, h_bucket)") == 4.0


@pytest.mark.parametrize(
    "series",
    [
        {'h_bucket{le="1"}': [1.0], 'h_bucket{le="2"}': [2.0]},
        {'h_bucket{le="+Inf"}': [1.0]},
        {'h_bucket{le="1"}': [0.0], 'h_bucket{le="+Inf"}': [0.0]},
    ],
)
def test_unusable_histograms_have_no_quantile(series):
    """Without an infinite bucket, a second one or any observation the quantile is NaN."""
    assert math.isnan(scalar_at(loaded(series), "histogram_quantile(0.5, h_bucket)"))


def test_series_without_a_bound_are_left_out():
    """A missing or unreadable le is no bucket."""
    engine = loaded(BUCKETS | {'h_bucket{le="many"}': [9.0], "h_bucket": [9.0]})

    assert at(engine, "histogram_quantile(0.5, h_bucket)", 0) == {"{}": 1.5}


def test_equal_bounds_in_two_spellings_are_one_bucket():
    """The counts of one bound add up however it is written."""
    engine = loaded(
        {
            'h_bucket{le="1"}': [6.0],
            'h_bucket{le="1.0"}': [4.0],
            'h_bucket{le="2"}': [30.0],
            'h_bucket{le="+Inf"}': [30.0],
        }
    )

    assert scalar_at(engine, "histogram_quantile(0.5, h_bucket)") == 1.25


def test_falling_counts_are_made_monotonic():
    """A count below its predecessor, as uneven collection gives, counts as equal to it."""
    engine = loaded(BUCKETS | {'h_bucket{le="4"}': [25.0]})

    assert scalar_at(engine, "histogram_quantile(0.7, h_bucket)") == pytest.approx(1.9)


def test_bounds_below_zero():
    """The lowest bucket has no lower bound when it ends at or below zero."""
    engine = loaded(
        {'h_bucket{le="-2"}': [4.0], 'h_bucket{le="-1"}': [8.0], 'h_bucket{le="+Inf"}': [8.0]}
    )

    assert scalar_at(engine, "histogram_quantile(0.1, h_bucket)") == -2.0
    assert scalar_at(engine, "histogram_quantile(0.75, h_bucket)") == -1.5


def test_bucket_that_is_absent_at_a_step():
    """At a step without one of the buckets the others answer."""
    engine = loaded(BUCKETS | {'h_bucket{le="2"}': [GAP, 30.0], 'h_bucket{le="1"}': [20.0]})

    result = over(engine, "histogram_quantile(0.75, h_bucket)", 0, 60, 60)

    assert result == {"{}": {0: 2.5, 60: 2.0}}


def test_histograms_are_told_apart_by_their_other_labels():
    """Each set of other labels is a histogram; names alone may not tell two apart."""
    series = {
        f'{name}_bucket{{job="{job}",le="{bound}"}}': [count * (1 + index)]
        for index, (name, job) in enumerate([("h", "a"), ("h", "b"), ("g", "b")])
        for bound, count in (("1", 1.0), ("+Inf", 2.0))
    }
    engine = loaded(series)

    assert at(engine, "histogram_quantile(0.5, h_bucket)", 0) == {
        '{job="a"}': 1.0,
        '{job="b"}': 1.0,
    }
    with pytest.raises(PromQLError, match="same labelset"):
        at(engine, 'histogram_quantile(0.5, {__name__=~"[gh]_bucket"})', 0)


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ("0", "1", 0.25),
        ("1", "3", 0.625),
        ("-Inf", "+Inf", 1.0),
        ("3", "1", 0.0),
        ("-5", "0.5", 0.125),
        ("4", "100", 0.0),
        ("NaN", "1", math.nan),
    ],
)
def test_fraction(lower, upper, expected):
    """The share of observations between two values, interpolated within buckets."""
    value = scalar_at(loaded(BUCKETS), f"histogram_fraction({lower}, {upper}, h_bucket)")

    assert same(value, expected)
