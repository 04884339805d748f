"""Binary operators: arithmetic, comparison, matching of vectors, set operators."""

import math

import pytest

from alerts.promql.errors import PromQLError
from tests.support.promql import GAP, at, loaded, over, same, scalar_at

REQUESTS = {
    'requests{job="a",code="200"}': [90.0],
    'requests{job="a",code="500"}': [10.0],
    'requests{job="b",code="200"}': [50.0],
}
LIMITS = {'limit{job="a",team="x"}': [100.0], 'limit{job="c",team="y"}': [1.0]}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 ^ 2", 19.0),
        ("-2 ^ 2", -4.0),
        ("7 % -4", 3.0),
        ("-7 % 4", -3.0),
        ("1 / 0", math.inf),
        ("0 / 0", math.nan),
        ("1 % 0", math.nan),
        ("1 atan2 1", math.pi / 4),
        ("1 > bool 2", 0.0),
        ("NaN == bool NaN", 0.0),
        ("NaN != bool NaN", 1.0),
    ],
)
def test_scalars(expression, value):
    """Scalars follow floating-point arithmetic; a comparison of them is 0 or 1."""
    assert same(scalar_at(loaded({}), expression), value)


def test_comparison_filters():
    """A comparison passes samples on unchanged, names included, from whichever side they are."""
    engine = loaded({'m{i="a"}': [1.0], 'm{i="b"}': [5.0]})

    assert at(engine, "m > 2", 0) == {'m{i="b"}': 5.0}
    assert at(engine, "2 < m", 0) == {'m{i="b"}': 5.0}


def test_bool_comparison_answers():
    """With bool every sample becomes 0 or 1 and is not the metric any more."""
    engine = loaded({'m{i="a"}': [1.0], 'm{i="b"}': [5.0]})

    assert at(engine, "m > bool 2", 0) == {'{i="a"}': 0.0, '{i="b"}': 1.0}


def test_arithmetic_with_a_scalar_drops_the_name():
    """The order of the operands is kept."""
    engine = loaded({'m{i="a"}': [4.0]})

    assert at(engine, "2 - m", 0) == {'{i="a"}': -2.0}
    assert at(engine, "-m", 0) == {'{i="a"}': -4.0}


def test_one_to_one_matches_all_labels():
    """Without a modifier all labels but the name must be equal."""
    engine = loaded({'a{i="1"}': [4.0], 'a{i="2"}': [6.0], 'b{i="2"}': [3.0]})

    assert at(engine, "a / b", 0) == {'{i="2"}': 2.0}
    assert at(engine, "a > b", 0) == {'a{i="2"}': 6.0}


def test_on_and_ignoring_choose_the_labels_of_the_result():
    """The result keeps the labels it was matched by."""
    engine = loaded({'a{i="1",x="p"}': [4.0], 'b{i="1",x="q"}': [2.0]})

    assert at(engine, "a * on(i) b", 0) == {'{i="1"}': 8.0}
    assert at(engine, "a * ignoring(x) b", 0) == {'{i="1"}': 8.0}
    assert at(engine, "a > on(i) b", 0) == {'{i="1"}': 4.0}
    assert at(engine, "a > ignoring(x) b", 0) == {'a{i="1"}': 4.0}


def test_group_left_takes_labels_over():
    """Several series on the left meet one on the right, and take the named labels of it."""
    engine = loaded(REQUESTS | LIMITS)

    assert at(engine, "requests / on(job) group_left(team) limit", 0) == {
        '{code="200", job="a", team="x"}': 0.9,
        '{code="500", job="a", team="x"}': 0.1,
    }


def test_group_right_keeps_the_order_of_operands():
    """The many side on the right gives the labels; a filter still passes on the left value."""
    engine = loaded(REQUESTS | LIMITS)

    assert at(engine, "limit - on(job) group_right requests", 0) == {
        '{code="200", job="a"}': 10.0,
        '{code="500", job="a"}': 90.0,
    }
    assert at(engine, "limit > on(job) group_right requests{code='500'}", 0) == {
        'requests{code="500", job="a"}': 100.0
    }


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "limit / on(job) requests",
            r'found duplicate series for the match group \{job="a"\} on the right hand-side of the '
            r'operation: \[\{__name__="requests", code="200", job="a"\}, .*\];many-to-many '
            "matching not allowed: matching labels must be unique on one side",
        ),
        ("requests / on(job) limit", "many-to-one matching must be explicit"),
        ("requests > on(job) limit", "many-to-one matching must be explicit"),
        (
            'label_replace(requests, "code", "", "", "") * on(job) group_left limit',
            "same labelset",
        ),
        (
            "requests * on(job) group_left(code) label_replace(limit, 'code', 'z', '', '')",
            "grouping labels must ensure unique matches",
        ),
    ],
)
def test_ambiguous_matches_are_errors(expression, message):
    """Where more than one pair is possible the query fails and says how."""
    with pytest.raises(PromQLError, match=message):
        at(loaded(REQUESTS | LIMITS), expression, 0)


def test_series_that_take_turns_are_no_duplicates():
    """What counts is which samples meet at a step, not which series were ever there."""
    engine = loaded(
        {
            'a{i="1"}': [1.0, 2.0, 3.0],
            'b{i="1",pod="x"}': [10.0, math.nan, GAP],
            'b{i="1",pod="y"}': [GAP, GAP, 30.0],
        }
    )
    query = "a * on(i) group_left(pod) (b == b)"

    assert over(engine, query, 0, 0, 60) == {'{i="1", pod="x"}': {0: 10.0}}
    assert over(engine, query, 0, 120, 120) == {
        '{i="1", pod="x"}': {0: 10.0},
        '{i="1", pod="y"}': {120: 90.0},
    }


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a and b", {'a{i="2"}': 2.0}),
        ("a unless b", {'a{i="1"}': 1.0}),
        ("a or b", {'a{i="1"}': 1.0, 'a{i="2"}': 2.0, 'b{i="3"}': 30.0}),
        ("a and on() b", {'a{i="1"}': 1.0, 'a{i="2"}': 2.0}),
        ("a and ignoring(i) vector(1)", {'a{i="1"}': 1.0, 'a{i="2"}': 2.0}),
        ("a and nothing", {}),
        ("nothing or a", {'a{i="1"}': 1.0, 'a{i="2"}': 2.0}),
        ("nothing / a", {}),
    ],
)
def test_set_operators(expression, expected):
    """And, or and unless look at labels alone."""
    engine = loaded({'a{i="1"}': [1.0], 'a{i="2"}': [2.0], 'b{i="2"}': [20.0], 'b{i="3"}': [30.0]})

    assert at(engine, expression, 0) == expected


def test_set_operators_decide_at_each_step():
    """A series on the right counts only where it has a sample."""
    engine = loaded({"a": [1.0, 1.0], "b": [5.0, 7.0]})

    assert over(engine, "a and on() (b > 6)", 0, 60, 60) == {"a": {60: 1.0}}
    assert over(engine, "(b > 6) or on() a", 0, 60, 60) == {"a": {0: 1.0}, "b": {60: 7.0}}
