"""A few threads for requests that compute: off the event loop, bounded, given up when nobody waits.

A request that is given up ends for its client at once; its thread is free again when the work
has looked at its limits, which the engine does between the nodes of a plan.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

from alerts.api.errors import APIError
from alerts.clock import Clock
from alerts.promql.limits import QueryLimits

T = TypeVar("T")

_LOOK_INTERVAL_S: Final = 0.25
"""How often it is looked whether the client is still there; its leaving wakes nobody."""


class QueryPool:
    """Runs work in threads of its own; an async context manager.

    Args:
        clock: Measures the time limits.
        threads: How much runs at the same time.
        max_waiting: How much waits for a thread; more is refused.
        timeout_s: How long a request may take, waiting included, in seconds.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        threads: int = 2,
        max_waiting: int = 32,
        timeout_s: float = 120.0,
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._places = threads + max_waiting
        self._taken: set[threading.Event] = set()
        self._closed = False
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="queries")

    @property
    def taken(self) -> int:
        """How much runs or waits."""
        return len(self._taken)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Refuse new work, cancel what is there and wait for it to stop."""
        self._closed = True
        for cancelled in tuple(self._taken):
            cancelled.set()
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    async def run(
        self,
        work: Callable[[QueryLimits], T],
        *,
        timeout_s: float | None = None,
        is_abandoned: Callable[[], bool] = lambda: False,
    ) -> T:
        """Run work in a thread and return what it returns.

        Args:
            work: Takes the limits it has to keep to.
            timeout_s: A shorter time limit than the pool's.
            is_abandoned: Tells whether the client has gone.

        Raises:
            APIError: There is no place to wait, the time is over, or the client has gone.
        """
        if self._closed or len(self._taken) >= self._places:
            reason = "shutting down" if self._closed else "too many queries are waiting; try later"
            raise APIError("unavailable", reason)
        limit_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        cancelled = threading.Event()
        job = self._submit(work, self._clock.monotonic() + limit_s, cancelled)
        given_up: asyncio.Future[APIError] = asyncio.get_running_loop().create_future()

        def give_up(error: APIError) -> None:
            if not given_up.done():
                given_up.set_result(error)

        def expire() -> None:
            give_up(APIError("timeout", "query timed out in expression evaluation"))

        def look() -> None:
            if is_abandoned():
                give_up(APIError("canceled", "query was canceled: the client has gone"))
            else:
                timers[1] = self._clock.call_later(_LOOK_INTERVAL_S, look)

        timers = [
            self._clock.call_later(limit_s, expire),
            self._clock.call_later(_LOOK_INTERVAL_S, look),
        ]
        answer = asyncio.wrap_future(job)
        try:
            await asyncio.wait((answer, given_up), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise given_up.result()
            if answer.cancelled():
                raise APIError("unavailable", "shutting down")
            return answer.result()
        finally:
            for timer in timers:
                timer.cancel()
            cancelled.set()
            answer.cancel()  # a job that waits for its thread does not start any more

    def _submit(
        self, work: Callable[[QueryLimits], T], deadline_s: float, cancelled: threading.Event
    ) -> Future[T]:
        def run() -> T:
            if cancelled.is_set():
                raise APIError("unavailable", "shutting down")
            left_s = deadline_s - self._clock.monotonic()
            return work(QueryLimits(timeout_s=left_s, cancelled=cancelled))

        job = self._executor.submit(run)
        self._taken.add(cancelled)
        # A place is free when the thread is, not already when the client has been answered.
        job.add_done_callback(lambda _job: self._taken.discard(cancelled))
        return job
