"""The topics of this process, each at the server that sends its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Self

from alerts.clock import Clock
from service.deadline import Deadline
from service.gateway.redis.intake import Intake, Listener, Topic, Verbs
from service.gateway.redis.link import Backoff, CommandError, LinkOptions
from service.gateway.redis.stats import RedisStats
from service.gateway.redis.topology import Topology


class Reception:
    """All intakes; an async context manager.

    Plain pub/sub has one intake, as every node of a cluster sends everything. Sharded pub/sub has
    one for each node that has partitions with topics.
    """

    def __init__(
        self,
        topology: Topology,
        listener: Listener,
        options: LinkOptions,
        *,
        sharded: bool,
        clock: Clock,
        random: Random,
        stats: RedisStats,
    ) -> None:
        """Prepare to receive; ``listener`` gets what comes."""
        self.verbs = Verbs.of(sharded=sharded)
        self._topology = topology
        self._listener = listener
        self._options = options
        self._sharded = sharded
        self._clock = clock
        self._random = random
        self._stats = stats
        self._intakes: dict[str, Intake] = {}
        self._homes: dict[bytes, Intake] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        intakes, self._intakes = self._intakes, {}
        await asyncio.gather(*(intake.aclose() for intake in intakes.values()), *self._closing)

    @property
    def fault(self) -> str:
        """Why messages may be missing; empty when none are."""
        return next((each.fault for each in tuple(self._intakes.values()) if each.fault), "")

    def want(self, name: bytes, partition: int) -> Topic:
        """Subscribe to a topic; does not wait until messages come."""
        intake = self._intake(partition)
        topic = intake.topics.get(name)
        if topic is None:
            topic = Topic(name, partition)
            intake.add(topic)
            self._homes[name] = intake
        return topic

    async def arrived(self, topic: Topic) -> None:
        """Wait until the messages of a topic come.

        Raises:
            CommandError: They do not in time.
        """
        if topic.confirmed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        topic.waiting.append(future)
        try:
            async with Deadline(self._clock, self._options.timeout_s):
                await future
        except TimeoutError:
            raise CommandError("away", f"the broker is away: {self.fault or 'too slow'}") from None

    def drop(self, name: bytes) -> None:
        """Unsubscribe from a topic."""
        intake = self._homes.pop(name, None)
        if intake is not None:
            intake.remove(name)

    def reassign(self) -> None:
        """Move each topic to the server that has its partition now."""
        if not self._sharded:
            return
        for name, home in tuple(self._homes.items()):
            partition = home.topics[name].partition
            intake = self._intake(partition)
            topic = home.remove(name) if intake is not home else None
            if topic is not None:
                intake.add(topic)
                self._homes[name] = intake
        for node in [node for node, intake in self._intakes.items() if not intake.topics]:
            task = asyncio.create_task(self._intakes.pop(node).aclose(), name="redis intake end")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _intake(self, partition: int) -> Intake:
        # A plain intake may be at any server; it asks for the name when it connects.
        node = self._topology.node(partition) if self._sharded else ""
        intake = self._intakes.get(node)
        if intake is None:
            where: Callable[[], str] = (
                (lambda: node) if self._sharded else (lambda: self._topology.node(0))
            )
            intake = self._intakes[node] = Intake(
                lambda: self._topology.connect(where()),
                self._listener,
                self._options,
                self.verbs,
                clock=self._clock,
                backoff=Backoff(self._options.max_backoff_s, self._random),
                stats=self._stats,
            )
            intake.start()
        return intake
