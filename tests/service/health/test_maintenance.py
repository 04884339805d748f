"""When maintenance windows are open, also around changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.config.maintenance_settings import MaintenanceSettings
from service.health.maintenance import Maintenance, Period, configured_maintenance

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def maintenance(*windows: dict[str, Any]) -> Maintenance:
    """Return windows as the file has them."""
    return configured_maintenance([MaintenanceSettings.model_validate(each) for each in windows])


def at(text: str) -> int:
    """Return a moment in milliseconds; without an offset it is in UTC."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def test_once():
    """A window that comes once is open from its start, and not at its end."""
    window = maintenance(
        {"start": "2026-12-01T02:00", "end": "2026-12-01T04:00", "time_zone": "Europe/Berlin"}
    )
    start, end = at("2026-12-01T01:00"), at("2026-12-01T03:00")

    assert window.open_at(start - 1) is None
    assert window.open_at(start) == window.open_at(end - 1) == Period(start, end)
    assert window.open_at(end) is None
    assert (window.next_change(0), window.next_change(start), window.next_change(end)) == (
        start,
        end,
        None,
    )


def test_once_with_offsets():
    """Times with an offset are what they say, whatever the time zone."""
    window = maintenance(
        {
            "start": "2026-12-01T02:00+05:00",
            "end": "2026-12-01T04:00+05:00",
            "time_zone": "Asia/Tokyo",
        }
    )

    assert window.next_change(0) == at("2026-11-30T21:00")


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ({"daily": "02:30", "duration": "1h"}, "2026-05-06T03:29:59", "2026-05-06T03:30"),
        ({"daily": "23:30", "duration": "1h"}, "2026-05-07T00:15", "2026-05-07T00:30"),
        ({"weekly": "sat,sun 12:00", "duration": "2h"}, "2026-05-10T13:00", "2026-05-11T13:00"),
        ({"weekly": "Mon 00:00", "duration": "36h"}, "2026-05-12T11:59", "2026-05-12T12:00"),
        ({"cron": "0 4 1 * *", "duration": "30m"}, "2026-05-01T04:29", "2026-05-02T04:10"),
        ({"cron": "0 4 * * 0", "duration": "30m"}, "2026-05-10T04:00", "2026-05-11T04:00"),
        (
            {"daily": "02:30", "duration": "1h", "time_zone": "America/New_York"},
            "2026-05-06T06:30",
            "2026-05-06T02:30",
        ),
    ],
)
def test_again_and_again(window, inside, outside):
    """Days, weeks and cron expressions, by the clock of their time zone."""
    assert maintenance(window).open_at(at(inside)) is not None
    assert maintenance(window).open_at(at(outside)) is None


@pytest.mark.parametrize(
    ("daily", "starts"),
    [
        # Put forward on 29 March at 02:00 to 03:00.
        ("02:30", ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]),
        ("03:00", ["2026-03-28T02:00", "2026-03-29T01:00", "2026-03-30T01:00"]),
        ("01:59", ["2026-03-28T00:59", "2026-03-29T00:59", "2026-03-29T23:59"]),
    ],
)
def test_a_clock_put_forward(daily, starts):
    """A beginning that the wall never shows is when the clock jumps; each day has one window."""
    window = maintenance({"daily": daily, "duration": "10m", "time_zone": "Europe/Berlin"})
    found, now = [], at("2026-03-28T00:00")
    for _ in starts:
        start = window.next_change(now)
        assert start is not None
        assert window.open_at(start) == Period(start, start + 10 * MINUTE_MS)
        assert window.open_at(start - 1) is None
        found.append(start)
        now = start + 10 * MINUTE_MS

    assert found == [at(text) for text in starts]


def test_a_clock_put_back():
    """A beginning that the wall shows twice is the first of the two."""
    window = maintenance({"daily": "02:30", "duration": "10m", "time_zone": "Europe/Berlin"})
    first, second = at("2026-10-25T02:30+02:00"), at("2026-10-25T02:30+01:00")

    assert window.open_at(first) == Period(first, first + 10 * MINUTE_MS)
    assert window.open_at(second) is None
    assert window.next_change(first + 10 * MINUTE_MS) == at("2026-10-26T02:30+01:00")


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
CHANGES = [
    at("2026-03-29T01:00"),
    at("2026-10-25T01:00"),
    at("2026-03-08T07:00"),
    at("2026-11-01T06:00"),
    at("2026-04-04T15:00"),
    at("2026-10-03T15:30"),
]


