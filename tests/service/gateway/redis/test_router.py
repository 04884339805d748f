"""What becomes of commands that no server takes just now."""

import asyncio
from random import Random

import pytest
from redis.exceptions import MovedError, TryAgainError

from alerts.clock import ManualClock
from service.gateway.redis.link import CommandError, LinkOptions
from service.gateway.redis.router import Router
from service.gateway.redis.stats import RedisStats
from service.telemetry.instruments import Instruments
from tests.service.gateway.redis.test_link import Server


class World:
    """A router and the one server it knows."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = Server()
        self.answered = 0
        self.router = Router(
            self,
            LinkOptions(timeout_s=4.0, ping_interval_s=10.0, max_backoff_s=1.0),
            max_waiting=10,
            clock=self.clock,
            random=Random(1),
            stats=RedisStats(),
            roundtrip=Instruments.disabled().broker_roundtrip.series(),
            on_change=lambda: None,
        )

    def node(self, partition) -> str:
        """Return the one there is."""
        return "only"

    async def connect(self, node):
        """Return the server."""
        return self.server

    async def refresh(self) -> None:
        """Do nothing: it is the one there is."""

    async def answer(self, reply, *, steps: int) -> None:
        """Have each command answered so, for some tenths of a second."""
        for _ in range(steps):
            await self.clock.settle()
            while self.answered < len(self.server.written):
                self.answered += 1
                self.server.replies.put_nowait(reply)
            await self.clock.advance(0.1)


@pytest.mark.parametrize(
    "error",
    [TryAgainError("half of it moved"), MovedError("1 127.0.0.1:7000")],
    ids=["half", "all"],
)
async def test_a_partition_that_is_moving_is_waited_for(error):
    """As long as a command may take, without asking over and over."""
    world = World()
    async with world.router:
        asked = asyncio.create_task(world.router.call(0, "A"))
        await world.answer(error, steps=30)
        assert 20 <= world.answered <= 65
        await world.answer(b"done", steps=2)

        assert await asked == b"done"


async def test_a_partition_that_never_arrives_is_given_up():
    """The error says what the server said."""
    world = World()
    async with world.router:
        asked = asyncio.create_task(world.router.call(0, "A"))
        await world.answer(TryAgainError("half of it moved"), steps=45)

        with pytest.raises(CommandError, match="no server took a command: half of it moved"):
            await asked
