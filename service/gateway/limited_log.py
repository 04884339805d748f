"""A log that strangers can write into: so many lines in a while, the rest is counted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from alerts.clock import Clock

_LINES: Final = 20
_PERIOD_S: Final = 10.0


class LimitedLog:
    """Writes lines that a client can cause, and never more than a bounded number of them.

    What was left out is told with the first line of a later period.

    Args:
        logger: Where lines go.
        clock: Measures the periods.
        lines: How many lines a period may have.
        period_s: How long a period is, in seconds, from its first line.
    """

    def __init__(
        self,
        logger: logging.Logger,
        clock: Clock,
        *,
        lines: int = _LINES,
        period_s: float = _PERIOD_S,
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._lines = lines
        self._period_s = period_s
        self._began_s = -period_s
        self._written = 0
        self._left_out = 0

    def write(
        self,
        level: int,
        message: str,
        *details: object,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Write a line at a level, or count it.

        Args:
            level: As in ``logging``.
            message: A format with ``%s``.
            details: What goes into it.
            extra: Attributes of the record.
        """
        now_s = self._clock.monotonic()
        if now_s - self._began_s >= self._period_s:
            if self._left_out:
                self._logger.log(level, "%d more lines like the next were left out", self._left_out)
            self._began_s, self._written, self._left_out = now_s, 0, 0
        if self._written >= self._lines:
            self._left_out += 1
            return
        self._written += 1
        self._logger.log(level, message, *details, extra=extra)
