"""Times and durations as templates see them: Go's ``*time.Time`` and ``*time.Duration``.

Source: Go, package time (Format, Duration.String).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import ClassVar, Final

from alerts.templates.values import INT, STRING, Function, Value

_SECOND_NS: Final = 1_000_000_000
_UNITS: Final = {
    "Hours": 3600 * _SECOND_NS,
    "Minutes": 60 * _SECOND_NS,
    "Seconds": _SECOND_NS,
}
_COUNTS: Final = {"Milliseconds": 1_000_000, "Microseconds": 1_000, "Nanoseconds": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ZERO_TIME_NS: Final = -62_135_596_800 * _SECOND_NS
"""The time Go calls zero, January 1 of the year 1, in nanoseconds of Unix time."""
_LAYOUT: Final = re.compile(
    r"January|Jan|Monday|Mon(?![a-z])|MST|2006|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000"
    r"|Z07:00|Z0700|Z07|002|01|02|03|04|05|06|15|__2|_2(?!006)|PM|pm|[.,](?:0+|9+)(?![0-9])|[12345]"
)


@dataclass(frozen=True, slots=True)
class GoDuration:
    """A length of time in nanoseconds."""

    go_type: ClassVar[str] = "*time.Duration"
    nanoseconds: int

    def fields(self) -> Mapping[str, Value]:
        """Return no fields."""
        return {}

    def methods(self) -> Mapping[str, Function]:
        """Return the methods that read it."""
        found = {
            name: Function(lambda unit=unit: self.nanoseconds / unit)
            for name, unit in _UNITS.items()
        }
        for name, unit in _COUNTS.items():
            found[name] = Function(lambda unit=unit: int(self.nanoseconds / unit))
        found["Abs"] = Function(lambda: GoDuration(abs(self.nanoseconds)))
        found["String"] = Function(self.text)
        return found

    def text(self) -> str:
        """Return it as Go writes it: ``1h2m3.5s``, ``250ms``."""
        rest = abs(self.nanoseconds)
        sign = "-" if self.nanoseconds < 0 else ""
        if rest == 0:
            return "0s"
        for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
            if rest < min(size * 1_000, _SECOND_NS):
                return f"{sign}{_decimal(rest, size)}{unit}"
        hours, rest = divmod(rest, _UNITS["Hours"])
        minutes, rest = divmod(rest, _UNITS["Minutes"])
        shown = f"{hours}h" if hours else ""
        shown += f"{minutes}m" if hours or minutes else ""
        return f"{sign}{shown}{_decimal(rest, _SECOND_NS)}s"


def _decimal(number: int, unit: int) -> str:
    whole, fraction = divmod(number, unit)
    digits = str(fraction).zfill(len(str(unit)) - 1).rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


@dataclass(frozen=True, slots=True)
class GoTime:
    """A moment.

    Attributes:
        nanoseconds: Unix time.
        zone: The time zone it is written in.
    """

    go_type: ClassVar[str] = "*time.Time"
    nanoseconds: int
    zone: tzinfo = UTC

    def fields(self) -> Mapping[str, Value]:
        """Return no fields."""
        return {}

    def methods(self) -> Mapping[str, Function]:
        """Return the methods that read it, and those that give another."""
        moment = self._moment
        found = {
            name: Function(lambda number=number: number)
            for name, number in (
                ("Year", moment.year),
                ("Day", moment.day),
                ("Hour", moment.hour),
                ("Minute", moment.minute),
                ("Second", moment.second),
                ("Nanosecond", self.nanoseconds % _SECOND_NS),
                ("YearDay", moment.timetuple().tm_yday),
                ("Unix", self.nanoseconds // _SECOND_NS),
                ("UnixMilli", self.nanoseconds // 1_000_000),
                ("UnixMicro", self.nanoseconds // 1_000),
                ("UnixNano", self.nanoseconds),
            )
        }
        found["Month"] = Function(lambda: f"{moment:%B}")
        found["Weekday"] = Function(lambda: f"{moment:%A}")
        found["Format"] = Function(self.format, (STRING,))
        found["String"] = Function(self.text)
        found["UTC"] = Function(lambda: GoTime(self.nanoseconds))
        found["IsZero"] = Function(lambda: self.nanoseconds == ZERO_TIME_NS)
        found["Add"] = Function(
            lambda duration: GoTime(self.nanoseconds + duration.nanoseconds, self.zone),
            ("*time.Duration",),
        )
        found["Sub"] = Function(
            lambda other: GoDuration(self.nanoseconds - other.nanoseconds), ("*time.Time",)
        )
        found["AddDate"] = Function(self._add_date, (INT, INT, INT))
        return found

    def text(self) -> str:
        """Return it as Go writes it: ``2026-01-31 12:00:00.5 +0000 UTC``."""
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def format(self, layout: str) -> str:
        """Return it written the way the moment of Go's layouts, January 2 2006, is."""
        return _LAYOUT.sub(lambda found: self._part(found[0]), layout)

    @property
    def _moment(self) -> datetime:
        moment = _EPOCH + timedelta(seconds=self.nanoseconds // _SECOND_NS)
        if self.zone is UTC:
            return moment
        try:
            return moment.astimezone(self.zone)
        except (OverflowError, ValueError):
            return moment  # at the ends of the calendar, where a zone would lead beyond

    def _part(self, part: str) -> str:
        if part[0] in ".,":
            digits = str(self.nanoseconds % _SECOND_NS).zfill(9)
            digits = digits.ljust(len(part) - 1, "0")[: len(part) - 1]
            if part[1] == "9":
                digits = digits.rstrip("0")
            return f"{part[0]}{digits}" if digits else ""
        write = _PARTS.get(part)
        if write is not None:
            return write(self._moment)
        return _offset(part, self._moment)

    def _add_date(self, years: int, months: int, days: int) -> GoTime:
        moment = self._moment
        month = moment.month - 1 + months
        year = moment.year + years + month // 12
        first = moment.replace(year=year, month=month % 12 + 1, day=1)
        shifted = first + timedelta(days=moment.day - 1 + days)
        delta = shifted - _EPOCH
        seconds = delta.days * 86_400 + delta.seconds
        return GoTime(seconds * _SECOND_NS + self.nanoseconds % _SECOND_NS, self.zone)


def _offset(part: str, moment: datetime) -> str:
    """Return a zone's distance from UTC written like a part of a layout, such as ``Z07:00``."""
    seconds = round((moment.utcoffset() or timedelta()).total_seconds())
    if part[0] == "Z":
        if not seconds:
            return "Z"
        part = f"-{part[1:]}"
    hours, rest = divmod(abs(seconds), 3600)
    fields = [f"{hours:02}", f"{rest // 60:02}", f"{rest % 60:02}"]
    colon = ":" if ":" in part else ""
    wanted = len(part.replace(":", "").replace("-", "")) // 2
    return ("-" if seconds < 0 else "+") + colon.join(fields[:wanted])


_PARTS: Final[dict[str, Callable[[datetime], str]]] = {
    "2006": lambda moment: f"{moment.year:04}",
    "06": lambda moment: f"{moment.year % 100:02}",
    "January": lambda moment: f"{moment:%B}",
    "Jan": lambda moment: f"{moment:%b}",
    "01": lambda moment: f"{moment.month:02}",
    "1": lambda moment: str(moment.month),
    "Monday": lambda moment: f"{moment:%A}",
    "Mon": lambda moment: f"{moment:%a}",
    "02": lambda moment: f"{moment.day:02}",
    "_2": lambda moment: f"{moment.day:2}",
    "2": lambda moment: str(moment.day),
    "002": lambda moment: f"{moment.timetuple().tm_yday:03}",
    "__2": lambda moment: f"{moment.timetuple().tm_yday:3}",
    "15": lambda moment: f"{moment.hour:02}",
    "03": lambda moment: f"{(moment.hour - 1) % 12 + 1:02}",
    "3": lambda moment: str((moment.hour - 1) % 12 + 1),
    "04": lambda moment: f"{moment.minute:02}",
    "4": lambda moment: str(moment.minute),
    "05": lambda moment: f"{moment.second:02}",
    "5": lambda moment: str(moment.second),
    "PM": lambda moment: "PM" if moment.hour >= 12 else "AM",
    "pm": lambda moment: "pm" if moment.hour >= 12 else "am",
    "MST": lambda moment: moment.tzname() or "UTC",
}
