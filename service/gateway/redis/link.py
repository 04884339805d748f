"""Commands to one server over one connection, which is made again whenever it is lost.

Whatever is asked while the event loop is in one turn goes out in one write, and more may follow
before the answers are there. Answers come in the order of the commands.

A command that waits while there is no connection is sent when there is one again. One that was sent
to a connection which was then lost fails, because it may have been executed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from alerts.clock import Clock
from service.deadline import Deadline
from service.errors import GatewatchError
from service.gateway.redis.connection import FAILURES, Command, Reply, ServerConnection, reason_of
from service.gateway.redis.scripts import SCRIPTS, Script
from service.gateway.redis.stats import RedisStats

_LOG: Final = logging.getLogger(__name__)

_MAX_WRITE: Final = 512
"""Commands of one write at most, so that answers are read in between."""
_FIRST_BACKOFF_S: Final = 0.05
_ASKING: Final[Command] = ("ASKING",)
_NOT_YET: Final = "not connected yet"
_READ_ONLY: Final = "-READONLY "
"""Redis before 7 wraps what a command of a script is refused with into an error of its own."""


class CommandError(GatewatchError):
    """A command without success; ``reason`` is one of ``ERROR_REASONS``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True, eq=False)
class Call:
    """A command and its answer to come.

    Attributes:
        partition: Of the keys it touches.
        arguments: What is behind the command's name, or behind the script.
        answer: Its answer, or a ``CommandError``.
        asked_at: Seconds of the monotonic clock at which its time began.
        script: What it runs; None: ``arguments`` begin with the command's name.
        attempts: How often a server said that it is not the one to ask.
        in_full: Send the script's text, because the server does not know it.
        asking: The server is about to get the partition, and must be told that this is known.
    """

    partition: int
    arguments: Command
    answer: asyncio.Future[Reply]
    asked_at: float
    script: Script | None = None
    attempts: int = 0
    in_full: bool = False
    asking: bool = False

    def command(self) -> Command:
        """Return what is sent."""
        if self.script is None:
            return self.arguments
        if self.in_full:
            return ("EVAL", self.script.source, *self.arguments)
        return ("EVALSHA", self.script.digest, *self.arguments)

    def fail(self, reason: str, message: str) -> None:
        """Let it end without success."""
        if not self.answer.done():
            self.answer.set_exception(CommandError(reason, message))


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How connections are kept, in seconds."""

    timeout_s: float
    ping_interval_s: float
    max_backoff_s: float


class Owner(Protocol):
    """Who a link reports to."""

    def misplaced(self, call: Call, error: ResponseError) -> None:
        """Take a call that the server did not execute, because another one has its keys."""

    def changed(self) -> None:
        """Learn that a connection came up or was lost."""


@dataclass(slots=True)
class Backoff:
    """Pauses between attempts, longer each time, spread at random."""

    max_s: float
    random: Random
    attempts: int = field(default=0)

    def next_s(self) -> float:
        """Return the next pause in seconds."""
        self.attempts += 1
        most = min(self.max_s, _FIRST_BACKOFF_S * 2.0 ** min(self.attempts, 20))
        return self.random.uniform(most / 2, most)

    def reset(self) -> None:
        """Begin with short ones again."""
        self.attempts = 0


class Link:
    """The connection for commands to one server, from ``start`` to ``aclose``.

    Attributes:
        fault: Why there is no connection; empty while there is one.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[ServerConnection]],
        owner: Owner,
        options: LinkOptions,
        *,
        clock: Clock,
        random: Random,
        stats: RedisStats,
    ) -> None:
        """Prepare a link; ``connect`` returns an open connection to the server."""
        self.fault = _NOT_YET
        self._connect = connect
        self._owner = owner
        self._options = options
        self._clock = clock
        self._backoff = Backoff(options.max_backoff_s, random)
        self._stats = stats
        self._queue: deque[Call] = deque()
        self._again: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._filled = asyncio.Event()
        self._heard_at = clock.monotonic()
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to connect, and go on until it is closed."""
        self._tasks = [
            asyncio.create_task(self._run(), name="redis commands"),
            asyncio.create_task(self._expire(), name="redis command deadlines"),
        ]

    async def aclose(self) -> list[Call]:
        """Wait a moment for what is on its way, close the connection, return what was not sent."""
        try:
            with suppress(TimeoutError):
                async with Deadline(self._clock, self._options.timeout_s):
                    while not self.fault and len(self):
                        await asyncio.wait([(self._queue or self._again or self._sent)[-1].answer])
        finally:
            self._closed = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            while self._sent:
                self._sent.popleft().fail(
                    "lost", "the connection was closed before the answer came"
                )
        return [*self._again, *self._queue]

    def __len__(self) -> int:
        """Return how many commands wait for their answers."""
        return len(self._queue) + len(self._again) + len(self._sent)

    def send(self, call: Call) -> None:
        """Send a command behind all others."""
        self._queue.append(call)
        self._filled.set()

    async def _run(self) -> None:
        # A group of tasks that is failing swallows the cancellation of whoever waits for it, so
        # there is a flag beside it.
        while not self._closed:
            connection: ServerConnection | None = None
            try:
                async with Deadline(self._clock, self._options.timeout_s):
                    connection = await self._connect()
                    await _teach(connection)
                await self._serve(connection)
            except* FAILURES as failures:
                self._lost(failures.exceptions[0])
            except* Exception as faults:  # noqa: BLE001 - one of ours, which costs one connection
                _LOG.exception("a connection to the broker failed")
                self._lost(faults.exceptions[0])
            finally:
                if connection is not None:
                    await connection.close()
            if not self._closed:
                await self._clock.sleep(self._backoff.next_s())

    async def _serve(self, connection: ServerConnection) -> None:
        self._stats.connected += 1
        if self.fault != _NOT_YET:
            _LOG.info("the connection to the broker is there again")
        self.fault = ""
        self._backoff.reset()
        self._heard_at = self._clock.monotonic()
        self._owner.changed()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(connection))
                group.create_task(self._read(connection))
                group.create_task(self._guard())
        finally:
            self._stats.connected -= 1

    async def _write(self, connection: ServerConnection) -> None:
        while True:
            await self._filled.wait()
            commands: list[Command] = []
            while (self._again or self._queue) and len(commands) < _MAX_WRITE:
                call = (self._again or self._queue).popleft()
                if call.answer.done():
                    continue  # its time was over before it could be sent
                if call.asking:
                    commands.append(_ASKING)
                commands.append(call.command())
                if not self._sent:
                    self._heard_at = self._clock.monotonic()  # nothing was to be heard till now
                self._sent.append(call)
            if not self._again and not self._queue:
                self._filled.clear()
            if commands:
                await connection.write(commands)

    async def _read(self, connection: ServerConnection) -> None:
        while True:
            reply = await connection.read()
            if not self._sent:
                raise RedisConnectionError(f"an answer to nothing: {reply!r:.100}")
            if self._sent[0].asking:
                self._sent[0].asking = False  # this was the answer to ASKING
                continue
            call = self._sent.popleft()
            self._heard_at = self._clock.monotonic()
            if isinstance(reply, ResponseError):
                self._refused(call, reply)
            elif not call.answer.done():
                call.answer.set_result(reply)

    def _refused(self, call: Call, error: ResponseError) -> None:
        if isinstance(error, NoScriptError) and not call.in_full:
            call.in_full = True
            self._again.append(call)
            self._filled.set()
        elif isinstance(error, AskError | ClusterDownError | TryAgainError):
            self._owner.misplaced(call, error)
        elif isinstance(error, ReadOnlyError) or _READ_ONLY in str(error):
            self._owner.misplaced(call, error)
            raise RedisConnectionError("the server is not the master any more") from error
        else:
            call.fail("refused", f"Redis refused a command: {error}")

    def _lost(self, error: BaseException) -> None:
        before, self.fault = self.fault, reason_of(error, self._options.timeout_s)
        self._stats.reconnects += not before
        if self.fault != before:  # an attempt that failed like the last one is no news
            _LOG.warning("no connection to the broker: %s", self.fault)
        while self._sent:
            self._sent.popleft().fail(
                "lost", f"the connection was lost before the answer came: {self.fault}"
            )
        self._owner.changed()

    async def _guard(self) -> None:
        """Ask for a sign of life when it is quiet.

        Raises:
            TimeoutError: There was none in time, nor an answer to anything else.
        """
        timeout_s, interval_s = self._options.timeout_s, self._options.ping_interval_s
        while True:
            await self._clock.sleep(min(timeout_s, interval_s) / 4)
            now = self._clock.monotonic()
            if self._sent and self._heard_at + timeout_s <= now:
                raise TimeoutError(f"no answer within {timeout_s:g} s")
            if not len(self) and self._heard_at + interval_s <= now:
                future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                future.add_done_callback(look_away)
                self.send(Call(0, ("PING",), future, now))

    async def _expire(self) -> None:
        """See to it that no command waits longer for a connection than it may."""
        timeout_s = self._options.timeout_s
        while True:
            await self._clock.sleep(timeout_s / 4)
            until = self._clock.monotonic() - timeout_s
            for calls in (self._again, self._queue):
                while calls and (calls[0].answer.done() or calls[0].asked_at <= until):
                    calls.popleft().fail("away", f"the broker is away: {self.fault or 'too slow'}")


async def _teach(connection: ServerConnection) -> None:
    """Have a server know all scripts, so that their names are enough from now on."""
    await connection.write([("SCRIPT", "LOAD", script.source) for script in SCRIPTS])
    for _ in SCRIPTS:
        reply = await connection.read()
        if isinstance(reply, ResponseError):
            raise reply


def look_away(future: asyncio.Future[Reply]) -> None:
    """Take note of a failure that somebody else handles."""
    if not future.cancelled():
        future.exception()
