"""Reads times that are written the way a layout of Go's says.

Covered are the parts a layout for a machine consists of; what stands for something else (days of
the year, zones by name other than UTC, GMT and Z) is refused.

Source: Go, package time (Parse).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from alerts.templates.gotime import GoTime

_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ZONE: Final = r"(?P<zone>Z|[+-]\d\d:?\d\d)"
_PARTS: Final[tuple[tuple[str, str], ...]] = (
    ("January", f"(?P<month_name>{'|'.join(_MONTHS)})"),
    ("Jan", f"(?P<month_short>{'|'.join(name[:3] for name in _MONTHS)})"),
    ("Monday", f"(?:{'|'.join(_DAYS)})"),
    ("Mon", f"(?:{'|'.join(name[:3] for name in _DAYS)})"),
    ("MST", "(?:UTC|GMT|Z)"),
    ("2006", r"(?P<year>\d{4})"),
    ("Z07:00", _ZONE),
    ("Z0700", _ZONE),
    ("-07:00", _ZONE),
    ("-0700", _ZONE),
    ("01", r"(?P<month>\d{2})"),
    ("02", r"(?P<day>\d{2})"),
    ("_2", r" ?(?P<day>\d{1,2})"),
    ("03", r"(?P<hour12>\d{2})"),
    ("04", r"(?P<minute>\d{2})"),
    ("05", r"(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?"),
    ("06", r"(?P<year2>\d{2})"),
    ("15", r"(?P<hour>\d{2})"),
    ("PM", "(?P<half>AM|PM)"),
    ("1", r"(?P<month>\d{1,2})"),
    ("2", r"(?P<day>\d{1,2})"),
    ("3", r"(?P<hour12>\d{1,2})"),
    ("4", r"(?P<minute>\d{1,2})"),
    ("5", r"(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?"),
)
_LAYOUT: Final = re.compile(
    r"[.,](?:0+|9+)(?![0-9])|002|__2|" + "|".join(re.escape(part) for part, _ in _PARTS)
)


def parse_time(layout: str, text: str) -> GoTime:
    """Return the time a text stands for; UTC when it names no zone.

    Raises:
        ValueError: It is not written as the layout says.
    """
    message = f'parsing time "{text}" as "{layout}": cannot parse'
    try:
        match = re.fullmatch(_pattern(layout), text, re.ASCII)
    except re.error:
        raise ValueError(f'the layout "{layout}" has a part twice') from None
    if match is None:
        raise ValueError(message)
    try:
        return _moment(match.groupdict())
    except ValueError as error:
        raise ValueError(f"{message}: {error}") from None


def _pattern(layout: str) -> str:
    patterns = dict(_PARTS)
    pieces: list[str] = []
    position = 0
    for found in _LAYOUT.finditer(layout):
        pieces.append(re.escape(layout[position : found.start()]))
        position = found.end()
        part = found[0]
        if part in ("002", "__2"):
            raise ValueError(f'the layout "{layout}" has the day of the year, which is not read')
        # A fraction is part of the second before it, written in the layout or not.
        pieces.append("" if part[0] in ".," else patterns[part])
    pieces.append(re.escape(layout[position:]))
    return "".join(pieces)


def _moment(parts: dict[str, str | None]) -> GoTime:
    def number(name: str, default: int) -> int:
        text = parts.get(name)
        return default if text is None else int(text)

    zone = _zone(parts.get("zone"))
    moment = datetime(
        _year(parts),
        _month(parts),
        number("day", 1),
        _hour(parts),
        number("minute", 0),
        number("second", 0),
        tzinfo=zone,
    )
    fraction_ns = int((parts.get("fraction") or "0").ljust(9, "0"))
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = delta.days * 86_400 + delta.seconds
    return GoTime(seconds * 1_000_000_000 + fraction_ns, zone)


def _year(parts: dict[str, str | None]) -> int:
    if parts.get("year") is not None:
        return int(parts["year"] or 0)
    if parts.get("year2") is not None:
        short = int(parts["year2"] or 0)
        return short + (1900 if short >= 69 else 2000)
    return 1


def _month(parts: dict[str, str | None]) -> int:
    if name := parts.get("month_name"):
        return _MONTHS.index(name) + 1
    if name := parts.get("month_short"):
        return [month[:3] for month in _MONTHS].index(name) + 1
    return int(parts.get("month") or 1)


def _hour(parts: dict[str, str | None]) -> int:
    if parts.get("hour") is not None:
        return int(parts["hour"] or 0)
    hour = int(parts.get("hour12") or 0)
    if hour > 12:
        raise ValueError("hour out of range")
    half = parts.get("half")
    if half == "PM":
        return hour % 12 + 12
    return hour % 12 if half == "AM" else hour


def _zone(text: str | None) -> timezone:
    if text in (None, "Z"):
        return UTC
    digits = str(text).replace(":", "")
    minutes = int(digits[1:3]) * 60 + int(digits[3:5])
    return timezone(timedelta(minutes=-minutes if digits[0] == "-" else minutes))
