"""Series, metrics and native histograms written as text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.promql.native import NativeHistogram
from alerts.promql.notation import (
    NotationError,
    SequenceValue,
    parse_metric,
    parse_series,
    parse_values,
)
from alerts.series.bits import is_stale
from alerts.series.labels import Labels


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("1 2.5 -3 .5 1e3", [1.0, 2.5, -3.0, 0.5, 1000.0]),
        ("  1\n2\t", [1.0, 2.0]),
        ("_ 1 _x3", [None, 1.0, None, None, None]),
        ("4x2", [4.0, 4.0, 4.0]),
        ("0x2", [0.0, 0.0, 0.0]),
        ("1+2x3", [1.0, 3.0, 5.0, 7.0]),
        ("1-0.5x2", [1.0, 0.5, 0.0]),
        ("-2+1x1", [-2.0, -1.0]),
        ("1x0", [1.0]),
        ("Inf -Inf +Inf", [math.inf, -math.inf, math.inf]),
        ("5m 1h30m -1s", [300.0, 5400.0, -1.0]),
        ("0+0.1x3", [0.0, 0.1, 0.2, 0.1 + 0.1 + 0.1]),
    ],
)
def test_values(text: str, values: list[SequenceValue]) -> None:
    """Numbers, gaps, repetitions and steps become one value for each time."""
    assert parse_values(text) == values


def test_not_a_number_is_not_the_end() -> None:
    """``NaN`` is a value, ``stale`` is Prometheus's marker of the end of a series."""
    values = parse_values("NaN stale")

    assert is_stale(np.array(values)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", Labels()),
        ("up", Labels({"__name__": "up"})),
        ("up{}", Labels({"__name__": "up"})),
        (' up { a = "1" , b="2", } ', Labels({"__name__": "up", "a": "1", "b": "2"})),
        ('{"a b", "c d"=\'1\'}', Labels({"__name__": "a b", "c d": "1"})),
        (
            r'x{a="q\"\n\u00e4\x41\101", b=`\n`}',
            Labels({"__name__": "x", "a": 'q"\näAA', "b": "\\n"}),
        ),
    ],
)
def test_metric(text: str, labels: Labels) -> None:
    """A metric is a name, labels, or both; a name may stand in quotes inside the braces."""
    assert parse_metric(text) == labels


def test_series() -> None:
    """A series is a metric and its values."""
    assert parse_series('up{a="1"} 1 2') == (Labels({"__name__": "up", "a": "1"}), [1.0, 2.0])


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ('up{a="1"', 'followed by "," or "}"', 8),
        ('up{a="1" b="2"}', 'followed by "," or "}"', 9),
        ("up{a}", 'followed by "="', 4),
        ("up{a=1}", "text in quotes is missing", 5),
        ("up{=1}", "a label name is missing", 3),
        ('up{"x"}', 'followed by "="', 6),
        (r'up{a="\q"}', "\\q is no escape", 5),
        ('up{a="1"}1', "a space is missing", 9),
        ("up 1+2", "a step needs the number of times", 3),
        ("up 1 1e400", "the number is out of range", 5),
        ("up 1-1e400x2", "the number is out of range", 3),
        ("up 1 5q", "a value is a number", 5),
        ("up 1s1m", "is not a duration", 3),
        ("up 1x99999999999", "more than 10000000 values", 5),
        ("up {{sum:1", "a histogram is written", 3),
        ("up {{what:1}}", "no field of a histogram", 3),
        ("up {{sum:1 sum:2}}", "'sum' stands twice", 3),
        ("up {{schema:9}}", "there is no schema 9", 3),
        ("up {{counter_reset_hint:x}}", "is no counter_reset_hint", 3),
        ("up {{buckets:[1] offset:99999999}}", "the first bucket is at most", 3),
        ("up {{sum:1}}+{{sum:1}}", "a step needs the number of times", 3),
        ("up {{sum:1}}+{{schema:1}}x1", "must have the same schema", 3),
    ],
)
def test_refused(text: str, message: str, offset: int) -> None:
    """What is no series is refused with the place where it goes wrong."""
    with pytest.raises(NotationError) as caught:
        parse_series(text)

    assert message in str(caught.value)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    "text",
    [
        "{{}}",
        "{{count:2 sum:3 buckets:[2]}}",
        "{{schema:1 count:32.1 sum:-0.3 z_bucket:7.1 z_bucket_w:0.05 counter_reset_hint:gauge "
        "offset:-3 buckets:[5.1 0 7] n_offset:-5 n_buckets:[4.1 5]}}",
        "{{schema:-53 count:2 sum:1 custom_values:[1 2.5] buckets:[1 1]}}",
    ],
)
def test_histogram_round_trip(text: str) -> None:
    """A native histogram is written the way it is read."""
    (value,) = parse_values(text)

    assert str(value) == text


def test_histogram_steps() -> None:
    """A histogram is added or taken away bucket by bucket."""
    up = parse_values("{{sum:3 count:2 buckets:[2]}}+{{sum:1 count:1 buckets:[0 1]}}x1")
    down = parse_values("{{sum:3 count:2 buckets:[2]}}-{{sum:3 count:2 buckets:[2]}}x1")

    assert [str(value) for value in up[1:]] == ["{{count:3 sum:4 buckets:[2 1]}}"]
    assert [str(value) for value in down[1:]] == ["{{}}"]


def test_histogram_reset() -> None:
    """A histogram that counts less anywhere than the one before it was reset."""
    before, more, less = (
        NativeHistogram.parse(f"count:2 buckets:[{counts}]") for counts in ("1 1", "1 2", "2 0")
    )

    assert not more.is_reset_after(before)
    assert less.is_reset_after(before)


@given(st.text(alphabet='ab{}"=,_x+-.019 \n{}:[]\\sumstale', max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Every text is a series or is refused with a place inside it."""
    try:
        parse_series(text)
    except NotationError as error:
        assert 0 <= error.offset <= len(text)
