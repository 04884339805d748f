"""Matchers: the four operators, anchoring, and patterns that must not hang."""

import time

import pytest

from alerts.series.matchers import Matcher, MatchOp, regex_groups


@pytest.mark.parametrize(
    ("op", "value", "matching", "failing"),
    [
        (MatchOp.EQUAL, "a", "a", "ab"),
        (MatchOp.NOT_EQUAL, "a", "ab", "a"),
        (MatchOp.REGEX, "a|b", "b", "ab"),
        (MatchOp.REGEX, "a.c", "a\nc", "xabc"),
        (MatchOp.REGEX, "", "", "a"),
        (MatchOp.NOT_REGEX, "a.*", "ba", "ab"),
    ],
)
def test_operator_compares_the_whole_value(op, value, matching, failing):
    """Every operator compares the whole value, regular expressions included."""
    matcher = Matcher(op, "label", value)

    assert matcher.matches(matching)
    assert not matcher.matches(failing)


def test_bad_pattern_is_named():
    """A pattern RE2 cannot take is refused with the pattern and the reason."""
    with pytest.raises(ValueError, match=r"'\(' is no RE2 regular expression: missing \)"):
        Matcher(MatchOp.REGEX, "label", "(")


def test_look_ahead_is_refused():
    """What RE2 cannot run in linear time is refused, not run slowly."""
    with pytest.raises(ValueError, match="RE2"):
        Matcher(MatchOp.REGEX, "label", "(?=a)a")


def test_nested_repetition_takes_linear_time():
    """A pattern that makes backtracking engines explode is answered at once."""
    matcher = Matcher(MatchOp.REGEX, "label", "(a+)+b")
    start = time.perf_counter()

    matched = matcher.matches("a" * 50_000)

    assert not matched
    assert time.perf_counter() - start < 1


def test_regex_groups_are_given_by_number_and_name():
    """Groups come by number and by name; one that took no part is empty."""
    groups = regex_groups("(?P<first>a+)(b)?")

    assert groups("aa") == {"0": "aa", "1": "aa", "2": "", "first": "aa"}
    assert groups("x") is None


def test_matcher_is_shown_as_promql():
    """A matcher prints as it is written in a selector."""
    assert str(Matcher(MatchOp.NOT_EQUAL, "a", 'x"y\\')) == 'a!="x\\"y\\\\"'
