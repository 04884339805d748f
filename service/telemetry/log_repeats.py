"""Log lines that come again and again: so many of a kind in a while, the rest is counted.

What a stranger, a back end or a defect can cause a thousand times a second is written a bounded
number of times. Lines are of a kind when logger, level and message template are the same, whatever
is filled in. What was left out is told in a line of its own, with the first line of any kind after
the while.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from alerts.clock import Clock

PERIOD_S: Final = 10.0
"""How long lines of a kind are counted together, in seconds, from the first of them."""

_MAX_KINDS: Final = 1000
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")

_Kind = tuple[str, int, str]


@dataclass(slots=True)
class LogStats:
    """Plain counts, read when metrics are collected.

    Attributes:
        records: Records that were logged, by level, those left out included.
        left_out: Records that were counted only, by level.
    """

    records: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_LEVELS, 0))
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_LEVELS, 0))


@dataclass(slots=True)
class _Lines:
    until_s: float
    written: int = 0
    left_out: int = 0


class RepeatsHandler(logging.Handler):
    """Passes records on to other handlers, but of each kind so many in a while only.

    Attributes:
        stats: Counts.
    """

    def __init__(self, handlers: Sequence[logging.Handler], clock: Clock, *, limit: int) -> None:
        """Stand before ``handlers``.

        Args:
            handlers: Get what is not left out.
            clock: Measures the while.
            limit: Lines of a kind in ``PERIOD_S``; 0: as many as come.
        """
        super().__init__()
        self.stats: Final = LogStats()
        self._handlers = tuple(handlers)
        self._clock = clock
        self._limit = limit
        # In the order they began, which is the order they end.
        self._kinds: OrderedDict[_Kind, _Lines] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, or count it."""
        level = record.levelname.lower()
        self.stats.records[level] = self.stats.records.get(level, 0) + 1
        if self._limit and not self._admit(record):
            self.stats.left_out[level] = self.stats.left_out.get(level, 0) + 1
            return
        self._pass_on(record)

    def tell_all(self) -> None:
        """Say what was left out up to now, for the end of the log."""
        self.acquire()
        try:
            while self._kinds:
                self._tell_first()
        finally:
            self.release()

    def _admit(self, record: logging.LogRecord) -> bool:
        now_s = self._clock.monotonic()
        while self._kinds and next(iter(self._kinds.values())).until_s <= now_s:
            self._tell_first()
        kind = (record.name, record.levelno, str(record.msg))
        lines = self._kinds.get(kind)
        if lines is None:
            if len(self._kinds) >= _MAX_KINDS:
                self._tell_first()
            lines = self._kinds[kind] = _Lines(now_s + PERIOD_S)
        if lines.written >= self._limit:
            lines.left_out += 1
            return False
        lines.written += 1
        return True

    def _tell_first(self) -> None:
        """Forget the kind that began first, and say how many of its lines were left out."""
        (name, level, message), lines = self._kinds.popitem(last=False)
        if not lines.left_out:
            return
        text = "… repeated %d times: %s"
        self._pass_on(logging.LogRecord(name, level, "", 0, text, (lines.left_out, message), None))

    def _pass_on(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
