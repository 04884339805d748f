"""Time intervals of Alertmanager: times of day, weekdays, days of the month, months, years."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A recurring part of time; fields are ANDed, the ranges inside a field ORed."""

    def contains(self, moment_ms: int) -> bool:
        """Whether a moment, in Unix milliseconds, lies inside."""
        raise NotImplementedError(moment_ms)
