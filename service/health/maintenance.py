"""Maintenance windows: when what a check finds says nothing. Pure; time comes as an argument.

Recurring windows begin by the clock on the wall of a time zone and last as long as they say in
real time. Where the clock is put forward over a beginning, the window begins at that moment; where
it is put back and a beginning comes twice, the window begins the first time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from service.config.maintenance_settings import MaintenanceSettings

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A piece of time, in Unix milliseconds; the end is outside.

    Attributes:
        start_ms: Its first moment.
        end_ms: The first moment behind it.
        name: What it is for; may be empty.
    """

    start_ms: int
    end_ms: int
    name: str = ""


class Window(Protocol):
    """A maintenance window, once or again and again."""

    def latest(self, at_ms: int) -> Period | None:
        """Return the period that began last by a moment; None: none has begun."""

    def next_start(self, at_ms: int) -> int | None:
        """Return when the first period after a moment begins; None: there is none."""


@dataclass(frozen=True, slots=True)
class OnceWindow:
    """A window that comes once. A ``Window``."""

    period: Period

    def latest(self, at_ms: int) -> Period | None:
        """Return the period once it has begun."""
        return self.period if self.period.start_ms <= at_ms else None

    def next_start(self, at_ms: int) -> int | None:
        """Return when it begins until it has."""
        return self.period.start_ms if at_ms < self.period.start_ms else None


@dataclass(frozen=True, slots=True)
class CronWindow:
    """A window that begins whenever a cron expression says. A ``Window``.

    Attributes:
        expression: Five fields: minute, hour, day of month, month, weekday (0 and 7: Sunday).
        zone: Whose clock on the wall it goes by.
        duration_ms: How long each period lasts.
        name: What it is for; may be empty.
    """

    expression: str
    zone: ZoneInfo
    duration_ms: int
    name: str = ""

    def latest(self, at_ms: int) -> Period | None:
        """Return the period that began last."""
        wall = self._wall(at_ms)
        # While the wall shows times again, all of them have begun the first time.
        shown_again = _offset(wall.replace(fold=0)) - _offset(wall)
        beginnings = croniter(self.expression, _naive(wall) + shown_again + _MILLISECOND)
        while True:
            try:
                start_ms = moment_of(beginnings.get_prev(datetime), self.zone)
            except CroniterError:
                return None
            if start_ms <= at_ms:
                return Period(start_ms, start_ms + self.duration_ms, self.name)

    def next_start(self, at_ms: int) -> int | None:
        """Return when the next period begins."""
        beginnings = croniter(self.expression, _naive(self._wall(at_ms)))
        while True:
            try:
                start_ms = moment_of(beginnings.get_next(datetime), self.zone)
            except CroniterError:
                return None
            if start_ms > at_ms:
                return start_ms

    def _wall(self, at_ms: int) -> datetime:
        return (_EPOCH + at_ms * _MILLISECOND).astimezone(self.zone)


def moment_of(wall: datetime, zone: ZoneInfo) -> int:
    """Return the moment at which a wall first shows a time, or the clock jumps over it.

    Args:
        wall: The time, without a zone.
        zone: Where the wall is.
    """
    local = wall.replace(tzinfo=zone, fold=0)
    moment = local.astimezone(UTC)
    if _naive(moment.astimezone(zone)) != wall:
        moment = _end_of_gap(local)
    return (moment - _EPOCH) // _MILLISECOND


def _naive(wall: datetime) -> datetime:
    return wall.replace(tzinfo=None, fold=0)


def _offset(wall: datetime) -> timedelta:
    return wall.utcoffset() or timedelta(0)


def _end_of_gap(missing: datetime) -> datetime:
    """Return the moment the clock is put forward over a time that its wall never shows."""
    # Read with the offset before the change the time lies behind it, with the one after before it.
    late = missing.astimezone(UTC)
    early = missing.replace(fold=1).astimezone(UTC)
    before = missing.utcoffset()
    while late - early > _MILLISECOND:
        middle = early + (late - early) / 2
        if middle.astimezone(missing.tzinfo).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=late.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class Maintenance:
    """All windows of a check.

    Attributes:
        windows: Those of all checks and its own.
    """

    windows: tuple[Window, ...] = ()

    def open_at(self, at_ms: int) -> Period | None:
        """Return the open period that ends last; None: no window is open."""
        periods = (window.latest(at_ms) for window in self.windows)
        found = [period for period in periods if period is not None and at_ms < period.end_ms]
        return max(found, key=lambda period: period.end_ms, default=None)

    def next_change(self, at_ms: int) -> int | None:
        """Return the next moment a window opens or closes; None: never."""
        return min(self._changes(at_ms), default=None)

    def _changes(self, at_ms: int) -> Iterable[int]:
        for window in self.windows:
            period = window.latest(at_ms)
            if period is not None and at_ms < period.end_ms:
                yield period.end_ms
            start_ms = window.next_start(at_ms)
            if start_ms is not None:
                yield start_ms


def configured_maintenance(settings: Sequence[MaintenanceSettings]) -> Maintenance:
    """Return the windows that settings describe."""
    return Maintenance(tuple(_configured_window(each) for each in settings))


def _configured_window(settings: MaintenanceSettings) -> Window:
    zone = ZoneInfo(settings.time_zone)
    if settings.start is not None and settings.end is not None:
        start_ms, end_ms = (
            _given_moment(datetime.fromisoformat(text), zone)
            for text in (settings.start, settings.end)
        )
        return OnceWindow(Period(start_ms, end_ms, settings.name))
    return CronWindow(
        settings.expression, zone, round((settings.duration or 0.0) * 1000), settings.name
    )


def _given_moment(given: datetime, zone: ZoneInfo) -> int:
    if given.tzinfo is not None:
        return (given - _EPOCH) // _MILLISECOND
    return moment_of(given, zone)
