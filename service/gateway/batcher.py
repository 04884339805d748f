"""Gathers items into batches and hands them to a sink, in order, losing none in silence.

A batcher that is idle sends what it is given in one go at once, and gathers only while items keep
coming, so that batching costs a quiet source no latency and a busy one little work per item.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Generic, NamedTuple, TypeVar

from alerts.clock import Clock, Timer
from service.errors import GatewatchError

Item = TypeVar("Item")


class BatcherError(GatewatchError):
    """Base of what a batcher raises."""


class BatcherFullError(BatcherError):
    """``max_pending`` items are waiting; use ``add`` to wait for room."""


class BatcherClosedError(BatcherError):
    """The batcher was closed; the item was not taken."""


class FlushReason(StrEnum):
    """Why a batch was sent."""

    EAGER = "eager"
    COUNT = "count"
    BYTES = "bytes"
    DELAY = "delay"
    DEMAND = "demand"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a batch is sent.

    Attributes:
        max_messages: Items in a batch.
        max_bytes: Bytes in a batch; a larger item goes alone.
        max_delay_s: How long an item may wait for others.
        eager: Whether an idle batcher sends its first items as soon as the loop is yielded to.
        max_pending: Items taken and not sent yet, beyond which ``add`` waits.
    """

    max_messages: int = 100
    max_bytes: int = 65536
    max_delay_s: float = 0.010
    eager: bool = True
    max_pending: int = 10_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failing sink is tried again, and the waits between.

    Attributes:
        attempts: Tries in all; 1 means no second one.
        base_s: Upper bound of the first wait; it doubles with each further one.
        cap_s: Upper bound of every wait. The wait is drawn evenly from 0 to the bound.
    """

    attempts: int = 1
    base_s: float = 0.1
    cap_s: float = 5.0

    def wait_s(self, failures: int, random: Random) -> float:
        """Return how long to wait after so many failures."""
        return random.uniform(0, min(self.cap_s, self.base_s * 2 ** (failures - 1)))


@dataclass(slots=True)
class BatcherStats:
    """Counts since the start; several batchers may share one.

    Attributes:
        items: Items taken.
        batches: Batches sent.
        bytes: Bytes of the items in sent batches.
        pending: Items taken and not sent yet.
        waited_s: Sum over sent batches of the time their oldest item waited.
        retries: Tries after a failed one.
        failed_items: Items that went to the error handler or were left at close.
        flushes: Batches sent, by reason.
    """

    items: int = 0
    batches: int = 0
    bytes: int = 0
    pending: int = 0
    waited_s: float = 0.0
    retries: int = 0
    failed_items: int = 0
    flushes: dict[FlushReason, int] = field(default_factory=lambda: dict.fromkeys(FlushReason, 0))


class Batch(NamedTuple, Generic[Item]):
    """Items on their way to the sink; a tuple, as one may be made for each item.

    Attributes:
        items: In the order they were added.
        size_bytes: Sum of their sizes.
        reason: Why the batch is sent now.
        waited_s: How long the oldest item waited.
    """

    items: tuple[Item, ...]
    size_bytes: int
    reason: FlushReason
    waited_s: float


Sink = Callable[[Batch[Item]], Awaitable[None] | None]
"""Sends a batch. A sink that is done when it returns gives None and costs no task."""

ErrorHandler = Callable[[Batch[Item], Exception], None]
"""Receives a batch whose sink failed for good, with the last error."""


class MessageBatcher(Generic[Item]):
    """Batches items for one sink; belongs to the event loop it is used on.

    One batch is under way at a time, so order is kept whatever the sink does.
    """

    __slots__ = (
        "_abandoned",
        "_attempt",
        "_bytes",
        "_clock",
        "_closing",
        "_granted",
        "_in_flight",
        "_last_flush",
        "_limits",
        "_loop",
        "_on_error",
        "_random",
        "_retry",
        "_sending",
        "_settled",
        "_sink",
        "_size_of",
        "_taken",
        "_timer",
        "_waiters",
        "_waiting",
        "stats",
    )

    def __init__(
        self,
        sink: Sink[Item],
        *,
        size_of: Callable[[Item], int],
        on_error: ErrorHandler[Item],
        clock: Clock,
        limits: BatchLimits = BatchLimits(),
        retry: RetryPolicy = RetryPolicy(),
        random: Random | None = None,
        stats: BatcherStats | None = None,
    ) -> None:
        """Make an idle batcher.

        Args:
            sink: Where batches go.
            size_of: Bytes of an item.
            on_error: Told of every batch the sink could not send.
            clock: Time and timers.
            limits: When to send.
            retry: How to treat a failing sink.
            random: Source of retry jitter.
            stats: Where to count; shared when given.
        """
        self._sink = sink
        self._size_of = size_of
        self._on_error = on_error
        self._clock = clock
        self._limits = limits
        self._retry = retry
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self.stats = stats or BatcherStats()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Item, int, float]] = deque()
        self._bytes = 0
        self._taken = 0
        self._settled = 0
        self._in_flight: Batch[Item] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._attempt: Awaitable[None] | None = None
        self._timer: Timer | None = None
        self._last_flush = float("-inf")
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._granted = 0
        self._closing = False
        self._abandoned = False

    @property
    def pending(self) -> int:
        """Items taken and not sent yet, those under way included."""
        return self._taken - self._settled

    def add_nowait(self, item: Item) -> None:
        """Take an item.

        Raises:
            BatcherFullError: There is no room.
            BatcherClosedError: The batcher is closed.
        """
        if not self._has_room():
            raise BatcherFullError(f"{self._limits.max_pending} items are waiting to be sent")
        self._accept(item)

    async def add(self, item: Item) -> None:
        """Take an item, waiting while there is no room; waiting callers are served in order.

        Raises:
            BatcherClosedError: The batcher is, or was meanwhile, closed.
        """
        if not self._has_room():
            await self._wait_for_room()
        self._accept(item)

    def add_threadsafe(self, item: Item) -> concurrent.futures.Future[None]:
        """Take an item from any thread; the future is done when the item is taken.

        Waiting for the future gives the thread the same backpressure as ``add``.
        """
        return asyncio.run_coroutine_threadsafe(self.add(item), self._loop)

    def flush_nowait(self, reason: FlushReason = FlushReason.DEMAND) -> None:
        """Start sending everything that waits, without waiting for the sink."""
        while self._waiting and self._sending is None and not self._abandoned:
            self._send(reason)

    async def flush(self) -> None:
        """Send everything taken so far; return when the sink has it or has failed for good."""
        target = self._taken
        while self._settled < target and not self._abandoned:
            self.flush_nowait()
            if self._sending is not None:
                await asyncio.wait({self._sending})

    async def aclose(self, timeout_s: float) -> tuple[Item, ...]:
        """Take nothing more, send what waits within ``timeout_s``, and return what was not sent.

        Items of a batch that was under way at the deadline are returned too: whether the sink
        had already passed them on cannot be known.
        """
        self._closing = True
        self._cancel_timer()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(BatcherClosedError("the batcher was closed meanwhile"))
        self._waiters.clear()
        deadline = self._clock.call_later(timeout_s, self._abandon)
        try:
            while self.pending and not self._abandoned:
                self.flush_nowait(FlushReason.CLOSE)
                if self._sending is not None:
                    await asyncio.wait({self._sending})
        finally:
            deadline.cancel()
            self._abandon()
        return self._leave()

    def _has_room(self) -> bool:
        if self._closing:
            raise BatcherClosedError("the batcher is closed")
        return not self._waiters and self.pending + self._granted < self._limits.max_pending

    async def _wait_for_room(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # Room was granted in the same moment: pass it on.
                self._granted -= 1
                self._grant_room()
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        self._granted -= 1

    def _grant_room(self) -> None:
        while self._waiters and self.pending + self._granted < self._limits.max_pending:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._granted += 1
                waiter.set_result(None)

    def _accept(self, item: Item) -> None:
        if self._closing:
            raise BatcherClosedError("the batcher was closed meanwhile")
        size = self._size_of(item)
        if self._waiting and self._bytes + size > self._limits.max_bytes:
            self.flush_nowait(FlushReason.BYTES)
        now = self._clock.monotonic()
        self._waiting.append((item, size, now))
        self._bytes += size
        self._taken += 1
        self.stats.items += 1
        self.stats.pending += 1
        if self._sending is None:
            self._consider(now)

    def _consider(self, now: float) -> None:
        """Send, or arm the timer, by what waits now; called while the sink is free."""
        limits = self._limits
        while self._sending is None:
            if len(self._waiting) >= limits.max_messages:
                self._send(FlushReason.COUNT)
            elif self._bytes >= limits.max_bytes:
                self._send(FlushReason.BYTES)
            else:
                break
        if self._sending is not None or not self._waiting or self._timer is not None:
            return
        oldest = self._waiting[0][2]
        # A window lasts from one flush to the next; whoever comes after it has ended is not held.
        due = (self._last_flush if limits.eager else oldest) + limits.max_delay_s
        if limits.eager and due <= now:
            if oldest < now:
                self.flush_nowait(FlushReason.DELAY)
            else:
                # Not yet: whoever has several items adds the others before it yields to the loop.
                # An empty context: the batch is not part of what its first item was handled in.
                self._timer = self._loop.call_soon(self._on_yield, context=contextvars.Context())
        else:
            self._timer = self._clock.call_later(due - now, self._on_timer)

    def _on_yield(self) -> None:
        self._timer = None
        self.flush_nowait(FlushReason.EAGER)

    def _on_timer(self) -> None:
        self._timer = None
        self.flush_nowait(FlushReason.DELAY)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self, reason: FlushReason) -> Batch[Item]:
        self._cancel_timer()
        now = self._clock.monotonic()
        oldest = self._waiting[0][2]
        items: list[Item] = []
        size = 0
        while self._waiting and len(items) < self._limits.max_messages:
            item, item_size, _ = self._waiting[0]
            if items and size + item_size > self._limits.max_bytes:
                break
            self._waiting.popleft()
            items.append(item)
            size += item_size
        self._bytes -= size
        self._last_flush = now
        return Batch(tuple(items), size, reason, now - oldest)

    def _send(self, reason: FlushReason) -> None:
        batch = self._take(reason)
        self._in_flight = batch
        try:
            attempt = self._sink(batch)
        except Exception as error:  # noqa: BLE001 - a sink may raise anything: retried or handed on
            attempt = _raise(error)
        if attempt is None:
            # A sink that kept the loop busy let nobody add an item meanwhile.
            self._last_flush = self._clock.monotonic()
            self._sent(batch)
            return
        self._attempt = attempt
        # An empty context: the batch is not part of whatever its first item was handled in.
        self._sending = self._loop.create_task(
            self._finish(batch, attempt), context=contextvars.Context()
        )
        self._sending.add_done_callback(self._on_finished)

    async def _finish(self, batch: Batch[Item], attempt: Awaitable[None]) -> None:
        failures = 0
        while True:
            try:
                await attempt
            except Exception as error:  # noqa: BLE001 - see _send
                failures += 1
                if failures >= self._retry.attempts:
                    self._failed(batch, error)
                    return
            else:
                self._sent(batch)
                return
            self.stats.retries += 1
            await self._clock.sleep(self._retry.wait_s(failures, self._random))
            attempt = self._send_again(batch)

    async def _send_again(self, batch: Batch[Item]) -> None:
        attempt = self._sink(batch)
        if attempt is not None:
            await attempt

    def _sent(self, batch: Batch[Item]) -> None:
        stats = self.stats
        stats.batches += 1
        stats.bytes += batch.size_bytes
        stats.waited_s += batch.waited_s
        stats.flushes[batch.reason] += 1
        self._settle(batch)

    def _failed(self, batch: Batch[Item], error: Exception) -> None:
        self.stats.failed_items += len(batch.items)
        self._settle(batch)
        self._on_error(batch, error)

    def _settle(self, batch: Batch[Item]) -> None:
        self.stats.pending -= len(batch.items)
        self._settled += len(batch.items)
        self._in_flight = None
        if self._waiters:
            self._grant_room()

    def _on_finished(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        if asyncio.iscoroutine(self._attempt):
            self._attempt.close()  # cancelled before its first step, it would never be awaited
        self._attempt = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Only the error handler can have raised; that must not stop the batcher.
            context = {"message": "the error handler of a batcher raised", "exception": error}
            self._loop.call_exception_handler(context)
        if not self._closing:
            self._consider(self._clock.monotonic())

    def _abandon(self) -> None:
        self._abandoned = True
        if self._sending is not None:
            self._sending.cancel()

    def _leave(self) -> tuple[Item, ...]:
        under_way = self._in_flight.items if self._in_flight else ()
        left = (*under_way, *(item for item, _, _ in self._waiting))
        self._in_flight = None
        self._waiting.clear()
        self._bytes = 0
        self._settled += len(left)
        self.stats.pending -= len(left)
        self.stats.failed_items += len(left)
        return left


async def _raise(error: Exception) -> None:
    raise error
