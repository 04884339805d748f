"""A time limit on a block of code, by the clock the block's owner was given."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from alerts.clock import Clock, Timer


class Deadline:
    """``asyncio.timeout`` on a ``Clock``: the block is cancelled when its time is over.

    Args:
        clock: Measures the time.
        seconds: How long the block may take; None: as long as it likes.

    Raises:
        TimeoutError: From the ``async with`` statement, when the time was over.
    """

    __slots__ = ("_cancelling", "_clock", "_seconds", "_task", "_timer", "expired")

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self.expired = False
        """Whether the time was over before the block ended."""
        self._clock = clock
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._timer: Timer | None = None
        self._cancelling = 0

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel; use it inside one")
        self._task = task
        self._cancelling = task.cancelling()
        if self._seconds is not None:
            self._timer = self._clock.call_later(self._seconds, self._expire)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # The cancellation is taken back in any case, or a later await would see it; it becomes a
        # TimeoutError only if nobody else cancelled the task meanwhile.
        if self.expired and self._task is not None:
            ours_alone = self._task.uncancel() <= self._cancelling
            if ours_alone and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error

    def _expire(self) -> None:
        self.expired = True
        if self._task is not None:
            self._task.cancel()
