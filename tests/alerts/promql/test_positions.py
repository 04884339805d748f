"""Errors and annotations tell where in the expression they belong."""

import pytest

from alerts.promql.errors import PromQLError
from tests.support.promql import loaded


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("", "1:1: parse error: no expression found in input"),
        ("sum(m) m", '1:8: parse error: unexpected identifier "m"'),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("1 + * 2", "1:5: parse error: unexpected <op:*>"),
        ("m{a}", '1:4: parse error: unexpected "}" in label matching'),
        ("m{a=b}", '1:5: parse error: unexpected identifier "b" in label matching'),
        ("m{a='b' 'c'}", '1:9: parse error: unexpected string "c" in label matching'),
        ('m{__name__="n"}', '1:3: parse error: metric name must not be set twice: "m" or "n"'),
        ('{"m", "n"}', '1:7: parse error: metric name must not be set twice: "m" or "n"'),
        ("1 + {a=~'.*'}", "1:5: parse error: vector selector must contain at least one"),
        ("(m + 1)[5m]", "1:8: parse error: ranges only allowed for vector selectors"),
        ("m offset 1m [5m]", "1:13: parse error: no offset modifiers allowed before range"),
        ("m @ 0 [5m]", "1:7: parse error: no @ modifiers allowed before range"),
        ("m offset 1m offset 2m", "1:13: parse error: offset may not be set multiple times"),
        ("m @ 0 @ 1", "1:7: parse error: @ <timestamp> may not be set multiple times"),
        ("1 offset 1m", "1:3: parse error: offset modifier must be preceded by"),
        ("1 @ 5", "1:3: parse error: @ modifier must be preceded by"),
        ("m @ inf", "1:5: parse error: timestamp out of bounds for @ modifier: inf"),
        ("m @ m", '1:5: parse error: unexpected identifier "m" in @'),
        ("m[0]", "1:3: duration must be greater than 0"),
        ("m[1 / 0]", "1:5: division by zero"),
        ("m[10 ^ 400]", "1:6: duration is out of range"),
        ("m[5m] offset m", '1:14: parse error: unexpected identifier "m" in duration expression'),
        ("m[5m:0s]", "1:6: duration must be greater than 0"),
        ("1[5m:]", "1:1: parse error: subquery is only allowed on instant vector"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        ("1 + topk(m)", "1:5: parse error: wrong number of arguments for aggregate"),
        ("topk('a', m)", "1:6: parse error: expected type scalar in aggregation parameter"),
        ("sum by (1) (m)", '1:9: parse error: unexpected number "1" in grouping opts'),
        ("rate()", '1:1: parse error: expected 1 argument(s) in call to "rate", got 0'),
        ("round(m, 1, 2)", "1:1: parse error: expected at most 2 argument(s) in call to"),
        ("label_join(m)", "1:1: parse error: expected at least 3 argument(s) in call to"),
        ("abs(m,)", "1:7: parse error: trailing commas not allowed in function call args"),
        ("abs(\n  1)", '2:3: parse error: expected type instant vector in call to function "abs"'),
        ("m + bool 1", "1:1: parse error: bool modifier can only be used on comparison"),
        ("m + on(a) 1", "1:1: parse error: vector matching only allowed between instant"),
        ("1 and m", '1:1: parse error: set operator "and" not allowed in binary scalar'),
        ("m and on(a) group_left n", '1:1: parse error: no grouping allowed for "and"'),
        ("m * on(a) group_left(a) n", '1:1: parse error: label "a" must not occur in ON and'),
        ("m + 'a'", "1:5: parse error: binary expression must contain only scalar and"),
        ("-'a'", "1:1: parse error: unary expression only allowed on expressions of type"),
        ("m + bool", "1:9: parse error: unexpected end of input"),
        ("on", "1:1: parse error: unexpected <on>"),
        ("m </ 2", "1:3: parse error: the operator </ works on native histograms"),
        ("rate(m[5m] smoothed)", "1:12: parse error: the experimental modifier smoothed is not"),
        ("info(m)", "1:1: parse error: the experimental function info() is not supported"),
        ("sort_by_label(m, 'a')", '1:1: parse error: function "sort_by_label" is not enabled'),
    ],
)
def test_errors_have_a_place(expression, error):
    """A wrong expression is refused with line, column and Prometheus's words."""
    with pytest.raises(PromQLError) as caught:
        loaded({}).prepare(expression)

    assert str(caught.value).startswith(error)


def test_annotations_have_a_place():
    """A note ends with the line and column of the argument it is about."""
    engine = loaded({"m": [1.0, 2.0]})
    query = engine.prepare("1 +\n  rate(m[5m]) + quantile(2, m)")

    result = engine.instant(query, 60_000)

    assert result.infos == (
        "PromQL info: metric might not be a counter, name does not end in "
        '_total/_sum/_count/_bucket: "m" (2:8)',
    )
    assert result.warnings == (
        "PromQL warning: quantile value should be between 0 and 1, got 2 (2:26)",
    )


def test_annotations_of_a_range_come_once():
    """Every step has the same fault, told once; the quantiles differ."""
    engine = loaded({"m": [1.0, 2.0, 3.0]})

    result = engine.range(engine.prepare("quantile(time(), m)"), 0, 120_000, 60_000)

    assert result.warnings == (
        "PromQL warning: quantile value should be between 0 and 1, got 60 (1:10)",
        "PromQL warning: quantile value should be between 0 and 1, got 120 (1:10)",
    )
