"""How long runs took, counted in buckets that can be added up and kept as a short text. Pure.

The bounds of the buckets grow by a tenth each, the same for everything and for good: the counts of
two spans of time are those of both together. A percentile told from them is within 5 % of one of
the durations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

_LOG_GROWTH: Final = math.log(1.1)
_SHORTEST_S: Final = 1e-6
_LONGEST_S: Final = 1e6


def bucket_of(duration_s: float) -> int:
    """Return the number of the bucket of a duration; what is under a microsecond counts as one."""
    within_s = min(max(duration_s, _SHORTEST_S), _LONGEST_S)
    return math.floor(math.log(within_s) / _LOG_GROWTH)


@dataclass(frozen=True, slots=True)
class DurationCounts:
    """How many durations there were, by bucket."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return what texts of ``to_text``, joined by spaces, say together."""
        counts: Counter[int] = Counter()
        for entry in text.split():
            bucket, _, number = entry.partition(":")
            counts[int(bucket)] += int(number)
        return cls(dict(counts))

    def to_text(self) -> str:
        """Return them as ``bucket:count``, separated by spaces."""
        return " ".join(f"{bucket}:{number}" for bucket, number in sorted(self.counts.items()))

    @property
    def total(self) -> int:
        """How many durations there were."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """Return about the duration in seconds that a share of all did not exceed; None: of none.

        Args:
            share: Between 0 and 1.
        """
        rank = rank_of(share, self.total)
        for bucket, number in sorted(self.counts.items()):
            if rank < number:
                return math.exp((bucket + 0.5) * _LOG_GROWTH)
            rank -= number
        return None


def rank_of(share: float, total: int) -> int:
    """Return which of sorted values, counted from 0, a share of all does not exceed."""
    # Rounded first: 0.95 of 20 is 19, and not a little more.
    return max(0, math.ceil(round(share * total, 9)) - 1)
