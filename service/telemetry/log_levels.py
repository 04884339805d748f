"""How much is logged: the level of the settings, and exceptions for a logger or for a while."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Literal, get_args

from alerts.clock import Clock, Timer

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

ROOT: Final = ""
"""Name of the logger that all others take their level from."""

# Libraries that tell every step of theirs at level info; heard below warning at level debug only.
_CHATTY_LOGGERS: Final = ("alembic", "apscheduler")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LevelOverride:
    """A level that was set while the process ran.

    Attributes:
        level: What is logged at least.
        until_s: When it ends, in Unix time; None: it stays until it is taken back.
    """

    level: Level
    until_s: float | None


class LogLevels:
    """Sets the levels of loggers; what it changed it puts back.

    Belongs to the event loop: overrides end by a timer.
    """

    def __init__(self, level: Level, clock: Clock) -> None:
        """Prepare a level; nothing changes until ``install``."""
        self._level: Level = level
        self._clock = clock
        self._overrides: dict[str, LevelOverride] = {}
        self._timers: dict[str, Timer] = {}
        self._before: dict[str, int] = {}
        self._installed = False

    @property
    def level(self) -> Level:
        """The level of the settings."""
        return self._level

    @property
    def overrides(self) -> dict[str, LevelOverride]:
        """What was set at run time, by logger; the root logger is the empty name."""
        return self._overrides.copy()

    def install(self) -> None:
        """Put the level into effect; does nothing the second time."""
        if not self._installed:
            self._installed = True
            for name in (ROOT, *_CHATTY_LOGGERS):
                self._remember(name)
            self._apply()

    def restore(self) -> None:
        """Put back the levels that were there before ``install``."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._overrides.clear()
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        self._before.clear()
        self._installed = False

    def change(self, level: Level) -> None:
        """Take another level as that of the settings; overrides stay."""
        if level != self._level:
            self._level = level
            self._apply()
            _logger.info("the log level is %s now", level)

    def override(self, name: str, level: Level, duration_s: float | None = None) -> None:
        """Set the level of a logger and those below it.

        Args:
            name: The logger; ``ROOT``: all that have no level of their own.
            level: What is logged at least.
            duration_s: For how long, in seconds; None: until it is taken back.
        """
        self._cancel(name)
        self._remember(name)
        until_s = None
        if duration_s is not None:
            until_s = self._clock.time() + duration_s
            self._timers[name] = self._clock.call_later(duration_s, lambda: self.take_back(name))
        self._overrides[name] = LevelOverride(level, until_s)
        self._apply()
        _logger.info("the log level of %s is %s now", name or "everything", level)

    def take_back(self, name: str) -> None:
        """End an override; a logger without one is left as it is."""
        self._cancel(name)
        if self._overrides.pop(name, None) is None:
            return
        if name not in (ROOT, *_CHATTY_LOGGERS):
            logging.getLogger(name).setLevel(self._before[name])
        self._apply()
        _logger.info("the log level of %s is as it was", name or "everything")

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _remember(self, name: str) -> None:
        self._before.setdefault(name, logging.getLogger(name).level)

    def _apply(self) -> None:
        if not self._installed:
            return
        base = _number(self._level)
        quiet = base if base <= logging.DEBUG else max(base, logging.WARNING)
        levels = {ROOT: base, **dict.fromkeys(_CHATTY_LOGGERS, quiet)}
        levels |= {name: _number(each.level) for name, each in self._overrides.items()}
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _number(level: Level) -> int:
    number: int = logging.getLevelNamesMapping()[level.upper()]
    return number
