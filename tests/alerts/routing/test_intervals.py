"""Time intervals: reading them, and whether a moment lies inside."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from zoneinfo import ZoneInfo, reset_tzpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.documents import parse_document
from alerts.errors import Problem
from alerts.routing.intervals import Range, TimeInterval, read_time_interval
from alerts.sections import open_section


def read(text: str) -> tuple[TimeInterval, list[Problem]]:
    """Return a text as an interval, and what is wrong with it."""
    document = parse_document(text, "f")
    problems: list[Problem] = []
    section = open_section(document, (), document.data, problems, "it")
    assert section is not None
    return read_time_interval(section), problems


def at(text: str, zone: str = "UTC") -> int:
    """Return a moment such as ``2024-03-31 02:30`` in Unix milliseconds."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return round(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{}", TimeInterval()),
        (
            "times: [{start_time: 09:00, end_time: 17:00}, {start_time: '00:00', end_time: 24:00}]",
            TimeInterval(times=(Range(540, 1019), Range(0, 1439))),
        ),
        (
            "weekdays: [sunday, 'Monday:FRIDAY']",
            TimeInterval(weekdays=(Range(0, 0), Range(1, 5))),
        ),
        (
            "days_of_month: [1, '5:10', '-3:-1', '28:-1']",
            TimeInterval(days_of_month=(Range(1, 1), Range(5, 10), Range(-3, -1), Range(28, -1))),
        ),
        (
            "months: [january, '3:5', 'june:8', 12]",
            TimeInterval(months=(Range(1, 1), Range(3, 5), Range(6, 8), Range(12, 12))),
        ),
        ("years: [2024, '2030:2031']", TimeInterval(years=(Range(2024, 2024), Range(2030, 2031)))),
        ("location: Australia/Sydney", TimeInterval(location="Australia/Sydney")),
        ("location: Local", TimeInterval(location="Local")),
        ("location: ''", TimeInterval()),
        ("weekdays:\nyears: []", TimeInterval(years=())),
    ],
)
def test_read(text: str, wanted: TimeInterval) -> None:
    """Every field is read as Alertmanager reads it."""
    assert read(text) == (wanted, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hours: []", "1:1: a time interval has no key 'hours'"),
        ("times: [{start_time: 09:00}]", "1:9: end_time is missing"),
        ("times: [{start_time: 9:00, end_time: 10:00}]", "1:22: start_time must be a time from"),
        ("times: [{start_time: 09:00, end_time: 24:01}]", "1:39: end_time must be a time from"),
        ("times: [{start_time: 09:00, end_time: 09:00}]", "1:39: end_time must be later than"),
        ("times: [{start_time: 22:00, end_time: 06:00}]", "1:39: end_time must be later than"),
        ("weekdays: monday", "1:11: weekdays must be a list, not a single value"),
        (
            "weekdays: [munday]",
            "1:12: 'munday' is not a weekday such as monday; did you mean 'sunday'?",
        ),
        (
            "weekdays: ['friday:monday']",
            "1:12: 'friday:monday' ends before it begins; a range over",
        ),
        ("weekdays: ['a:b:c']", "1:12: 'a' is not a weekday"),
        ("weekdays: [1]", "1:12: '1' is not a weekday"),
        ("weekdays: [[monday]]", "1:12: an item of weekdays must be a text, not a list"),
        ("days_of_month: [0]", "1:17: '0' is not a day of the month: 1 to 31, or -1 to -31"),
        ("days_of_month: [32]", "1:17: '32' is not a day of the month"),
        ("days_of_month: ['-3:5']", "1:17: '-3:5' begins counted from the end of the month, so"),
        ("days_of_month: ['5:1']", "1:17: '5:1' ends before it begins"),
        ("days_of_month: ['30:-3']", "1:17: '30:-3' ends before it begins"),
        ("months: [13]", "1:10: '13' is not a month: a name such as january, or 1 to 12"),
        ("months: ['may:april']", "1:10: 'may:april' ends before it begins"),
        ("years: [soon]", "1:9: 'soon' is not a year"),
        (
            "location: Europe/Berlim",
            "1:11: there is no time zone 'Europe/Berlim'; did you mean 'Eu",
        ),
        ("location: /etc/passwd", "1:11: there is no time zone '/etc/passwd'; write one such as"),
    ],
)
def test_wrong(text: str, problem: str) -> None:
    """What is wrong is said with its place and what would be right."""
    _, (found,) = read(text)

    assert str(found).startswith(f"f:{problem}")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("{}", ["1999-01-01 00:00"], []),
        (
            "times: [{start_time: 09:00, end_time: 17:00}]",
            ["2024-05-01 09:00", "2024-05-01 16:59:59.999"],
            ["2024-05-01 08:59:59.999", "2024-05-01 17:00"],
        ),
        (
            "times: [{start_time: 23:00, end_time: 24:00}]",
            ["2024-05-01 23:59:59.999"],
            ["2024-05-02 00:00"],
        ),
        ("weekdays: ['sunday:monday']", ["2024-05-05 12:00"], ["2024-05-07 00:00"]),
        (
            "days_of_month: ['-1']",
            ["2024-02-29 00:00", "2023-02-28 00:00"],
            ["2024-02-28 00:00", "2023-03-30 00:00"],
        ),
        ("days_of_month: ['30:31']", ["2024-04-30 00:00"], ["2024-02-29 00:00"]),
        ("days_of_month: ['-31:-29']", ["2024-03-01 00:00"], ["2023-02-01 00:00"]),
        ("months: [february]", ["2024-02-01 00:00"], ["2024-03-01 00:00"]),
        ("years: ['2024:2025']", ["2024-01-01 00:00"], ["2026-01-01 00:00"]),
        ("years: []", [], ["2024-01-01 00:00"]),
        (
            "{weekdays: [monday], months: [may]}",
            ["2024-05-06 00:00"],
            ["2024-05-07 00:00", "2024-06-03 00:00"],
        ),
    ],
)
def test_contains(text: str, inside: list[str], outside: list[str]) -> None:
    """Ends of times are outside, those of other ranges inside; all fields must hold."""
    interval, problems = read(text)

    assert problems == []
    assert all(interval.contains(at(moment)) for moment in inside)
    assert not any(interval.contains(at(moment)) for moment in outside)


