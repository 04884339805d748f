"""Numbers and printf as Go writes them; expectations were printed by Go itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.series.labels import Labels
from alerts.templates.gofmt import format_float, format_value, sprint, sprintf
from alerts.templates.values import Value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.5, "1.5"),
        (100.0, "100"),
        (100000.0, "100000"),
        (1e6, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (2097152.0, "2.097152e+06"),
        (0.0001, "0.0001"),
        (0.0001234, "0.0001234"),
        (1e-5, "1e-05"),
        (1e21, "1e+21"),
        (-2.5, "-2.5"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_float(value: float, text: str) -> None:
    """A float64 is written with the fewest digits, as %v writes it."""
    assert format_float(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_round_trip(value: float) -> None:
    """The text of a float reads back as the same number."""
    assert float(format_float(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (True, "true"), (3, "3"), (Labels({"b": "2", "a": "1"}), "map[a:1 b:2]")],
)
def test_value(value: str | bool | int | Labels, text: str) -> None:
    """Texts, truths, integers and label sets are written as %v writes them."""
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("template", "argument", "text"),
    [
        ("%08.2f", 3.14159, "00003.14"),
        ("%+d", 5, "+5"),
        ("%d", 3.0, "%!d(float64=3)"),
        ("%5.1f%%", 12.34, " 12.3%"),
        ("%s", 3.5, "%!s(float64=3.5)"),
        ("%x", "hi", "6869"),
        ("%q", 'a"b', '"a\\"b"'),
        ("%-8v|", 2.5, "2.5     |"),
        ("%.3s", "abcdef", "abc"),
        ("%G", 1e-7, "1E-07"),
        ("%z", 1.0, "%!z(float64=1)"),
        ("%6.2g", 1234.0, "1.2e+03"),
        ("%.4v", 1234567.0, "1.235e+06"),
        ("%g", 1e7, "1e+07"),
        ("%f", math.inf, "+Inf"),
        ("%t", True, "true"),
        ("%d", True, "%!d(bool=true)"),
        ("%#x", 255, "0xff"),
        ("%d", "a", "%!d(string=a)"),
        ("%s", Labels({"b": "2"}), "map[b:2]"),
    ],
)
def test_sprintf(template: str, argument: str | float, text: str) -> None:
    """Each verb formats what fits it and shows what does not, as Sprintf does."""
    assert sprintf(template, [argument]) == text


@pytest.mark.parametrize(
    ("template", "arguments", "text"),
    [
        ("%d", [], "%!d(MISSING)"),
        ("x", [1.0, "a"], "x%!(EXTRA float64=1, string=a)"),
        ("50%", [], "50%!(NOVERB)"),
        ("%[2]d %[1]d", [1, 2], "2 1"),
        ("%*d|%-*d|", [5, 1, 5, 2], "    1|2    |"),
        ("%*d", [-5, 1], "1    "),
        ("%.*f", [2, 1.5], "1.50"),
        ("%*d", ["a", 1], "%!(BADWIDTH)1"),
        ("%2000000d", [1], "%!(BADWIDTH)1"),
        ("%[5]d %[x]d", [1], "%!d(BADINDEX) %!d(BADINDEX)"),
        ("%d %s", [None, None], "%!d(<nil>) %!s(<nil>)"),
        ("%010.3f|%+010.1f|%010v", [3.14159, 2.0, "é"], "000003.142|+0000002.0|000000000é"),
        (
            "%e %E %.0f %.3g %#g",
            [1.5, 1.5, 2.5, 1234.5, 1.5],
            "1.500000e+00 1.500000E+00 2 1.23e+03 1.50000",
        ),
        ("%x %X % x %x", ["hello", "hi", "hi", -255], "68656c6c6f 6869 68 69 -ff"),
        ("%b %o %O %#o %#b", [5, 8, 8, 8, 5], "101 10 0o10 010 0b101"),
        ("%.3d|%8.3d|%+.3d|% d", [5, 5, 5, 5], "005|     005|+005| 5"),
        ("%08d|%-08d|%c|%U", [-7, 7, 66, 65], "-0000007|7       |B|U+0041"),
        ("%q %+q %q", ["\x00\u200bé'\"", "é", 120], '"\\x00\\u200bé\'\\"" "\\u00e9" \'x\''),
        ("%#q %#q %#v", ["a`b", "ab", "a"], '"a`b" `ab` "a"'),
        ("%6.2f%%|%5s|%.1s|%5.1s|", [99.555, "ab", "éa", "éa"], " 99.56%|   ab|é|    é|"),
        ("%T %T %T", [1, 1.5, None], "int float64 <nil>"),
        ("%d", [Labels({"a": "b"})], "map[%!d(string=a):%!d(string=b)]"),
    ],
)
def test_sprintf_mistakes(template: str, arguments: list[Value], text: str) -> None:
    """Missing and superfluous arguments are shown in the text."""
    assert sprintf(template, arguments) == text


def test_sprint() -> None:
    """Between two values that are both no texts stands a space."""
    values: list[Value] = ["a", 1, 2, "b", 3.5, True, False]

    assert sprint(values) == "a1 2b3.5 true false"


@given(
    st.text(alphabet="%+-# 0123.*[]dvsqxXtTeEfFgGcUbo!é", max_size=12),
    st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), max_size=3),
)
def test_any_format_gives_a_text(template: str, arguments: list[Value]) -> None:
    """No format and no arguments lead to an error; mistakes are shown in the text."""
    assert isinstance(sprintf(template, arguments), str)
