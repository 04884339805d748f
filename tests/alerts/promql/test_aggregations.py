"""Aggregations, against values worked out by hand."""

import math

import pytest

from alerts.promql.errors import PromQLError
from tests.support.promql import GAP, at, loaded, over, same, scalar_at

NAN, INF = math.nan, math.inf
SERIES = {
    'm{job="a",i="1"}': [1.0],
    'm{job="b",i="1"}': [5.0],
    'm{job="a",i="2"}': [3.0],
    'm{job="b",i="2"}': [9.0],
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("sum by (job) (m)", {'{job="a"}': 4.0, '{job="b"}': 14.0}),
        ("sum without (i) (m)", {'{job="a"}': 4.0, '{job="b"}': 14.0}),
        ("sum(m)", {"{}": 18.0}),
        ("avg by (job) (m)", {'{job="a"}': 2.0, '{job="b"}': 7.0}),
        ("min by (job) (m)", {'{job="a"}': 1.0, '{job="b"}': 5.0}),
        ("max by (job) (m)", {'{job="a"}': 3.0, '{job="b"}': 9.0}),
        ("count by (i, none) (m)", {'{i="1"}': 2.0, '{i="2"}': 2.0}),
        ("group by (__name__) (m)", {"m": 1.0}),
        ("stdvar by (job) (m)", {'{job="a"}': 1.0, '{job="b"}': 4.0}),
        ("stddev by (job) (m)", {'{job="a"}': 1.0, '{job="b"}': 2.0}),
        ("quantile by (job) (0.5, m)", {'{job="a"}': 2.0, '{job="b"}': 7.0}),
        ("topk(1, m)", {'m{i="2", job="b"}': 9.0}),
        ("topk by (job) (1, m)", {'m{i="2", job="a"}': 3.0, 'm{i="2", job="b"}': 9.0}),
        ("bottomk(1, m)", {'m{i="1", job="a"}': 1.0}),
        ("topk(0, m)", {}),
        ("sum(nothing)", {}),
        ('count_values("v", m > bool 4)', {'{v="0"}': 2.0, '{v="1"}': 2.0}),
        (
            'count_values by (job) ("v", m)',
            {
                '{job="a", v="1"}': 1.0,
                '{job="a", v="3"}': 1.0,
                '{job="b", v="5"}': 1.0,
                '{job="b", v="9"}': 1.0,
            },
        ),
    ],
)
def test_aggregation(expression, expected):
    """Each aggregation over two groups of two."""
    assert at(loaded(SERIES), expression, 0) == expected


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        ("sum", [1e100, 1.0, -1e100], 1.0),
        ("sum", [INF, -INF], NAN),
        ("avg", [1.7e308, 1.7e308], 1.7e308),
        ("min", [NAN, 3.0], 3.0),
        ("max", [NAN, NAN], NAN),
        ("stdvar", [0.1, 0.1, 0.1], 0.0),
        ("stddev", [1.0, INF], NAN),
    ],
)
def test_difficult_numbers(op, values, expected):
    """Cancellation, overflow, NaN and infinity come out as in Prometheus."""
    engine = loaded({f'm{{i="{i}"}}': [value] for i, value in enumerate(values)})

    assert same(scalar_at(engine, f"{op}(m)"), expected)


def test_topk_lists_the_best_first_and_nan_last():
    """An instant query orders what topk and bottomk keep; NaN is taken last."""
    engine = loaded({'m{i="a"}': [NAN], 'm{i="b"}': [1.0], 'm{i="c"}': [2.0]})

    assert list(at(engine, "topk(2, m)", 0)) == ['m{i="c"}', 'm{i="b"}']
    assert list(at(engine, "bottomk(3, m)", 0)) == ['m{i="b"}', 'm{i="c"}', 'm{i="a"}']


@pytest.mark.parametrize(
    ("parameter", "message"), [("NaN", "Parameter value is NaN"), ("1e30", "overflows int64")]
)
def test_unusable_k(parameter, message):
    """A k that is no number of series is an error."""
    with pytest.raises(PromQLError, match=message):
        at(loaded(SERIES), f"topk({parameter}, m)", 0)


def test_parameter_may_vary_by_step():
    """The parameter is evaluated at each step."""
    engine = loaded({'m{i="a"}': [1.0, 1.0], 'm{i="b"}': [2.0, 2.0]})

    result = over(engine, "topk(scalar(m{i='a'}) + (time() > bool 30), m)", 0, 60, 60)

    assert result == {'m{i="a"}': {60: 1.0}, 'm{i="b"}': {0: 2.0, 60: 2.0}}


def test_groups_count_only_samples_of_the_step():
    """A series without a sample at a step takes no part in its group there."""
    engine = loaded({'m{i="a"}': [1.0, 2.0], 'm{i="b"}': [GAP, 4.0]})

    assert over(engine, "avg(m)", 0, 60, 60) == {"{}": {0: 1.0, 60: 3.0}}
    assert over(engine, "quantile(1, m)", 0, 60, 60) == {"{}": {0: 1.0, 60: 4.0}}
    assert over(engine, "sum(m > 3)", 0, 60, 60) == {"{}": {60: 4.0}}


@pytest.mark.parametrize(
    ("value", "text"), [(1e21, "1" + "0" * 21), (0.1, "0.1"), (-INF, "-Inf"), (1e-7, "0.0000001")]
)
def test_counted_values_have_no_exponent(value, text):
    """Values become labels in plain decimal notation."""
    assert at(loaded({"m": [value]}), 'count_values("v", m)', 0) == {f'{{v="{text}"}}': 1.0}
