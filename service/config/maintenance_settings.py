"""When checks say nothing: one maintenance window, once or again and again."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError
from pydantic import AfterValidator, model_validator

from service.config.section import Section
from service.config.types import PositiveDuration, contradiction

_TIME_OF_DAY: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON_EXAMPLE: Final = 'write minute, hour, day of month, month and weekday, such as "30 2 * * sat"'


def _moment(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is no date and time; write one such as 2026-12-01T02:00"
        ) from None
    return value


def _daily(value: str) -> str:
    if _TIME_OF_DAY.fullmatch(value) is None:
        raise ValueError(f'{value!r} is no time of day; write one such as "02:30"')
    return value


def _weekly(value: str) -> str:
    days, _, time = value.strip().rpartition(" ")
    names = [name.strip().lower() for name in days.split(",")]
    if _TIME_OF_DAY.fullmatch(time) is None or not set(names) <= set(_WEEKDAYS):
        raise ValueError(
            f'{value!r} is no time of a week; write days and a time, such as "sat,sun 02:30", '
            f"with the days {', '.join(_WEEKDAYS)}"
        )
    return value


def _cron(value: str) -> str:
    if len(value.split()) != 5:
        raise ValueError(f"{value!r} is no cron expression; {_CRON_EXAMPLE}")
    try:
        croniter(value, datetime(2000, 1, 1)).get_next(datetime)  # noqa: DTZ001 - without a zone
    except (CroniterError, ValueError, KeyError) as error:
        raise ValueError(f"{value!r} is no cron expression: {error}; {_CRON_EXAMPLE}") from error
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{value!r} is no time zone this machine knows; write one such as Europe/Berlin"
        ) from error
    return value


class MaintenanceSettings(Section):
    """A time in which what checks find says nothing, once or again and again."""

    name: str = ""
    """What it is for."""
    start: Annotated[str, AfterValidator(_moment)] | None = None
    """When a window that comes once begins, such as 2026-12-01T02:00; without an offset in
    `time_zone`."""
    end: Annotated[str, AfterValidator(_moment)] | None = None
    """When it ends."""
    daily: Annotated[str, AfterValidator(_daily)] | None = None
    """When it begins every day, such as "02:30"."""
    weekly: Annotated[str, AfterValidator(_weekly)] | None = None
    """When it begins every week, such as "sat,sun 02:30"."""
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    """When it begins, as minute, hour, day of month, month and weekday, such as "30 2 1 * *"."""
    duration: PositiveDuration | None = None
    """How long a window lasts that comes again and again."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """Whose clocks the times are read from, such as Europe/Berlin."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("start", "daily", "weekly", "cron") if getattr(self, key)]
        if len(given) != 1:
            says = f"has {' and '.join(given)}" if given else "does not say when it begins"
            raise contradiction(
                f"the window {says}; give it one of start, daily, weekly and cron",
                *((key,) for key in given or ("start",)),
            )
        if given == ["start"]:
            self._check_once()
        elif self.end is not None:
            raise contradiction("a window that comes again has a duration, no end", ("end",))
        elif self.duration is None:
            raise contradiction(
                f"say how long the window lasts: {given[0]} goes with a duration", (given[0],)
            )
        return self

    def _check_once(self) -> None:
        if self.end is None or self.duration is not None:
            raise contradiction(
                "a window that comes once has start and end, and no duration", ("start",)
            )
        start, end = (datetime.fromisoformat(text) for text in (self.start or "", self.end))
        if (start.tzinfo is None) != (end.tzinfo is None):
            raise contradiction(
                "start and end both have an offset, or both are in time_zone",
                ("end",),
                ("start",),
            )
        if end <= start:
            raise contradiction("the window ends before it begins", ("end",), ("start",))

    @property
    def expression(self) -> str:
        """The cron expression of a window that comes again and again."""
        if self.cron is not None:
            return self.cron
        days, _, time = (f"* {self.daily}" if self.daily else self.weekly or "").rpartition(" ")
        hour, _, minute = time.partition(":")
        return f"{int(minute)} {int(hour)} * * {days.replace(' ', '').lower()}"
