"""Times read by Go's layouts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.notify.go_layouts import parse_time
from alerts.templates.gotime import GoTime

LAYOUTS = (
    "2006-01-02T15:04:05.999999999Z07:00",
    "Mon, 02 Jan 2006 15:04:05.000000000 -0700",
    "January _2 2006 03:04:05.999999999 PM MST",
)


@given(st.integers(0, 4_000_000_000_000_000_000), st.sampled_from(LAYOUTS))
def test_round_trip(nanoseconds: int, layout: str) -> None:
    """What is written by a layout is read by it as the same moment."""
    assert parse_time(layout, GoTime(nanoseconds).format(layout)).nanoseconds == nanoseconds


@pytest.mark.parametrize(
    ("layout", "text", "seconds"),
    [
        ("2006-01-02", "1970-01-02", 86_400),
        ("15:04", "00:01", -62_135_596_740),
        ("02/01/06", "01/01/70", 0),
        ("2006-01-02 3PM", "1970-01-01 1AM", 3600),
        ("2006-01-02T15:04:05Z07:00", "1970-01-01T01:00:00+01:00", 0),
        ("2006-01-02T15:04:05Z07:00", "1970-01-01T00:00:00Z", 0),
    ],
)
def test_moments(layout: str, text: str, seconds: int) -> None:
    """What a text leaves out is the first there is, as in Go."""
    assert parse_time(layout, text).nanoseconds == seconds * 1_000_000_000


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("2006-01-02", "1970-1-2"),
        ("2006-01-02", "1970-02-30"),
        ("2006-01-02", "1970-01-02 "),
        ("2006 2006", "1970 1970"),
        ("2006 002", "1970 001"),
        ("03:04 PM", "13:00 PM"),
    ],
)
def test_refused(layout: str, text: str) -> None:
    """What is not written as the layout says, or stands for no day, is refused."""
    with pytest.raises(ValueError, match=r"cannot parse|part twice|day of the year"):
        parse_time(layout, text)
