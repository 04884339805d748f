"""Plans: types and coverage are checked before any data is looked at."""

import pytest

from alerts.promql.errors import PromQLError
from tests.support.promql import loaded


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("1 + 1", "scalar"),
        ("time()", "scalar"),
        ("m", "vector"),
        ("-m > 1", "vector"),
        ("sum(m)", "vector"),
        ("rate(m[5m])", "vector"),
        ("m[5m]", "matrix"),
        ("m[5m:1m]", "matrix"),
        ('"text"', "string"),
    ],
)
def test_kind(expression, kind):
    """A query knows its type."""
    assert loaded({}).prepare(expression).kind == kind


def test_metric_names_and_selectors():
    """A query tells which metrics it reads, in sorted order, and each selector's matchers."""
    query = loaded({}).prepare('rate(b{x="1"}[5m]) / on() {__name__="a"} or {y=~"z"}')

    assert query.metric_names == ("a", "b")
    assert [len(matchers) for matchers in query.selectors] == [2, 1, 1]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("limitk(1, m)", r"aggregation limitk\(\) is not supported"),
        ("mad_over_time(m[5m])", r'function "mad_over_time" is not enabled'),
        ("a + fill(0) b", "fill modifiers are not supported"),
        ("rate(m)", 'expected type range vector in call to function "rate", got instant vector'),
        ("sum(m[5m])", "expected type instant vector in aggregation expression, got range vector"),
        ("nothing(m)", 'unknown function with name "nothing"'),
        ("1 == 2", "must use BOOL"),
    ],
)
def test_refused_when_prepared(expression, message):
    """What cannot be evaluated, or never makes sense, is refused before any data."""
    with pytest.raises(PromQLError, match=message):
        loaded({}).prepare(expression)


def test_query_is_remembered():
    """The same text gives the same query again."""
    engine = loaded({})

    assert engine.prepare("m + 1") is engine.prepare("m + 1")
