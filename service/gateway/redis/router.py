"""Sends each command to the server that has its keys, with a bound on how many wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from random import Random
from types import TracebackType
from typing import Final, Self

from redis.exceptions import AskError, MovedError, ResponseError

from alerts.clock import Clock
from service.deadline import Deadline
from service.gateway.redis.connection import FAILURES, Argument, RedisConnection, Reply
from service.gateway.redis.link import (
    Call,
    CommandError,
    Link,
    LinkOptions,
)
from service.gateway.redis.scripts import Script
from service.gateway.redis.stats import RedisStats
from service.gateway.redis.topology import PARTITIONS, Topology
from service.telemetry.local_histograms import HistogramSeries

_LOG: Final = logging.getLogger(__name__)

_RETRY_S: Final = 0.1
"""Pause before a server that could not serve a command just now is asked again, about."""
_REDIRECTS_AT_ONCE: Final = 2
"""Redirections of a command that are followed without such a pause."""
_POSTED_ABOVE: Final = 4
"""Commands nobody waits for are dropped when so many times the bound are on their way."""


class Router:
    """All links to servers; an async context manager."""

    def __init__(
        self,
        topology: Topology,
        options: LinkOptions,
        *,
        max_waiting: int,
        clock: Clock,
        random: Random,
        stats: RedisStats,
        roundtrip: HistogramSeries,
        on_change: Callable[[], None],
    ) -> None:
        """Prepare links.

        Args:
            topology: Says which server has what.
            options: How connections are kept.
            max_waiting: Commands on their way at most; who has more waits.
            clock: Time and timers.
            random: Spreads attempts.
            stats: Where commands are counted.
            roundtrip: Gets the seconds of each command.
            on_change: Told when a connection came up or was lost.
        """
        self._roundtrip = roundtrip
        self._on_change = on_change
        self._topology = topology
        self._options = options
        self._clock = clock
        self._random = random
        self._stats = stats
        self._max_posted = max_waiting * _POSTED_ABOVE
        self._room = asyncio.Semaphore(max_waiting)
        self._links: dict[str, Link] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Begin to connect to the server of the first partition."""
        self._link(self._topology.node(0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait a moment for what is on its way, and close all connections."""
        self._closed = True
        unsent = await asyncio.gather(*(link.aclose() for link in self._links.values()))
        self._links.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for call in (call for calls in unsent for call in calls):
            call.fail("away", "the broker is closed")

    def __len__(self) -> int:
        """Return how many commands wait for their answers."""
        return sum(map(len, tuple(self._links.values())))

    @property
    def fault(self) -> str:
        """Why a server cannot be reached; empty when all can."""
        return next((link.fault for link in tuple(self._links.values()) if link.fault), "")

    def fault_at(self, partition: int) -> str:
        """Return why the server of a partition cannot be reached; empty when it can."""
        link = self._links.get(self._topology.node(partition))
        return link.fault if link is not None else ""

    async def call(
        self, partition: int, *arguments: Argument, script: Script | None = None
    ) -> Reply:
        """Have a command executed and return its answer.

        Args:
            partition: Of the keys it touches.
            arguments: The command; of a script, what stands behind its name.
            script: The script to run.

        Raises:
            CommandError: It was not executed, or it is not known whether it was.
        """
        began = self._clock.monotonic()
        if self._room.locked():
            try:
                async with Deadline(self._clock, self._options.timeout_s):
                    await self._room.acquire()
            except TimeoutError:
                message = f"the broker is away: {self.fault or 'too many commands wait for it'}"
                raise self._counted(CommandError("full", message)) from None
        else:
            await self._room.acquire()
        try:
            return await self.ask(partition, *arguments, script=script)
        except CommandError as error:
            raise self._counted(error) from error.__cause__
        finally:
            self._room.release()
            self._roundtrip.record(self._clock.monotonic() - began)

    async def ping(self) -> None:
        """Return once each server that has channels has answered.

        Raises:
            CommandError: One did not; says why.
        """
        partitions = {self._topology.node(number): number for number in range(PARTITIONS)}
        await asyncio.gather(*(self.call(each, "PING") for each in partitions.values()))

    def ask(
        self, partition: int, *arguments: Argument, script: Script | None = None
    ) -> asyncio.Future[Reply]:
        """Send a command behind all others, whatever their number; see ``call``."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._send(Call(partition, arguments, future, self._clock.monotonic(), script))
        return future

    def post(self, partition: int, *arguments: Argument, script: Script | None = None) -> None:
        """Have a command executed that nobody waits for; a failure is counted."""
        if len(self) >= self._max_posted or self._closed:
            self._stats.errors["full"] += 1
            return
        self.ask(partition, *arguments, script=script).add_done_callback(self._judge)

    def misplaced(self, call: Call, error: ResponseError) -> None:
        """Take a call that a server did not execute, because another one has its keys."""
        call.attempts += 1
        late = self._clock.monotonic() - call.asked_at >= self._options.timeout_s
        if late or self._closed:
            call.fail("refused", f"no server took a command: {error}")
            return
        self._start(self._resend(call, error))

    def changed(self) -> None:
        """Learn that a connection came up or was lost."""
        self._on_change()

    def _send(self, call: Call) -> None:
        if self._closed:
            call.fail("away", "the broker is closed")
        else:
            self._link(self._topology.node(call.partition)).send(call)

    def _link(self, node: str) -> Link:
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = Link(
                lambda: self._connect(node),
                self,
                self._options,
                clock=self._clock,
                random=self._random,
                stats=self._stats,
            )
            link.start()
        return link

    async def _connect(self, node: str) -> RedisConnection:
        try:
            return await self._topology.connect(node)
        except FAILURES:
            # Its partitions may have gone to another node, which nobody else would tell.
            self._start(self.refresh())
            raise

    async def _resend(self, call: Call, error: ResponseError) -> None:
        redirected = isinstance(error, AskError)
        if not redirected or call.attempts > _REDIRECTS_AT_ONCE:
            await self._clock.sleep(self._random.uniform(_RETRY_S / 2, _RETRY_S))
        if isinstance(error, MovedError):
            await self.refresh()
        node = self._topology.node(call.partition)
        if isinstance(error, AskError) and not isinstance(error, MovedError):
            call.asking = True
            node = f"{error.host}:{error.port}"
        if self._closed:
            call.fail("away", "the broker is closed")
        else:
            self._link(node).send(call)

    async def refresh(self) -> None:
        """Learn anew which server has what, once for all who ask at the same time."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._learn(), name="redis routes")
            self._keep(self._refreshing)
        await asyncio.wait([self._refreshing])

    async def _learn(self) -> None:
        try:
            await self._topology.refresh()
        except FAILURES as error:
            _LOG.warning("who has which channels is not known: %s", error)
            return
        used = {self._topology.node(partition) for partition in range(PARTITIONS)}
        for node in self._links.keys() - used:
            for call in await self._links.pop(node).aclose():
                self._send(call)
        self._on_change()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._keep(asyncio.create_task(work, name="redis routes"))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _judge(self, future: asyncio.Future[Reply]) -> None:
        if not future.cancelled():
            error = future.exception()
            if isinstance(error, CommandError):
                self._counted(error)

    def _counted(self, error: CommandError) -> CommandError:
        self._stats.errors[error.reason] += 1
        _LOG.warning("a command of the broker failed: %s", error)
        return error
