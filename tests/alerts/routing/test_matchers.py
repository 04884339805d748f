"""Matchers in Alertmanager's two syntaxes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.routing.matchers import (
    MatcherError,
    format_matcher,
    format_matchers,
    is_label_name,
    parse_matcher,
    parse_matchers,
    sort_matchers,
)
from alerts.series.matchers import Matcher, MatchOp


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "{}"),
        ("{}", "{}"),
        ("{ }", "{}"),
        ("a=b", '{a="b"}'),
        ('a="b"', '{a="b"}'),
        (' { a = "b" , c =~ "d|e" , } ', '{a="b",c=~"d|e"}'),
        ('a!="b",c!~"d",', '{a!="b",c!~"d"}'),
        ('"service.name"="shop"', '{service.name="shop"}'),
        ('"a b"=c', '{"a b"="c"}'),
        ("naïve=Σ", '{naïve="Σ"}'),
        (r'a="b\"c\\d\ne"', r'{a="b\"c\\d\ne"}'),
        (r'"a b"="\t\u00e9"', r'{"a b"="\té"}'),
        ('a="x, y",b="{}"', '{a="x, y",b="{}"}'),
        ("a:b=c", '{a:b="c"}'),
    ],
)
def test_utf8(text: str, shown: str) -> None:
    """The UTF-8 syntax: braces optional, names and values quoted or not, a last comma allowed."""
    assert format_matchers(parse_matchers(text)) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=", '{a=""}'),
        ("a=b c", '{a="b c"}'),
        ("a='b'", "{a=\"'b'\"}"),
        ("{a=b", '{a="b"}'),
        ("a=b}", '{a="b"}'),
        ("a=~b|(c=d)", '{a=~"b|(c=d)"}'),
        (r'a=~"\d+"', r'{a=~"\\d+"}'),
        (r"a=b\,c=d", r'{a="b\\",c="d"}'),
        (r"a=b\nc", r'{a="b\nc"}'),
        ('a=\\\\\\"b', r'{a="\\\"b"}'),
        ("a=\u00a0b\u00a0", '{a="\u00a0b"}'),
    ],
)
def test_classic(text: str, shown: str) -> None:
    """What the UTF-8 syntax refuses is read in the classic one."""
    assert format_matchers(parse_matchers(text)) == shown


@pytest.mark.parametrize(
    ("text", "value"),
    [(r'a="\t"', r"\t"), (r'a="\u00e9"', r"\u00e9"), (r'a="\x41"', r"\x41")],
)
def test_classic_holds_where_both_disagree(text: str, value: str) -> None:
    """Escapes that only one syntax knows stay as they are where both accept the text."""
    assert parse_matchers(text) == (Matcher(MatchOp.EQUAL, "a", value),)


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("a", 1, "the text ends where an operator, = != =~ or !~, is expected"),
        ("=b", 0, "'=' stands where the name of a label is expected"),
        ("a=b,,c=d", 4, "',' stands where the name of a label is expected"),
        ('"a"=', 4, 'the text ends where a value (the empty one is "") is expected'),
        ("{,}", 1, "',' stands where the name"),
        ('a="b" "c"', 6, "'\"c\"' stands where a comma or the end is expected"),
        ('{"a"=b', 6, "the text ends where a closing brace is expected"),
        ('"a"=b}', 5, "the closing brace has no opening brace"),
        ('{"a"=b}x', 7, "'x' stands where the end is expected"),
        ('a="b', 2, "the quoted text has no closing quote"),
        ("a!b", 1, "the operators are = != =~ and !~"),
        ("`a`=b", 0, "'`' is only allowed inside double quotes"),
        ('"a\nb"=c', 0, r"a quoted text ends on its line; a line break is written \n"),
        (r'"\q"=c', 0, r"\q is no escape; a backslash is written \\"),
        (r'"\xff"=c', 0, "this is not UTF-8 text"),
        ('a=~"("', 3, "'(' is no RE2 regular expression: missing ): ("),
    ],
)
def test_wrong(text: str, offset: int, message: str) -> None:
    """What neither syntax allows is refused with the place, as the UTF-8 syntax sees it."""
    with pytest.raises(MatcherError) as caught:
        parse_matchers(text)

    assert caught.value.message.startswith(message)
    assert caught.value.offset == offset
    assert str(caught.value).endswith(f"(character {offset + 1})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a=b}", "a single matcher stands without braces"),
        ("a=b,c=d", "there are 2 matchers here; one is expected"),
        ("", "there are 0 matchers here; one is expected"),
    ],
)
def test_a_single_matcher(text: str, message: str) -> None:
    """Where one matcher is expected, braces and any other number are refused."""
    assert parse_matcher("a=b") == Matcher(MatchOp.EQUAL, "a", "b")
    with pytest.raises(MatcherError, match=message):
        parse_matcher(text)


def test_order() -> None:
    """Matchers are sorted by name, then by value, then by operator."""
    matchers = parse_matchers('b=1,a=~"2",a!="1",a="2",a="1"')

    shown = format_matchers(sort_matchers(matchers))

    assert shown == '{a="1",a!="1",a="2",a=~"2",b="1"}'


def test_names() -> None:
    """A label can have any name that is not empty and that UTF-8 can hold."""
    assert [is_label_name(name) for name in ("a", "a b", "", "\udcff")] == [
        True,
        True,
        False,
        False,
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MATCHERS = st.builds(Matcher, st.sampled_from((MatchOp.EQUAL, MatchOp.NOT_EQUAL)), TEXTS, TEXTS)


@given(st.lists(MATCHERS, max_size=4))
def test_round_trip(matchers: list[Matcher]) -> None:
    """What is printed is read as the same, whatever names and values hold."""
    assert parse_matchers(format_matchers(matchers)) == tuple(matchers)
    assert tuple(parse_matcher(format_matcher(one)) for one in matchers) == tuple(matchers)


@given(st.text(st.sampled_from("ab{}=!~,\"\\ \n\t'n`Σ\x85\u3000"), max_size=14))
@example('a="\\')
@example('a=\\,"b,"')
def test_any_text(text: str) -> None:
    """Any text is read or refused with a place inside it; what is read can be printed and read."""
    try:
        matchers = parse_matchers(text)
    except MatcherError as error:
        assert 0 <= error.offset <= len(text)
    else:
        assert parse_matchers(format_matchers(matchers)) == matchers
