"""Range functions, against values worked out by hand."""

import math

import pytest

from tests.support.promql import GAP, at, loaded, over, same, scalar_at

NAN, INF = math.nan, math.inf


def test_rate_is_extrapolated_to_the_window():
    """Samples at both ends of the window but its open start stretch to the whole window."""
    engine = loaded({"c": [0.0, 60.0, 120.0, 180.0, 240.0, 300.0]})

    assert scalar_at(engine, "rate(c[5m])", 300) == pytest.approx(1.0)
    assert scalar_at(engine, "increase(c[5m])", 300) == pytest.approx(300.0)


def test_extrapolation_stops_half_an_interval_past_far_samples():
    """A sample further than 1.1 intervals from the window's start is stretched by half of one."""
    engine = loaded({"g": [GAP, GAP, GAP, 10.0, 20.0, 30.0]})

    # Samples at 180, 240, 300 in (0, 300]: 20 in 120 s, stretched by 30 s at the start only.
    assert scalar_at(engine, "delta(g[5m])", 300) == pytest.approx(20 * 150 / 120)


def test_counter_is_not_extrapolated_below_zero():
    """A counter that just started cannot have been below zero before."""
    engine = loaded({"c": [GAP, 1.0, 61.0, 121.0]})

    # From 60 s back to zero takes one second of the 60 s available.
    assert scalar_at(engine, "increase(c[3m])", 180) == pytest.approx(121.0)


def test_resets_add_what_was_lost():
    """After a reset the counter goes on from zero; what it had reached is kept."""
    engine = loaded({"c": [GAP, 100.0, 160.0, 20.0, 80.0]})

    # 80 - 100 + 160 over three intervals, stretched to four.
    assert scalar_at(engine, "increase(c[4m])", 240) == pytest.approx(140 * 4 / 3)
    assert scalar_at(engine, "resets(c[4m])", 240) == 1


def test_irate_and_idelta_take_the_last_two():
    """The instant functions look at the last two samples alone."""
    engine = loaded({"c": [0.0, 500.0, 560.0, 30.0]})

    assert scalar_at(engine, "irate(c[5m])", 120) == 1.0
    assert scalar_at(engine, "irate(c[5m])", 180) == 0.5
    assert scalar_at(engine, "idelta(c[5m])", 180) == -530.0


@pytest.mark.parametrize("function", ["rate", "increase", "delta", "irate", "idelta", "deriv"])
def test_one_sample_has_no_change(function):
    """Functions of change need two samples."""
    assert at(loaded({"m": [1.0]}), f"{function}(m[5m])", 0) == {}


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        ("sum_over_time", [1.0, 2.0, 6.0], 9.0),
        ("sum_over_time", [1.0, 1e100, 1.0, -1e100], 2.0),
        ("sum_over_time", [1.0, INF], INF),
        ("sum_over_time", [INF, -INF], NAN),
        ("avg_over_time", [1.0, 2.0, 6.0], 3.0),
        ("avg_over_time", [1.7e308, 1.7e308], 1.7e308),
        ("avg_over_time", [1.0, INF], INF),
        ("min_over_time", [NAN, 2.0, 1.0], 1.0),
        ("max_over_time", [NAN, 2.0, 1.0], 2.0),
        ("max_over_time", [NAN, NAN], NAN),
        ("count_over_time", [1.0, NAN, 1.0], 3.0),
        ("last_over_time", [1.0, 5.0], 5.0),
        ("first_over_time", [1.0, 5.0], 1.0),
        ("present_over_time", [7.0], 1.0),
        ("stdvar_over_time", [2.0, 4.0, 6.0], 8 / 3),
        ("stdvar_over_time", [0.1, 0.1, 0.1], 0.0),
        ("stddev_over_time", [1.0, 3.0], 1.0),
        ("stddev_over_time", [1.0, INF], NAN),
        ("changes", [1.0, 1.0, 2.0, NAN, NAN, 2.0], 3.0),
        ("resets", [1.0, 3.0, 2.0, 1.0], 2.0),
        ("deriv", [0.0, 60.0, 120.0], 1.0),
        ("deriv", [5.0, 5.0, 5.0], 0.0),
        ("deriv", [INF, INF], NAN),
    ],
)
def test_over_time(function, values, expected):
    """Each function over one window."""
    engine = loaded({"m": values})

    result = scalar_at(engine, f"{function}(m[10m])", 60 * (len(values) - 1))

    assert same(result, expected) or result == pytest.approx(expected)


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [("0", 1.0), ("0.5", 2.5), ("1", 4.0), ("0.75", 3.25), ("-1", -INF), ("2", INF), ("NaN", NAN)],
)
def test_quantile_over_time(quantile, expected):
    """Quantiles are interpolated between samples; outside 0 and 1 they are infinite."""
    engine = loaded({"m": [4.0, 1.0, 3.0, 2.0]})

    assert same(scalar_at(engine, f"quantile_over_time({quantile}, m[5m])", 180), expected)


def test_nan_is_the_least_value_of_a_quantile():
    """NaN samples sort before all others."""
    engine = loaded({"m": [NAN, 5.0, 3.0]})

    assert scalar_at(engine, "quantile_over_time(1, m[5m])", 120) == 5.0
    assert math.isnan(scalar_at(engine, "quantile_over_time(0, m[5m])", 120))


def test_predict_linear_counts_from_the_time_of_evaluation():
    """The line is prolonged from now, also when the samples are older."""
    engine = loaded({"m": [0.0, 60.0, 120.0]})

    assert scalar_at(engine, "predict_linear(m[5m], 60)", 120) == pytest.approx(180)
    assert scalar_at(engine, "predict_linear(m[5m] offset 1m, 60)", 180) == pytest.approx(240)


def test_pinned_window_with_a_varying_parameter():
    """A window pinned by @ is asked anew at every step when the parameter varies."""
    engine = loaded({"m": [0.0, 60.0]})

    result = over(engine, "predict_linear(m[5m] @ 60, time())", 60, 120, 60)

    assert result == {"{}": {60: pytest.approx(120), 120: pytest.approx(240)}}


def test_names_go_except_for_the_samples_themselves():
    """A value that is still the metric's keeps the name, any other loses it."""
    engine = loaded({'m{a="b"}': [1.0, 2.0]})

    assert at(engine, "last_over_time(m[5m])", 60) == {'m{a="b"}': 2.0}
    assert at(engine, "sum_over_time(m[5m])", 60) == {'{a="b"}': 3.0}


def test_gaps_in_shared_windows():
    """Series with gaps give at each step of a range what they give alone."""
    values = [0.0, 1.0, GAP, 3.0, GAP, GAP, 6.0, 7.0]
    engine = loaded({'m{i="gaps"}': values, 'm{i="full"}': [float(at) for at in range(8)]})

    both = over(engine, "sum_over_time(m[3m])", 0, 420, 60)

    for step, total in both['{i="gaps"}'].items():
        window = values[max(0, int(step // 60) - 2) : int(step // 60) + 1]
        assert total == sum(value for value in window if value is not GAP)
    assert both['{i="full"}'][420] == 5 + 6 + 7
