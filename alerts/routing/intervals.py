"""Time intervals of Alertmanager: times of day, weekdays, days of the month, months, years.

Source: Alertmanager documentation, "Configuration", section "time_interval";
timeinterval/timeinterval.go. Other than there, ``-1`` is the last day also of a month in which
the clocks are put forward, ranges of days are refused only if they are empty in every month, and
months outside of 1 to 12, which never come, are refused.
"""

from __future__ import annotations

import calendar
import difflib
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from alerts.routing.reading import placed_texts
from alerts.sections import Keys, Section

UNIVERSAL: Final = "UTC"
"""The location where none is given."""
LOCAL: Final = "Local"
"""The location that stands for the time zone of the machine."""

_KEYS: Final = Keys(("times", "weekdays", "days_of_month", "months", "years", "location"))
_TIME_KEYS: Final = Keys(("start_time", "end_time"))
_WEEKDAYS: Final[Mapping[str, int]] = {
    name: number
    for number, name in enumerate(
        ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    )
}
_MONTHS: Final[Mapping[str, int]] = {
    name: number
    for number, name in enumerate(
        (
            *("january", "february", "march", "april", "may", "june"),
            *("july", "august", "september", "october", "november", "december"),
        ),
        start=1,
    )
}
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)", re.ASCII)
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,9}", re.ASCII)
_LONGEST_MONTH: Final = 31


@dataclass(frozen=True, slots=True)
class Range:
    """A range of whole numbers, both ends inside."""

    first: int
    last: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A recurring part of time; fields are ANDed, the ranges inside a field ORed.

    A field that is None says nothing; one without ranges holds at no time.

    Attributes:
        times: Minutes of the day; the last one is inside.
        weekdays: 0 is Sunday.
        days_of_month: Negative ones count from the end, -1 is the last day. What lies outside of
            a month is left out of it.
        months: 1 is January.
        years: Of the common era.
        location: Name of a time zone, or ``Local``.
    """

    times: tuple[Range, ...] | None = None
    weekdays: tuple[Range, ...] | None = None
    days_of_month: tuple[Range, ...] | None = None
    months: tuple[Range, ...] | None = None
    years: tuple[Range, ...] | None = None
    location: str = UNIVERSAL

    def contains(self, moment_ms: int) -> bool:
        """Whether a moment, in Unix milliseconds, lies inside."""
        moment = datetime.fromtimestamp(moment_ms // 1000, UTC).astimezone(_zone(self.location))
        return (
            _holds(self.times, moment.hour * 60 + moment.minute)
            and _holds(self.weekdays, moment.isoweekday() % 7)
            and _holds(self.months, moment.month)
            and _holds(self.years, moment.year)
            and _holds(_days(self.days_of_month, moment), moment.day)
        )


def _zone(location: str) -> tzinfo | None:
    """Return a time zone; None is the machine's, as ``astimezone`` has it."""
    if location == UNIVERSAL:
        return UTC  # without a look into the time zone database, which a machine may lack
    return None if location == LOCAL else zoneinfo.ZoneInfo(location)


def _holds(ranges: tuple[Range, ...] | None, number: int) -> bool:
    return ranges is None or any(number in one for one in ranges)


def _days(ranges: tuple[Range, ...] | None, moment: datetime) -> tuple[Range, ...] | None:
    """Return ranges of days, counted from the beginning of the month."""
    if ranges is None:
        return None
    days = calendar.monthrange(moment.year, moment.month)[1]
    return tuple(
        Range(*(day if day > 0 else days + day + 1 for day in (one.first, one.last)))
        for one in ranges
    )


def read_time_interval(section: Section) -> TimeInterval:
    """Return an entry of ``time_intervals``; what is wrong with it is reported to the section."""
    section.check_keys(_KEYS, "a time interval")
    return TimeInterval(
        times=_times(section),
        weekdays=_ranges(section, "weekdays", _weekday),
        days_of_month=_ranges(section, "days_of_month", _day_of_month, _check_days),
        months=_ranges(section, "months", _month),
        years=_ranges(section, "years", _year),
        location=_location(section),
    )


def _times(section: Section) -> tuple[Range, ...] | None:
    if not section.has("times"):
        return None
    ranges: list[Range] = []
    for entry in section.sections("times", _TIME_KEYS, "a range of times"):
        start, end = (_minute(entry, key) for key in ("start_time", "end_time"))
        if start is None or end is None:
            continue
        if start >= end:
            entry.report(
                "end_time",
                "end_time must be later than start_time; a range over midnight is written as two, "
                "one until 24:00 and one from 00:00",
            )
        ranges.append(Range(start, end - 1))
    return tuple(ranges)


def _minute(section: Section, key: str) -> int | None:
    """Return a time of day in minutes, None when it is none."""
    text = section.required_text(key)
    found = _TIME.fullmatch(text)
    if found is None:
        if text:
            section.report(key, f"{key} must be a time from 00:00 to 24:00, not {text!r}")
        return None
    hours, minutes = (int(part) for part in found.groups() if part is not None)
    return hours * 60 + minutes


def _ranges(
    section: Section,
    key: str,
    read: Callable[[str], int],
    check: Callable[[Range, str], None] | None = None,
) -> tuple[Range, ...] | None:
    if not section.has(key):
        return None
    ranges: list[Range] = []
    for placed in placed_texts(section, key):
        first, colon, last = placed.text.lower().partition(":")
        try:
            found = Range(read(first), read(last if colon else first))
            (check or _check_order)(found, placed.text)
        except ValueError as error:
            placed.report(str(error))
        else:
            ranges.append(found)
    return tuple(ranges)


def _check_order(found: Range, text: str) -> None:
    if found.first > found.last:
        raise ValueError(
            f"{text!r} ends before it begins; a range over the end is written as two items"
        )


def _check_days(found: Range, text: str) -> None:
    """Refuse ranges of days that are empty in every month."""
    if found.first < 0 < found.last:
        raise ValueError(f"{text!r} begins counted from the end of the month, so it must end so")
    first, last = (
        day if day > 0 else _LONGEST_MONTH + day + 1 for day in (found.first, found.last)
    )
    if first > last:
        raise ValueError(f"{text!r} ends before it begins")


def _weekday(text: str) -> int:
    return _named(text, _WEEKDAYS, "a weekday such as monday")


def _month(text: str) -> int:
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if 1 <= number <= len(_MONTHS):
        return number
    return _named(text, _MONTHS, "a month: a name such as january, or 1 to 12")


def _named(text: str, numbers: Mapping[str, int], what: str) -> int:
    if text in numbers:
        return numbers[text]
    nearest = difflib.get_close_matches(text, numbers, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"{text!r} is not {what}{hint}")


def _day_of_month(text: str) -> int:
    day = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= abs(day) <= _LONGEST_MONTH:
        raise ValueError(f"{text!r} is not a day of the month: 1 to 31, or -1 to -31 from the end")
    return day


def _year(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a year")
    return int(text)


def _location(section: Section) -> str:
    location = section.text("location") or UNIVERSAL
    try:
        _zone(location)
    except (KeyError, ValueError, OSError):  # what ZoneInfo raises for what it does not know
        known = zoneinfo.available_timezones()
        nearest = difflib.get_close_matches(location, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "write one such as Europe/Berlin"
        if not known:
            hint = "there is no time zone database here; install the system's or PyPI's tzdata"
        section.report("location", f"there is no time zone {location!r}; {hint}")
        return UNIVERSAL
    return location
