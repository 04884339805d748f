"""Times and durations in templates; expectations were printed by Go itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.templates.gotime import GoDuration, GoTime
from alerts.templates.values import Value

TUESDAY = GoTime(1_700_000_003_123_456_789)
NEW_YEAR = GoTime(1_704_069_000_000_000_000)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (2_500_000, "2.5ms"),
        (1_000_000_000, "1s"),
        (59_999_000_000, "59.999s"),
        (60_000_000_000, "1m0s"),
        (90_500_000_000, "1m30.5s"),
        (3_600_000_000_000, "1h0m0s"),
        (86_400_000_000_000, "24h0m0s"),
        (-3_661_250_000_000, "-1h1m1.25s"),
    ],
)
def test_duration(nanoseconds: int, text: str) -> None:
    """A duration is written in hours, minutes and seconds, or in one smaller unit."""
    assert GoDuration(nanoseconds).text() == text


@pytest.mark.parametrize(
    ("layout", "tuesday", "new_year"),
    [
        ("2006-01-02", "2023-11-14", "2024-01-01"),
        ("02 Jan 06 15:04 MST", "14 Nov 23 22:13 UTC", "01 Jan 24 00:30 UTC"),
        ("Monday, 15:04:05", "Tuesday, 22:13:23", "Monday, 00:30:00"),
        ("3:04PM", "10:13PM", "12:30AM"),
        ("03:04:05 pm", "10:13:23 pm", "12:30:00 am"),
        (".000", ".123", ".000"),
        (".999999", ".123456", ""),
        ("05.000000Z07:00", "23.123456Z", "00.000000Z"),
        ("_2 2 002 __2", "14 14 318 318", " 1 1 001   1"),
        ("-0700 -07:00 Z0700 -07 1", "+0000 +00:00 Z +00 11", "+0000 +00:00 Z +00 1"),
        ("January Mon", "November Tue", "January Mon"),
    ],
)
def test_format(layout: str, tuesday: str, new_year: str) -> None:
    """A time is written the way the layout writes the second of January 2006."""
    assert (TUESDAY.format(layout), NEW_YEAR.format(layout)) == (tuesday, new_year)


def call(target: GoTime | GoDuration, name: str, *arguments: Value) -> Value:
    """Call a method."""
    return target.methods()[name].call(*arguments)


def test_methods() -> None:
    """Times and durations can be read in parts and moved."""
    long = GoDuration(5_400_500_000_000)

    assert [call(long, name) for name in ("Hours", "Minutes", "Seconds", "Milliseconds")] == [
        1.500138888888889,
        90.00833333333334,
        5400.5,
        5_400_500,
    ]
    assert call(TUESDAY, "Sub", NEW_YEAR) == GoDuration(-4_068_996_876_543_211)
    assert call(TUESDAY, "Add", long) == GoTime(1_700_005_403_623_456_789)
    assert [call(TUESDAY, name) for name in ("YearDay", "Weekday", "Month")] == [
        318,
        "Tuesday",
        "November",
    ]


@pytest.mark.parametrize(
    ("shift", "text"),
    [
        ((0, 1, 20), "2024-01-03 22:13:23.123456789 +0000 UTC"),
        ((-1, -13, -400), "2020-09-09 22:13:23.123456789 +0000 UTC"),
    ],
)
def test_add_date(shift: tuple[int, int, int], text: str) -> None:
    """Years, months and days are added as on a calendar; what is too many carries over."""
    moved = call(TUESDAY, "AddDate", *shift)

    assert isinstance(moved, GoTime)
    assert moved.text() == text


@given(st.integers(-(2**63), 2**63 - 1), st.text())
def test_every_moment_can_be_written(nanoseconds: int, layout: str) -> None:
    """Every moment and every length of time has a text."""
    assert GoTime(nanoseconds).text().endswith(" +0000 UTC")
    assert GoDuration(nanoseconds).text()
    GoTime(nanoseconds).format(layout)
