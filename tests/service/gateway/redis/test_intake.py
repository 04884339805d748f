"""The topics of a server: when they count as subscribed, and what happens when it is lost."""

import asyncio
from random import Random
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

from alerts.clock import ManualClock
from service.gateway.redis.connection import Command
from service.gateway.redis.intake import Intake, Topic, Verbs
from service.gateway.redis.link import Backoff, LinkOptions
from service.gateway.redis.stats import RedisStats


class Server:
    """What an intake connects to: it says what a test lets it say."""

    def __init__(self) -> None:
        self.written: list[Command] = []
        self.replies: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, commands) -> None:
        """Take commands."""
        self.written += commands

    async def read(self):
        """Give what the test put there."""
        reply = await self.replies.get()
        if isinstance(reply, RedisConnectionError):
            raise reply
        return reply

    async def close(self) -> None:
        """Nothing to end."""


class World:
    """An intake, its servers one after the other, and who listens to it."""

    def __init__(self, *, sharded: bool = False) -> None:
        self.clock = ManualClock()
        self.servers: list[Server] = []
        self.heard: list[Any] = []
        self.stats = RedisStats()
        self.intake = Intake(
            self.connect,
            self,
            LinkOptions(timeout_s=4.0, ping_interval_s=10.0, max_backoff_s=1.0),
            Verbs.of(sharded=sharded),
            clock=self.clock,
            backoff=Backoff(1.0, Random(1)),
            stats=self.stats,
        )

    @property
    def server(self) -> Server:
        return self.servers[-1]

    async def connect(self) -> Server:
        """Let the intake have a new server."""
        self.servers.append(Server())
        return self.server

    def received(self, topic, message) -> None:
        """Keep a message."""
        self.heard.append((topic, message))

    def restored(self) -> None:
        """Keep the news."""
        self.heard.append("restored")

    def lost(self) -> None:
        """Keep the news."""
        self.heard.append("lost")

    def moved(self) -> None:
        """Keep the news."""
        self.heard.append("moved")

    def add(self, name: bytes, partition: int = 0) -> Topic:
        """Want a topic."""
        topic = Topic(name, partition)
        self.intake.add(topic)
        return topic

    async def say(self, *replies) -> None:
        """Let the server say something."""
        for reply in replies:
            self.server.replies.put_nowait(reply)
        await self.clock.settle()

    async def __aenter__(self) -> "World":
        self.intake.start()
        await self.clock.settle()
        return self

    async def __aexit__(self, *details) -> None:
        await self.intake.aclose()


async def test_topics_of_one_turn_are_subscribed_together():
    """Each counts when its confirmation has come."""
    async with World() as world:
        first, second = world.add(b"a"), world.add(b"b")
        waiting = asyncio.get_running_loop().create_future()
        second.waiting.append(waiting)
        await world.clock.settle()
        assert world.server.written == [("SUBSCRIBE", b"a", b"b")]

        await world.say([b"subscribe", b"a", 1])
        assert (first.confirmed, second.confirmed, waiting.done()) == (True, False, False)
        await world.say([b"subscribe", b"b", 2], [b"message", b"b", b"hi"])
        assert (second.confirmed, waiting.done()) == (True, True)
        assert world.heard == ["restored", (b"b", b"hi")]


async def test_an_old_confirmation_does_not_pass_for_a_new_one():
    """A topic that is left and wanted again counts when the last command is confirmed."""
    async with World() as world:
        world.add(b"a")
        world.intake.remove(b"a")
        topic = world.add(b"a")
        await world.clock.settle()
        assert world.server.written == [
            ("SUBSCRIBE", b"a"),
            ("UNSUBSCRIBE", b"a"),
            ("SUBSCRIBE", b"a"),
        ]

        await world.say([b"subscribe", b"a", 1])
        seen = [topic.confirmed]
        await world.say([b"unsubscribe", b"a", 0], [b"subscribe", b"a", 1])
        seen.append(topic.confirmed)

        assert seen == [False, True]
        assert "moved" not in world.heard


async def test_after_a_loss_everything_is_subscribed_again():
    """It is restored when the last topic is confirmed, or not wanted any more."""
    async with World() as world:
        topics = [world.add(name) for name in (b"a", b"b", b"c")]
        await world.clock.settle()
        await world.say(*([b"subscribe", topic.name, 1] for topic in topics))
        await world.say(RedisConnectionError("gone"))
        assert world.intake.fault == "gone"
        assert not any(topic.confirmed for topic in topics)

        await world.clock.advance(1)
        assert world.server.written == [("SUBSCRIBE", b"a", b"b", b"c")]
        await world.say([b"subscribe", b"a", 1], [b"subscribe", b"b", 1])
        assert world.heard == ["restored", "lost"]
        world.intake.remove(b"c")
        assert world.heard == ["restored", "lost", "restored"]
        assert (world.intake.fault, world.stats.reconnects, world.stats.connected) == ("", 1, 1)


async def test_commands_hold_so_many_topics_and_of_one_partition():
    """As sharded pub/sub demands."""
    async with World(sharded=True) as world:
        for partition in (1, 2):
            for number in range(600):
                world.add(b"%d-%d" % (partition, number), partition)
        await world.clock.settle()

        sizes = [len(command) - 1 for command in world.server.written]
        assert sizes == [512, 88, 512, 88]
        assert {command[0] for command in world.server.written} == {"SSUBSCRIBE"}


async def test_topics_that_are_elsewhere_are_told():
    """Whether the server refuses them or takes them away."""
    async with World(sharded=True) as world:
        world.add(b"a")
        await world.say(MovedError("1 127.0.0.1:7000"))
        await world.clock.advance(1)
        await world.say([b"ssubscribe", b"a", 1], [b"sunsubscribe", b"a", 0])

        assert world.heard == ["restored", "moved", "lost", "restored", "moved", "lost"]


async def test_silence_is_a_loss():
    """A quiet server is asked for a sign of life."""
    async with World() as world:
        for _ in range(6):
            await world.clock.advance(1)
        assert world.server.written == [("PING",)]
        await world.say([b"pong", b""])
        for _ in range(20):
            await world.clock.advance(1)

        assert "lost" in world.heard
        assert len(world.servers) == 2
