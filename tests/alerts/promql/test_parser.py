"""The parser: PromQL as Prometheus reads it; what could hurt the process is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.promql.errors import PromQLError
from alerts.promql.parser import parse
from tests.support.promql import at, loaded, scalar_at


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000.0),
        ("0x1_0", 16.0),
        ("1_0.5e1", 105.0),
        ("5m", 300.0),
        ("-Inf", -float("inf")),
    ],
)
def test_number_literals(text, value):
    """Numbers may be grouped by underscores, hexadecimal, or durations."""
    assert scalar_at(loaded({}), text) == value


def test_underscores_in_strings_and_names_stay():
    """Only numbers are rewritten."""
    engine = loaded({'m_1_0{a="1_0"}': [1.0]})

    assert at(engine, 'm_1_0{a="1_0"}', 0) == {'m_1_0{a="1_0"}': 1.0}


def test_negative_at_time():
    """A time before 1970 after @ is a time like any other."""
    engine = loaded({"m": [1.0]})

    assert at(engine, "m @ -60", 0) == {}
    assert at(engine, "m @ 0", 600) == {"m": 1.0}


def test_zero_offset_is_no_offset():
    """An offset of zero is legal and does nothing."""
    assert at(loaded({"m": [1.0]}), "m offset 0s", 0) == {"m": 1.0}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("sum(", "unclosed left parenthesis"),
        ('m{a="b" or c="d"}', 'matchers joined by "or" are not PromQL'),
        ("m @ -1e300", "timestamp out of bounds for @ modifier"),
        ("m @ 1e300", "timestamp out of bounds for @ modifier"),
        ('m{a=~"("}', "missing \\)"),
        ("(" * 5000 + "1" + ")" * 5000, "nested more than 100 levels"),
        ("-" * 5000 + "1", "nested more than 100 levels"),
        ("2^" * 5000 + "1", "nested more than 100 levels"),
        ("m[" + "(" * 5000 + "1" + ")" * 5000 + "]", "nested more than 100 levels"),
        ("m" * 70_000, "the limit is 65536"),
    ],
)
def test_refused_text(expression, message):
    """Text that is no PromQL, or too much of it, is an error that says so."""
    with pytest.raises(PromQLError, match=message):
        loaded({}).prepare(expression)


def test_a_chain_of_operators_is_not_deep():
    """A thousand terms in a row take no thousand levels of recursion."""
    assert scalar_at(loaded({}), "+".join(["1"] * 1000)) == 1000.0


def test_error_tells_the_expression():
    """The error carries the expression, for whoever shows it in its file."""
    with pytest.raises(PromQLError) as caught:
        loaded({}).prepare("sum(")

    assert caught.value.expression == "sum("


def test_offset_is_shown_as_line_and_column():
    """A known position comes first in the text, counted from one."""
    error = PromQLError("bad", expression="a +\n  b", offset=6)

    assert str(error) == "2:3: bad"


_WORDS = """
m m{a=~"b"} [5m] [5m:1m] @ -1 1_0 offset 0s 5m ( ) + - == bool and or sum rate by (a) , "s" # { }
topk start() 1e400 99999999999y
"""
_PIECES = st.sampled_from(_WORDS.split())


@settings(max_examples=300)
@given(st.lists(_PIECES, max_size=12).map(" ".join) | st.text(max_size=30))
def test_any_text_parses_or_is_refused(text):
    """Whatever the text, the answer is a tree or a PromQLError."""
    try:
        parsed = parse(text)
    except PromQLError:
        return

    assert parsed.root is not None
