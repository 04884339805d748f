"""Tokens: what the words of PromQL are and where they stand."""

import pytest

from alerts.promql.errors import PromQLError
from alerts.promql.tokens import tokenize


def test_tokens_know_where_they_stand():
    """Each token has its place; blanks and comments are none."""
    tokens = tokenize('sum(a:b) # all\n >= 1h "x"')

    assert [(token.kind, token.text, token.pos) for token in tokens] == [
        ("name", "sum", 0),
        ("operator", "(", 3),
        ("name", "a:b", 4),
        ("operator", ")", 7),
        ("operator", ">=", 16),
        ("number", "1h", 19),
        ("string", "x", 22),
        ("end", "", 25),
    ]


def test_colons_divide_inside_brackets():
    """A colon is part of a metric's name, and separates range from step."""
    assert [token.text for token in tokenize("a:b[step():step()]")][2:7] == [
        "step",
        "(",
        ")",
        ":",
        "step",
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", 10.0),
        ("010", 8.0),
        ("08", 8.0),
        ("0x1F", 31.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1h30m", 5400.0),
        ("1ms", 0.001),
        ("1e-400", 0.0),
        ("0x7fffffffffffffff", float(2**63 - 1)),
        ("01777777777777777777777", 1777777777777777777777.0),
    ],
)
def test_numbers(text, number):
    """Numbers are Go's, or durations in seconds."""
    assert tokenize(text)[0].number == number


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (r'"a\n\t\\\"\x41\101\u00e9\U0001F600"', 'a\n\t\\"AAé😀'),
        (r"'it\'s'", "it's"),
        (r"`raw\n`", r"raw\n"),
        (r'"\xc3\xa9"', "é"),
        (r'"\xff"', "\udcff"),
    ],
)
def test_strings(text, meaning):
    """Strings are Go's; their bytes need not be UTF-8."""
    assert tokenize(text)[0].text == meaning


UNREADABLE = "parse error: error parsing number: strconv.ParseFloat: parsing"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("m{", "1:3: parse error: unclosed left brace"),
        ("m)", "1:2: parse error: unexpected right parenthesis ')'"),
        ("m[5m)", "1:5: parse error: unexpected right parenthesis ')'"),
        ("m +\n 'a", "2:2: parse error: unterminated quoted string"),
        ("`a", "1:1: parse error: unterminated raw string"),
        ("1 & 2", "1:3: parse error: unexpected character: '&'"),
        ("5x", '1:1: parse error: bad number or duration syntax: "5x"'),
        ("1m1h", "1:1: parse error: '1m1h' is not a duration"),
        ("1__0", f'1:1: {UNREADABLE} "1__0": invalid syntax'),
        ("m + 1e400", f'1:5: {UNREADABLE} "1e400": value out of range'),
        ("9" * 310, f'1:1: {UNREADABLE} "{"9" * 310}": value out of range'),
        ("0x8000000000000000", f'1:1: {UNREADABLE} "0x8000000000000000": invalid syntax'),
        (r'"\q"', r"1:1: parse error: unknown escape sequence \\q in string"),
        (r'"\ud800"', "1:1: parse error: unknown escape sequence"),
        ("300y", "1:1: parse error: '300y' is too long"),
    ],
)
def test_broken_text(text, error):
    """What cannot be read is refused with its place."""
    with pytest.raises(PromQLError) as caught:
        tokenize(text)

    wrong = PromQLError(caught.value.message, expression=text, offset=caught.value.offset)
    assert str(wrong).startswith(error.replace("\\\\", "\\"))
