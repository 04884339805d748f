"""A limit of so many a second, with as many at once."""

from __future__ import annotations

from enum import Enum, auto


class Verdict(Enum):
    """What becomes of one more."""

    TAKEN = auto()
    REFUSED = auto()
    """Past the limit."""
    HOSTILE = auto()
    """Past twice the limit: refusals do not slow it down."""


class RateLimit:
    """A bucket that fills with time; what is refused takes from it too."""

    __slots__ = ("_left", "_per_second", "_seen_at")

    def __init__(self, per_second: int, now: float) -> None:
        """Start full; 0 is no limit.

        Args:
            per_second: How many a second, and how many at once.
            now: Monotonic seconds.
        """
        self._per_second = per_second
        self._left = float(per_second)
        self._seen_at = now

    def take(self, now: float) -> Verdict:
        """Count one more at a time in monotonic seconds."""
        limit = self._per_second
        if not limit:
            return Verdict.TAKEN
        left = min(float(limit), self._left + (now - self._seen_at) * limit)
        self._seen_at = now
        self._left = max(left - 1.0, -float(limit))
        if left >= 1.0:
            return Verdict.TAKEN
        return Verdict.REFUSED if left - 1.0 > -limit else Verdict.HOSTILE
