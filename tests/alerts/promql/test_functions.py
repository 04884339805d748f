"""Functions of instant vectors, scalars and labels."""

import math

import pytest

from alerts.promql.errors import PromQLError
from alerts.series.bits import STALE
from tests.support.promql import at, loaded, over, same, scalar_at

NAN = math.nan


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("abs(vector(-2))", 2.0),
        ("ceil(vector(1.2))", 2.0),
        ("floor(vector(-1.2))", -2.0),
        ("round(vector(2.5))", 3.0),
        ("round(vector(-2.5))", -2.0),
        ("round(vector(7), 5)", 5.0),
        ("exp(vector(0))", 1.0),
        ("ln(vector(0))", -math.inf),
        ("log2(vector(8))", 3.0),
        ("log10(vector(-1))", NAN),
        ("sqrt(vector(9))", 3.0),
        ("sgn(vector(-3))", -1.0),
        ("clamp(vector(7), 1, 5)", 5.0),
        ("clamp_min(vector(7), 9)", 9.0),
        ("clamp_max(vector(7), NaN)", NAN),
        ("deg(vector(pi()))", 180.0),
        ("scalar(vector(3))", 3.0),
        ("scalar(nothing)", NAN),
        ("time()", 90.0),
        ("minute()", 1.0),
        ("day_of_week(vector(0))", 4.0),
        ("days_in_month(vector(951782400))", 29.0),
        ("day_of_year(vector(951782400))", 60.0),
        ("month(vector(-1))", 12.0),
        ("year(vector(NaN))", NAN),
        ("hour(vector(86399))", 23.0),
        ("day_of_month(vector(951782400))", 29.0),
    ],
)
def test_function(expression, value):
    """Each function of one value."""
    assert same(scalar_at(loaded({}), expression, 90), value)


def test_clamp_with_crossed_limits_is_empty():
    """A lower limit above the upper one leaves nothing."""
    assert at(loaded({"m": [1.0]}), "clamp(m, 5, 1)", 0) == {}


def test_functions_drop_the_name():
    """A changed value is not the metric any more, and names may be all that told series apart."""
    engine = loaded({'a{i="1"}': [-1.0], 'b{i="1"}': [1.0]})

    assert at(engine, "abs(a)", 0) == {'{i="1"}': 1.0}
    with pytest.raises(PromQLError, match="vector cannot contain metrics with the same labelset"):
        at(engine, 'abs({__name__=~"a|b"})', 0)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("absent(up)", {}),
        ("absent(down)", {"{}": 1.0}),
        ('absent(down{job="a",i=~"b"})', {'{job="a"}': 1.0}),
        ('absent(down{job="a",job="b"})', {"{}": 1.0}),
        ('absent(sum(down{job="a"}))', {"{}": 1.0}),
        ('absent_over_time(down{job="a"}[5m])', {'{job="a"}': 1.0}),
        ("absent_over_time(up[5m])", {}),
        ("absent_over_time(rate(down[1m])[5m:])", {"{}": 1.0}),
    ],
)
def test_absent(expression, expected):
    """Absence is one sample with the labels the selector asked for by equality."""
    assert at(loaded({"up": [1.0]}), expression, 0) == expected


def test_absent_decides_at_each_step():
    """A series that ended is absent from there on."""
    engine = loaded({"up": [1.0, STALE]})

    assert over(engine, "absent(up)", 0, 60, 60) == {"{}": {60: 1.0}}


def test_timestamp_of_a_selector_and_of_a_result():
    """A selector's sample has its own time, a computed one that of the evaluation."""
    engine = loaded({"m": [1.0]})

    assert scalar_at(engine, "timestamp(m)", 90) == 0.0
    assert scalar_at(engine, "timestamp(m + 1)", 90) == 90.0


def test_sort_puts_nan_last():
    """Both directions leave NaN at the end."""
    engine = loaded({'m{i="a"}': [NAN], 'm{i="b"}': [1.0], 'm{i="c"}': [2.0]})

    assert list(at(engine, "sort(m)", 0)) == ['m{i="b"}', 'm{i="c"}', 'm{i="a"}']
    assert list(at(engine, "sort_desc(m)", 0)) == ['m{i="c"}', 'm{i="b"}', 'm{i="a"}']


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('"x", "$1-$2", "host", "(.*):(.*)"', 'm{host="db:80", x="db-80"}'),
        ('"x", "${port}", "host", ".*:(?P<port>.*)"', 'm{host="db:80", x="80"}'),
        ('"x", "$$$9", "host", "db.*"', 'm{host="db:80", x="$"}'),
        ('"x", "y", "host", "db"', 'm{host="db:80"}'),
        ('"host", "", "host", ".*"', "m"),
        ('"__name__", "n", "", ""', 'n{host="db:80"}'),
    ],
)
def test_label_replace(arguments, expected):
    """A full match sets the label, an empty result removes it, no match changes nothing."""
    engine = loaded({'m{host="db:80"}': [1.0]})

    assert at(engine, f"label_replace(m, {arguments})", 0) == {expected: 1.0}


def test_label_join():
    """Values are joined in the order given; an absent label is empty."""
    engine = loaded({'m{a="1",b="2"}': [1.0]})

    assert at(engine, 'label_join(m, "c", "-", "b", "none", "a")', 0) == {
        'm{a="1", b="2", c="2--1"}': 1.0
    }


@pytest.mark.parametrize(
    "expression",
    [
        'label_replace(m, "", "", "", "")',
        'label_replace(m, "a", "", "", "(")',
        'label_join(m, "", "")',
    ],
)
def test_bad_label_arguments(expression):
    """No label name, or no regular expression, is an error."""
    with pytest.raises(PromQLError, match="invalid"):
        at(loaded({"m": [1.0]}), expression, 0)


def test_delayed_name_removal_keeps_names_until_the_end():
    """With delayed removal a label function can still see, and save, the name."""
    engine = loaded({'m{i="1"}': [0.0, 60.0]}, delays_name_removal=True)
    kept = 'label_replace(rate(m[2m]), "__name__", "${1}_rate", "__name__", "(.*)")'

    assert list(at(engine, "rate(m[2m])", 60)) == ['{i="1"}']
    assert list(at(engine, kept, 60)) == ['m_rate{i="1"}']
    assert list(at(engine, "sum by (__name__) (m * 2)", 60)) == ["{}"]