@given(
    zone=st.sampled_from(ZONES),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    minutes=st.integers(1, 3_000),
    moment=st.sampled_from(CHANGES).flatmap(
        lambda change: st.integers(change - 30 * HOUR_MS, change + 30 * HOUR_MS)
    ),
)
def test_daily_windows_follow_the_wall(zone, hour, minute, minutes, moment):
    """One window begins on each day of the zone, and what is open agrees with what changes next."""
    window = maintenance(
        {"daily": f"{hour:02}:{minute:02}", "duration": f"{minutes}m", "time_zone": zone}
    )
    period = window.open_at(moment)
    change = window.next_change(moment)
    today = datetime.fromtimestamp(moment / 1000, UTC).astimezone(ZoneInfo(zone)).date()
    starts = {
        day: first_shown(datetime.combine(day, time(hour, minute)), zone)
        for day in (today + timedelta(days=shift) for shift in range(-4, 3))
    }
    begun = [start for start in starts.values() if start <= moment < start + minutes * MINUTE_MS]

    assert change is not None
    assert change > moment
    assert (period is not None) == bool(begun)
    if period is not None:
        assert period == Period(max(begun), max(begun) + minutes * MINUTE_MS)
    # Nothing changes between now and the next change.
    for between in (moment + 1, (moment + change) // 2, change - 1):
        if moment < between < change:
            assert window.open_at(between) == period


def first_shown(wall: datetime, zone: str) -> int:
    """Return the first moment the wall shows a time or a later one of that day, by trying."""
    moment = wall.replace(tzinfo=UTC) - timedelta(hours=15)
    while True:
        shown = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if shown >= wall:
            return int(moment.timestamp() * 1000)
        ahead = wall - shown
        moment += max(timedelta(minutes=1), ahead - timedelta(hours=2))


def test_the_window_that_ends_last_is_told():
    """Of several open windows the one that ends last says until when."""
    window = maintenance(
        {"daily": "02:00", "duration": "3h", "name": "long"},
        {"daily": "03:00", "duration": "1h", "name": "short"},
    )
    period = window.open_at(at("2026-05-06T03:30"))

    assert period is not None
    assert period.name == "long"
    assert window.next_change(at("2026-05-06T02:30")) == at("2026-05-06T03:00")


def test_no_windows():
    """Without windows nothing ever opens."""
    assert Maintenance().open_at(0) is None
    assert Maintenance().next_change(0) is None


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({}, "does not say when it begins"),
        ({"daily": "02:00", "cron": "0 0 * * *", "duration": "1h"}, "has daily and cron"),
        ({"daily": "02:00"}, "say how long"),
        ({"daily": "02:00", "duration": "1h", "end": "2026-01-01"}, "a duration, no end"),
        ({"daily": "25:00", "duration": "1h"}, "'25:00' is no time of day"),
        ({"weekly": "someday 02:00", "duration": "1h"}, "is no time of a week"),
        ({"weekly": "02:00", "duration": "1h"}, "is no time of a week"),
        ({"cron": "61 * * * *", "duration": "1h"}, "is no cron expression"),
        ({"cron": "* * * * * *", "duration": "1h"}, "is no cron expression"),
        ({"cron": "0 0 30 2 *", "duration": "1h"}, "is no cron expression"),
        ({"start": "2026-01-01"}, "has start and end"),
        ({"start": "2026-01-02", "end": "2026-01-01"}, "ends before it begins"),
        ({"start": "2026-01-01", "end": "2026-01-02T00:00Z"}, "both have an offset"),
        ({"start": "soon", "end": "2026-01-01"}, "is no date and time"),
        ({"daily": "02:00", "duration": "1h", "time_zone": "Mars/Base"}, "is no time zone"),
    ],
)
def test_what_is_refused(window, message):
    """Windows that mean nothing, or two things, are refused with what would be right."""
    with pytest.raises(ValidationError, match=message):
        MaintenanceSettings.model_validate(window)
