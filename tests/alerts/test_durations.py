"""Durations: what is read, what is refused, and that what is written can be read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.durations import format_duration, parse_duration
from alerts.errors import DurationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("15s", 15.0),
        ("500ms", 0.5),
        ("1h30m", 5400.0),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
        ("007m", 420.0),
        ("292y", 292 * 31_536_000.0),
    ],
)
def test_reads_durations(text: str, seconds: float):
    """Units from years to milliseconds add up to seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "1.5h", "30m1h", "1h1h", "-5s", "5 s", "s", "5S", "1h ", "٣s", "1ns", "5s\n"],
)
def test_refuses_what_is_no_duration(text: str):
    """A text without units, out of order or with other signs is refused, with an example."""
    with pytest.raises(DurationError, match=r"is not a duration.*such as 30s") as caught:
        parse_duration(text)

    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["293y", "9223372036855ms", "9" * 19 + "s"])
def test_refuses_more_than_292_years(text: str):
    """What Prometheus cannot hold in 64-bit nanoseconds is refused as too long."""
    with pytest.raises(DurationError, match="too long"):
        parse_duration(text)


def test_refuses_endless_digits_at_once():
    """Thousands of digits are an error of ours, not of Python's integer parser."""
    with pytest.raises(DurationError):
        parse_duration("9" * 10_000 + "s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0004, "0s"),
        (0.01, "10ms"),
        (60.0, "1m"),
        (5400.0, "1h30m"),
        (604_800.0, "1w"),
        (691_200.0, "8d"),
        (31_536_000.0, "1y"),
        (-90.0, "-1m30s"),
    ],
)
def test_writes_durations_as_prometheus_does(seconds: float, text: str):
    """The shortest form is written; years and weeks only when nothing is left over."""
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=9_000_000_000_000))
def test_round_trips(milliseconds: int):
    """Any whole number of milliseconds is read back as it was written."""
    seconds = milliseconds / 1000

    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_an_error(text: str):
    """Whatever is written, the answer is a number of seconds or a DurationError."""
    try:
        seconds = parse_duration(text)
    except DurationError:
        return

    assert seconds >= 0
