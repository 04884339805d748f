"""How often a receiver may be asked: never more than so many requests in any period.

A window that slides, rather than a bucket that fills: right after a burst a bucket lets nearly
twice its size through within one period, which some receivers answer with minutes of silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from alerts.clock import Clock
from alerts.notify.definition import Pace

_LEAST_S: Final = 1e-6
"""Shorter waits are what rounding left."""


@runtime_checkable
class Paced(Protocol):
    """A channel that may have to wait before it sends."""

    def ready_in_s(self) -> float:
        """Return how long until the next request may be made, in seconds."""


class Pacer:
    """Counts the requests made to one receiver."""

    def __init__(self, paces: Sequence[Pace], clock: Clock) -> None:
        self._windows = [(pace, deque[float](maxlen=pace.requests)) for pace in paces]
        self._clock = clock

    def ready_in_s(self) -> float:
        """Return how long until the next request may be made, in seconds."""
        now_s = self._clock.monotonic()
        delay_s = max(
            (
                made[0] + pace.period_s - now_s
                for pace, made in self._windows
                if len(made) == pace.requests
            ),
            default=0.0,
        )
        return delay_s if delay_s > _LEAST_S else 0.0

    def take(self) -> None:
        """Count a request that is made now."""
        now_s = self._clock.monotonic()
        for _, made in self._windows:
            made.append(now_s)

    async def turn(self) -> None:
        """Return when the next request may be made, and count it."""
        while (delay_s := self.ready_in_s()) > 0:
            await self._clock.sleep(delay_s)
        self.take()


class Pacers:
    """The pacers of all channels; those that send to the same place share one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pacers: dict[tuple[str, str], Pacer] = {}

    def pacer(self, kind: str, place: str, paces: Sequence[Pace]) -> Pacer:
        """Return the pacer of a place.

        Args:
            kind: Name of the channel.
            place: What tells receivers of the same channel apart; may be a hash of secrets.
            paces: How often it may be asked.
        """
        key = (kind, place)
        found = self._pacers.get(key)
        if found is None:
            found = self._pacers[key] = Pacer(paces, self._clock)
        return found