def test_location() -> None:
    """Fields are those of the clock and the calendar at the location, summer time included."""
    interval, _ = read("{weekdays: [monday], days_of_month: [-1], location: Europe/Berlin}")
    march, _ = read("{days_of_month: [-1], months: [march], location: Europe/Berlin}")

    assert interval.contains(at("2024-09-30 00:00", "Europe/Berlin"))
    assert not interval.contains(at("2024-09-30 00:00", "America/New_York") + 86_400_000)
    assert march.contains(at("2024-03-31 12:00", "Europe/Berlin"))
    assert not march.contains(at("2024-03-30 12:00", "Europe/Berlin"))


def test_local_is_the_zone_of_the_machine() -> None:
    """``Local`` means what the machine's clock on the wall shows."""
    now = datetime(2024, 5, 1, 12, tzinfo=UTC)
    wall = now.astimezone()
    minute = wall.hour * 60 + wall.minute
    interval = TimeInterval(times=(Range(minute, minute),), location="Local")

    assert interval.contains(round(now.timestamp() * 1000))
    assert not interval.contains(round(now.timestamp() * 1000) + 60_000)


@pytest.fixture
def no_time_zones() -> Iterator[None]:
    """Take the machine's time zone database away."""
    reset_tzpath(to=())
    ZoneInfo.clear_cache()
    yield
    reset_tzpath()
    ZoneInfo.clear_cache()


@pytest.mark.usefixtures("no_time_zones")
def test_a_machine_without_time_zones() -> None:
    """Intervals without a location need no time zone database; with one, it is said what lacks."""
    if find_spec("tzdata") is not None:
        pytest.skip("the package tzdata is a time zone database too")
    interval, problems = read("{years: [1970], location: UTC}")
    _, (missing,) = read("location: Europe/Berlin")

    assert (interval.contains(0), problems) == (True, [])
    assert missing.message.endswith("install the system's or PyPI's tzdata")


def ranges(first: int, last: int) -> st.SearchStrategy[tuple[Range, ...] | None]:
    """Return up to two ranges between two numbers, or None."""
    number = st.integers(first, last)
    one = st.tuples(number, number).map(lambda pair: Range(min(pair), max(pair)))
    return st.none() | st.lists(one, max_size=2).map(tuple)


DAYS = st.sampled_from(
    [Range(1, 3), Range(-3, -1), Range(28, -1), Range(30, 31), Range(-31, -29), Range(15, 20)]
)
INTERVALS = st.builds(
    TimeInterval,
    times=ranges(0, 1439),
    weekdays=ranges(0, 6),
    days_of_month=st.none() | st.lists(DAYS, max_size=2).map(tuple),
    months=ranges(1, 12),
    years=ranges(2023, 2025),
    location=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
)


def minutes_inside(interval: TimeInterval, begin: datetime) -> set[int]:
    """Return which minutes of two days lie inside, by writing out what each field allows."""
    inside = set()
    for minute in range(2 * 24 * 60):
        moment = (begin + timedelta(minutes=minute)).astimezone(ZoneInfo(interval.location))
        length = calendar.monthrange(moment.year, moment.month)[1]
        days = {
            day
            for one in interval.days_of_month or ()
            for day in range(
                one.first if one.first > 0 else length + one.first + 1,
                (one.last if one.last > 0 else length + one.last + 1) + 1,
            )
        }
        allowed = (
            (interval.times, moment.hour * 60 + moment.minute),
            (interval.weekdays, (moment.weekday() + 1) % 7),
            (interval.months, moment.month),
            (interval.years, moment.year),
        )
        if interval.days_of_month is not None and moment.day not in days:
            continue
        if all(
            spans is None or any(one.first <= value <= one.last for one in spans)
            for spans, value in allowed
        ):
            inside.add(minute)
    return inside


MINUTES = st.integers(0, 3 * 365 * 24 * 60)


@settings(max_examples=40)
@given(
    INTERVALS,
    MINUTES.map(lambda count: datetime(2023, 1, 1, tzinfo=UTC) + timedelta(minutes=count)),
)
def test_minute_by_minute(interval: TimeInterval, begin: datetime) -> None:
    """Every minute of two days is inside or outside as counting it out says."""
    begin_ms = round(begin.timestamp() * 1000)
    found = {
        minute for minute in range(2 * 24 * 60) if interval.contains(begin_ms + minute * 60_000)
    }

    assert found == minutes_inside(interval, begin)
