"""The connection over which one server sends what is published to topics of this process.

It is made again whenever it is lost, and then subscribes to everything again. What was published
meanwhile is not sent again; who needs it is told that the connection was restored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from alerts.clock import Clock
from service.deadline import Deadline
from service.gateway.redis.connection import FAILURES, Command, Reply, ServerConnection, reason_of
from service.gateway.redis.link import Backoff, LinkOptions
from service.gateway.redis.stats import RedisStats

_LOG: Final = logging.getLogger(__name__)

_NOT_YET: Final = "not connected yet"
_MAX_TOPICS: Final = 512
"""Topics of one command at most."""
_TURN: Final = 128
"""Messages that are taken before anything else gets a turn of the event loop."""


@dataclass(slots=True, eq=False)
class Topic:
    """A topic that is wanted.

    Attributes:
        name: What Redis calls it.
        partition: Where it belongs.
        confirmed: Whether its messages come.
        waiting: Who waits for that.
    """

    name: bytes
    partition: int
    confirmed: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class Listener(Protocol):
    """Who is told what an intake takes."""

    def received(self, topic: bytes, message: bytes) -> None:
        """Take a message."""

    def restored(self) -> None:
        """Learn that all topics are subscribed after a time in which some were not."""

    def lost(self) -> None:
        """Learn that the connection was lost."""

    def moved(self) -> None:
        """Learn that the server does not have all partitions that it was thought to have."""


@dataclass(frozen=True, slots=True)
class Verbs:
    """The words of plain pub/sub, or those of sharded."""

    publish: str
    subscribe: str
    unsubscribe: str
    message: bytes

    @classmethod
    def of(cls, *, sharded: bool) -> Verbs:
        """Return the words of a kind."""
        if sharded:
            return cls("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE", b"smessage")
        return cls("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", b"message")


class Intake:
    """The subscriptions at one server, from ``start`` to ``aclose``.

    Attributes:
        fault: Why messages may be missing; empty while all topics are subscribed.
        topics: What is wanted, by name.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[ServerConnection]],
        listener: Listener,
        options: LinkOptions,
        verbs: Verbs,
        *,
        clock: Clock,
        backoff: Backoff,
        stats: RedisStats,
    ) -> None:
        """Prepare an intake; ``connect`` returns an open connection to the server."""
        self.fault = _NOT_YET
        self.topics: dict[bytes, Topic] = {}
        self._connect = connect
        self._listener = listener
        self._options = options
        self._verbs = verbs
        self._clock = clock
        self._backoff = backoff
        self._stats = stats
        self._connection: ServerConnection | None = None
        self._outgoing: list[tuple[str, Topic]] = []
        self._filled = asyncio.Event()
        # Commands on their way by topic: an old confirmation must not pass for a new one.
        self._joining: Counter[bytes] = Counter()
        self._leaving: Counter[bytes] = Counter()
        self._missing: set[bytes] = set()
        self._heard_at = clock.monotonic()
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, and go on until it is closed."""
        self._task = asyncio.create_task(self._run(), name="redis messages")

    async def aclose(self) -> None:
        """Close the connection."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def add(self, topic: Topic) -> None:
        """Subscribe to a topic."""
        topic.confirmed = False
        self.topics[topic.name] = topic
        if self._connection is not None:
            self._say(self._verbs.subscribe, topic)

    def remove(self, name: bytes) -> Topic | None:
        """Unsubscribe from a topic and return it; None when it was not wanted."""
        topic = self.topics.pop(name, None)
        if topic is not None and self._connection is not None:
            self._say(self._verbs.unsubscribe, topic)
            self._missing.discard(name)
            self._look_whether_restored()
        return topic

    def _say(self, verb: str, topic: Topic) -> None:
        subscribe = verb == self._verbs.subscribe
        (self._joining if subscribe else self._leaving)[topic.name] += 1
        self._outgoing.append((verb, topic))
        self._filled.set()

    async def _run(self) -> None:
        # A group of tasks that is failing swallows the cancellation of whoever waits for it, so
        # there is a flag beside it.
        while not self._closed:
            connection: ServerConnection | None = None
            try:
                async with Deadline(self._clock, self._options.timeout_s):
                    connection = await self._connect()
                await self._serve(connection)
            except* FAILURES as failures:
                self._lost(failures.exceptions[0])
            except* Exception as faults:  # noqa: BLE001 - one of ours, which costs one connection
                _LOG.exception("a connection to the broker failed")
                self._lost(faults.exceptions[0])
            finally:
                self._connection = None
                if connection is not None:
                    await connection.close()
            if not self._closed:
                await self._clock.sleep(self._backoff.next_s())

    async def _serve(self, connection: ServerConnection) -> None:
        self._stats.connected += 1
        self._heard_at = self._clock.monotonic()
        self._connection = connection
        self._outgoing.clear()
        self._joining.clear()
        self._leaving.clear()
        self._missing = set(self.topics)
        for topic in sorted(self.topics.values(), key=lambda each: each.partition):
            self._say(self._verbs.subscribe, topic)
        self._look_whether_restored()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(connection))
                group.create_task(self._read(connection))
                group.create_task(self._guard(connection))
        finally:
            self._stats.connected -= 1

    async def _write(self, connection: ServerConnection) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            outgoing, self._outgoing = self._outgoing, []
            commands: list[Command] = []
            # One command holds topics of one partition only, as sharded pub/sub demands.
            for (verb, _), group in groupby(outgoing, lambda each: (each[0], each[1].partition)):
                names = [topic.name for _, topic in group]
                commands += [
                    (verb, *names[start : start + _MAX_TOPICS])
                    for start in range(0, len(names), _MAX_TOPICS)
                ]
            await connection.write(commands)

    async def _read(self, connection: ServerConnection) -> None:
        turn = 0
        while True:
            self._take(await connection.read())
            self._heard_at = self._clock.monotonic()
            turn += 1
            if turn % _TURN == 0:
                await asyncio.sleep(0)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, ResponseError):
            self._listener.moved()
            raise RedisConnectionError(f"Redis refused a subscription: {reply}") from reply
        if not isinstance(reply, list):
            return  # the answer to a ping
        kind = reply[0]
        if kind == self._verbs.message:
            self._stats.received += 1
            self._listener.received(reply[1], reply[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._confirmed(reply[1])
        elif kind in (b"unsubscribe", b"sunsubscribe"):
            self._unconfirmed(reply[1])

    def _unconfirmed(self, name: bytes) -> None:
        if self._leaving[name] > 1:
            self._leaving[name] -= 1
        elif self._leaving.pop(name, 0) == 0 and name in self.topics:
            self._listener.moved()
            raise RedisConnectionError("a topic went to another server")

    def _confirmed(self, name: bytes) -> None:
        self._joining[name] -= 1
        if self._joining[name] > 0:
            return  # it was left and wanted again meanwhile, and that is what counts
        del self._joining[name]
        topic = self.topics.get(name)
        if topic is not None:
            topic.confirmed = True
            for future in topic.waiting:
                if not future.done():
                    future.set_result(None)
            topic.waiting.clear()
            self._missing.discard(name)
            self._look_whether_restored()

    def _look_whether_restored(self) -> None:
        if self.fault and not self._missing:
            if self.fault != _NOT_YET:
                _LOG.info("messages of the broker come again")
            self.fault = ""
            self._backoff.reset()
            self._listener.restored()

    def _lost(self, error: BaseException) -> None:
        self._stats.reconnects += self._connection is not None
        before, self.fault = self.fault, reason_of(error, self._options.timeout_s)
        for topic in self.topics.values():
            topic.confirmed = False
        if self.fault != before:  # an attempt that failed like the last one is no news
            _LOG.warning("no messages from the broker: %s", self.fault)
        self._listener.lost()

    async def _guard(self, connection: ServerConnection) -> None:
        """Ask for a sign of life when it is quiet.

        Raises:
            TimeoutError: There was none in time.
        """
        interval_s = self._options.ping_interval_s
        silence_s = interval_s + self._options.timeout_s
        while True:
            await self._clock.sleep(interval_s / 2)
            quiet_s = self._clock.monotonic() - self._heard_at
            if quiet_s >= silence_s:
                raise TimeoutError(f"nothing came for {quiet_s:.0f} s, not even a pong")
            if quiet_s >= interval_s / 2:
                await connection.write([("PING",)])
