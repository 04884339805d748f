"""Results of publications that had a key, so that a repetition is answered and not published."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from alerts.clock import Clock
from service.gateway.streams import StreamPosition

TTL_S: Final = 300.0
MAX_RESULTS: Final = 100_000
"""Results remembered at most; past it the oldest are forgotten early."""


class IdempotencyCache:
    """Remembers results by channel and key for five minutes."""

    def __init__(self, clock: Clock, *, max_results: int = MAX_RESULTS) -> None:
        """Start empty."""
        self._clock = clock
        self._max_results = max_results
        self._results: OrderedDict[tuple[str, str], tuple[float, StreamPosition | None]] = (
            OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Whether a publication of that channel and key is known."""
        self._expire()
        return key in self._results

    def __getitem__(self, key: tuple[str, str]) -> StreamPosition | None:
        """Return the position it was given.

        Raises:
            KeyError: It is not known.
        """
        return self._results[key][1]

    def __setitem__(self, key: tuple[str, str], position: StreamPosition | None) -> None:
        """Remember a result that is not known."""
        self._results[key] = (self._clock.monotonic() + TTL_S, position)
        if len(self._results) > self._max_results:
            self._results.popitem(last=False)

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._results and next(iter(self._results.values()))[0] <= now:
            self._results.popitem(last=False)
