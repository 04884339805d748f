"""Time as an argument: what the parts ask for, the real clock, and one that tests turn by hand."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is due once; cancelling a timer that ran or was cancelled does nothing."""

    def cancel(self) -> None:
        """Make sure the callback does not run any more."""


class Clock(Protocol):
    """The time of day, a time that never goes back, and timers on the running event loop."""

    def time(self) -> float:
        """Return Unix time in seconds."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never decreases."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once, after ``delay_s`` seconds, in an empty context.

        The context is empty on purpose: a timer armed while one message is handled must not make
        what it does later a child of that message's span.
        """

    async def sleep(self, delay_s: float) -> None:
        """Return after ``delay_s`` seconds."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    __slots__ = ()

    def time(self) -> float:
        """Return Unix time in seconds."""
        return time.time()  # noqa: TID251 - the one place that reads the real clock

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never decreases."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once, after ``delay_s`` seconds, in an empty context."""
        loop = asyncio.get_running_loop()
        return loop.call_later(delay_s, callback, context=contextvars.Context())

    async def sleep(self, delay_s: float) -> None:
        """Return after ``delay_s`` seconds."""
        await asyncio.sleep(delay_s)


class ManualClock:
    """A clock that stands still until ``advance`` moves it, for exact tests of anything timed."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        """Stand at ``start``, in Unix seconds."""
        self._start = start
        self._elapsed_ns = 0  # whole nanoseconds, so that 9 ms and 1 ms are 10 ms exactly
        self._timers: list[_ManualTimer] = []
        self._sequence = itertools.count()

    def time(self) -> float:
        """Return Unix time in seconds."""
        return self._start + self._elapsed_ns / 1e9

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return self._elapsed_ns / 1e9

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once ``advance`` has moved the clock ``delay_s`` seconds on."""
        timer = _ManualTimer(
            self._elapsed_ns + _nanoseconds(delay_s), next(self._sequence), callback
        )
        heapq.heappush(self._timers, timer)
        return timer

    async def sleep(self, delay_s: float) -> None:
        """Return once ``advance`` has moved the clock ``delay_s`` seconds on; at once for none."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(delay_s, wake)
        try:
            await woken
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Move on, run each timer at its due time, and let what it woke run before the next."""
        target = self._elapsed_ns + _nanoseconds(seconds)
        await self.settle()
        while self._timers and self._timers[0].due_ns <= target:
            timer = heapq.heappop(self._timers)
            self._elapsed_ns = max(self._elapsed_ns, timer.due_ns)
            timer.run()
            await self.settle()
        self._elapsed_ns = target

    async def settle(self) -> None:
        """Give every task that can run now the loop, until chains of a few wake-ups are through."""
        for _ in range(20):
            await asyncio.sleep(0)


class _ManualTimer:
    """An entry of ``ManualClock``: ordered by due time, then by the order of arming."""

    __slots__ = ("_callback", "_sequence", "due_ns")

    def __init__(self, due_ns: int, sequence: int, callback: Callable[[], None]) -> None:
        self.due_ns = due_ns
        self._sequence = sequence
        self._callback: Callable[[], None] | None = callback

    def __lt__(self, other: _ManualTimer) -> bool:
        return (self.due_ns, self._sequence) < (other.due_ns, other._sequence)

    def cancel(self) -> None:
        self._callback = None

    def run(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            contextvars.Context().run(callback)


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))
