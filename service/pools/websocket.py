"""The open client connections: how many there may be, which are alive, and how they end.

The manager knows nothing of the protocol spoken on a connection; it asks the connection to ping
and to close, and is told the codes to close with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, Self, TypeVar

from alerts.clock import Clock
from service.pools.errors import PoolError

_SWEEP_SLICE: Final = 256
_CLOSE_STEP_S: Final = 0.1
_LEAST_CLOSES: Final = 100
"""Connections that are closed at once at the end, however long the rest is given."""


@dataclass(frozen=True, slots=True)
class CloseReason:
    """A WebSocket close code and the words that go with it.

    The words are plain text under 124 bytes: one client library reads JSON there as orders.
    """

    code: int
    reason: str


class AdmissionError(PoolError):
    """No further connection is taken now.

    Attributes:
        cause: ``limit`` when all places are taken, ``draining`` when the process is stopping.
    """

    def __init__(self, cause: str, message: str) -> None:
        self.cause = cause
        super().__init__(message)


class ManagedConnection(Protocol):
    """What the manager needs to know of a connection, and may ask of it.

    Attributes:
        id: Unique among the connections of the process.
        opened_at: Monotonic seconds at which it was opened.
        last_activity: Monotonic seconds of the last traffic in either direction.
        awaiting_pong_since: Monotonic seconds of the unanswered ping; None when there is none.
        bytes_in: Bytes received.
        bytes_out: Bytes handed to the transport.
        messages_in: Frames received.
        messages_out: Messages delivered.
    """

    id: str
    opened_at: float
    last_activity: float
    awaiting_pong_since: float | None
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int

    @property
    def queued_bytes(self) -> int:
        """Bytes the peer has not taken yet."""

    def ping(self) -> None:
        """Ask for a sign of life; does not wait for it."""

    def close(self, reason: CloseReason) -> None:
        """Start to close; returns at once, and closing twice is harmless."""

    def abort(self) -> None:
        """Drop the connection without a word."""


Connection = TypeVar("Connection", bound=ManagedConnection)


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """Limits of the manager and the codes it closes with.

    Attributes:
        max_connections: Open connections at most.
        idle_timeout_s: Silence in both directions after which a connection is closed.
        pong_timeout_s: How long a ping may stay unanswered.
        ping_after_s: Silence after which the sweep pings.
        large_queue_bytes: A connection for which more waits is counted as one that lags behind.
        idle: Said to connections that were silent for too long.
        dead: Said to connections that did not answer a ping.
        shutdown: Said to all when the process stops.
    """

    max_connections: int
    idle_timeout_s: float
    pong_timeout_s: float
    ping_after_s: float
    large_queue_bytes: int
    idle: CloseReason
    dead: CloseReason
    shutdown: CloseReason


@dataclass(frozen=True, slots=True)
class QueueSpread:
    """How many bytes wait for one client, over all of them.

    Attributes:
        p50_bytes: No more than this for half of the clients.
        p90_bytes: For nine of ten.
        p99_bytes: For ninety-nine of a hundred.
    """

    p50_bytes: int = 0
    p90_bytes: int = 0
    p99_bytes: int = 0

    @classmethod
    def of(cls, queues: list[int]) -> Self:
        """Return the spread of the queues of connections; nearest ranks, so each is one of them."""
        if not queues:
            return cls()
        ordered = sorted(queues)
        last = len(ordered)
        return cls(*(ordered[-(-last * percent // 100) - 1] for percent in (50, 90, 99)))


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep found and did.

    Attributes:
        checked: Connections looked at.
        pinged: Connections that had been silent and were pinged.
        closed_dead: Connections closed because a ping stayed unanswered.
        closed_idle: Connections closed because nothing went over them.
        queued_bytes: Bytes waiting for clients to take them, over all connections.
        largest_queue_bytes: Bytes waiting for the slowest of them.
        large_queues: Connections for which more than the policy's threshold waits.
        oldest_s: Age of the oldest connection, in seconds.
        queues: How the bytes that wait are spread over the connections.
    """

    checked: int = 0
    pinged: int = 0
    closed_dead: int = 0
    closed_idle: int = 0
    queued_bytes: int = 0
    largest_queue_bytes: int = 0
    large_queues: int = 0
    oldest_s: float = 0.0
    queues: QueueSpread = QueueSpread()


@dataclass(frozen=True, slots=True)
class DrainReport:
    """How a drain ended.

    Attributes:
        closed: Connections that ended in time.
        aborted: Connections that were cut at the deadline.
    """

    closed: int
    aborted: int


@dataclass(slots=True)
class ConnectionStats:
    """Counts since the start, and the queues as they were measured last.

    Attributes:
        accepted: Connections that were opened.
        refused: Connections that were not, by cause.
        closed: Connections closed from this side, by code.
        queued_bytes: Bytes waiting for clients to take them, over all connections.
        largest_queue_bytes: Bytes waiting for the slowest client.
        large_queues: Connections for which more than the policy's threshold waits.
    """

    accepted: int = 0
    refused: dict[str, int] = field(default_factory=lambda: {"limit": 0, "draining": 0})
    closed: dict[int, int] = field(default_factory=dict)
    queued_bytes: int = 0
    largest_queue_bytes: int = 0
    large_queues: int = 0


class WebSocketConnectionManager(Generic[Connection]):
    """Admits, finds, sweeps and drains connections; belongs to one event loop."""

    def __init__(self, policy: ConnectionPolicy, *, clock: Clock) -> None:
        """Start empty and open for connections."""
        self._policy = policy
        self._clock = clock
        self._connections: dict[str, Connection] = {}
        self._reserved = 0
        self._drain_begun = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.stats = ConnectionStats()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over a copy: connections may come and go meanwhile."""
        return iter(tuple(self._connections.values()))

    @property
    def policy(self) -> ConnectionPolicy:
        """The limits in force."""
        return self._policy

    @property
    def draining(self) -> bool:
        """Whether the process is stopping and takes no connections."""
        return self._drain_begun.is_set()

    async def wait_for_drain(self) -> None:
        """Return once the process is stopping."""
        await self._drain_begun.wait()

    def get(self, connection_id: str) -> Connection | None:
        """Return the open connection of that id."""
        return self._connections.get(connection_id)

    @contextmanager
    def admit(self) -> Iterator[Callable[[Connection], None]]:
        """Hold a place while a connection is being set up and open.

        Yields:
            A function to call with the connection once it is open; it leaves with the block.

        Raises:
            AdmissionError: There is no place.
        """
        self._reserve()
        opened: list[Connection] = []

        def register(connection: Connection) -> None:
            opened.append(connection)
            self._connections[connection.id] = connection
            self.stats.accepted += 1
            if self.draining:  # the drain began while this connection was being set up
                connection.close(self._policy.shutdown)

        try:
            yield register
        finally:
            self._reserved -= 1
            for connection in opened:
                del self._connections[connection.id]
            if not self._reserved:
                self._empty.set()

    def count_refusal(self, cause: str) -> None:
        """Count a connection that was refused before it asked for a place."""
        self.stats.refused[cause] = self.stats.refused.get(cause, 0) + 1

    def count_close(self, code: int) -> None:
        """Count a connection that was closed from this side with a code."""
        self.stats.closed[code] = self.stats.closed.get(code, 0) + 1

    async def health_check(self) -> SweepReport:
        """Look at every connection once: close the dead and the idle, ping the silent."""
        policy = self._policy
        checked = pinged = dead = idle = 0
        queues: list[int] = []
        oldest = self._clock.monotonic()
        for connection in self:
            if checked and checked % _SWEEP_SLICE == 0:
                await asyncio.sleep(0)  # thousands of connections must not hold up the loop
            if connection.id not in self._connections:
                continue
            checked += 1
            queues.append(connection.queued_bytes)
            now = self._clock.monotonic()
            oldest = min(oldest, connection.opened_at)
            pinged_at = connection.awaiting_pong_since
            silent_s = now - connection.last_activity
            if pinged_at is not None and now - pinged_at >= policy.pong_timeout_s:
                dead += 1
                connection.close(policy.dead)
            elif silent_s >= policy.idle_timeout_s:
                idle += 1
                connection.close(policy.idle)
            elif pinged_at is None and silent_s >= policy.ping_after_s:
                pinged += 1
                connection.ping()
        await self.measure_queues()
        stats = self.stats
        return SweepReport(
            checked=checked,
            pinged=pinged,
            closed_dead=dead,
            closed_idle=idle,
            queued_bytes=stats.queued_bytes,
            largest_queue_bytes=stats.largest_queue_bytes,
            large_queues=stats.large_queues,
            oldest_s=self._clock.monotonic() - oldest,
            queues=QueueSpread.of(queues),
        )

    async def measure_queues(self) -> None:
        """Note in ``stats`` how much waits for clients to take it."""
        threshold = self._policy.large_queue_bytes
        total = largest = large = 0
        for number, connection in enumerate(self):
            if number and number % _SWEEP_SLICE == 0:
                await asyncio.sleep(0)
            if connection.id not in self._connections:
                continue
            waiting = connection.queued_bytes
            total += waiting
            largest = max(largest, waiting)
            large += waiting > threshold
        stats = self.stats
        stats.queued_bytes, stats.largest_queue_bytes, stats.large_queues = total, largest, large

    async def drain(self, timeout_s: float, *, window_s: float = 0.0) -> DrainReport:
        """Take no more connections, close all that are open, and wait until they have ended.

        Args:
            timeout_s: After so long connections that have not ended are cut.
            window_s: Over how long the closes are spread, at most half of the timeout.
        """
        self._drain_begun.set()
        total = len(self._connections)
        aborted = 0

        def cut() -> None:
            nonlocal aborted
            for connection in self:
                aborted += 1
                connection.abort()

        deadline = self._clock.call_later(timeout_s, cut)
        try:
            await self._close_all(min(window_s, timeout_s / 2))
            await self._empty.wait()
        finally:
            deadline.cancel()
        return DrainReport(closed=total - aborted, aborted=aborted)

    async def _close_all(self, window_s: float) -> None:
        """Close everybody in equal steps, none of them smaller than it is worth a wait."""
        connections = list(self)
        steps = int(window_s / _CLOSE_STEP_S) + 1
        size = max(_LEAST_CLOSES, -(-len(connections) // steps))
        for start in range(0, len(connections), size):
            if start:
                await self._clock.sleep(_CLOSE_STEP_S)
            for connection in connections[start : start + size]:
                connection.close(self._policy.shutdown)

    def _reserve(self) -> None:
        if self.draining:
            self.stats.refused["draining"] += 1
            raise AdmissionError("draining", "the gateway is shutting down")
        if self._reserved >= self._policy.max_connections:
            self.stats.refused["limit"] += 1
            message = f"all {self._policy.max_connections} connections are in use"
            raise AdmissionError("limit", message)
        self._reserved += 1
        self._empty.clear()
