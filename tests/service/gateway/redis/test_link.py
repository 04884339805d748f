"""Commands to one server: their order, their time, and what becomes of them when it is gone."""

import asyncio
import logging
from random import Random
from typing import Any

import pytest
from redis.exceptions import (
    AskError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from alerts.clock import ManualClock
from service.gateway.redis.connection import Command
from service.gateway.redis.link import Call, CommandError, Link, LinkOptions
from service.gateway.redis.scripts import PUBLISH, SCRIPTS
from service.gateway.redis.stats import RedisStats

MOVED = MovedError("1 127.0.0.1:7000")


class Server:
    """What a link connects to: it answers when a test says so."""

    def __init__(self, replies: int = len(SCRIPTS)) -> None:
        self.written: list[Command] = []
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(replies):
            self.replies.put_nowait(b"digest")
        self.closed = False

    async def write(self, commands) -> None:
        """Take commands."""
        self.written += [command for command in commands if command[0] != "SCRIPT"]

    async def read(self):
        """Give what the test put there."""
        reply = await self.replies.get()
        if isinstance(reply, RedisConnectionError):
            raise reply
        return reply

    async def close(self) -> None:
        """Note it."""
        self.closed = True


class World:
    """A link, its servers one after the other, and its owner."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.servers: list[Server] = []
        self.reachable = True
        self.replies = len(SCRIPTS)
        self.given_back: list[tuple[Call, ResponseError]] = []
        self.stats = RedisStats()
        self.link = Link(
            self.connect,
            self,
            LinkOptions(timeout_s=4.0, ping_interval_s=10.0, max_backoff_s=1.0),
            clock=self.clock,
            random=Random(1),
            stats=self.stats,
        )

    @property
    def server(self) -> Server:
        return self.servers[-1]

    async def connect(self) -> Server:
        """Let the link have a new server."""
        if not self.reachable:
            raise RedisConnectionError("refused")
        self.servers.append(Server(self.replies))
        return self.server

    def misplaced(self, call, error) -> None:
        """Take a call back."""
        self.given_back.append((call, error))

    def changed(self) -> None:
        """Nothing is made of it."""

    def ask(self, *arguments, script=None) -> Call:
        """Send a command."""
        future = asyncio.get_running_loop().create_future()
        call = Call(0, arguments, future, self.clock.monotonic(), script)
        self.link.send(call)
        return call

    async def reply(self, *replies) -> None:
        """Let the server answer."""
        for reply in replies:
            self.server.replies.put_nowait(reply)
        await self.clock.settle()

    async def __aenter__(self) -> "World":
        self.link.start()
        await self.clock.settle()
        return self

    async def __aexit__(self, *details) -> None:
        for server in self.servers:
            server.replies.put_nowait(RedisConnectionError("the test is over"))
        await self.clock.settle()
        await self.link.aclose()
        assert all(server.closed for server in self.servers)


async def test_commands_of_one_turn_go_out_together_and_are_answered_in_order():
    """More follow before the answers are there."""
    async with World() as world:
        first, second = world.ask("A"), world.ask("B")
        await world.clock.settle()
        third = world.ask("C")
        await world.clock.settle()
        assert world.server.written == [("A",), ("B",), ("C",)]
        assert len(world.link) == 3

        await world.reply(1, ResponseError("wrong"), 3)

        assert (await first.answer, await third.answer) == (1, 3)
        with pytest.raises(CommandError, match="Redis refused a command: wrong") as caught:
            await second.answer
        assert caught.value.reason == "refused"


async def test_scripts_that_are_not_known_are_sent_again_in_order_and_in_full():
    """Before anything that was asked later."""
    async with World() as world:
        calls = [world.ask(0, name, script=PUBLISH) for name in ("a", "b")]
        await world.clock.settle()
        world.server.written.clear()
        await world.reply(NoScriptError("none"), NoScriptError("none"))

        assert world.server.written == [("EVAL", PUBLISH.source, 0, name) for name in ("a", "b")]
        await world.reply(1, 2)
        assert [await call.answer for call in calls] == [1, 2]


async def test_what_was_on_its_way_fails_and_what_was_not_is_sent_later():
    """What may have been executed is not sent twice."""
    async with World() as world:
        sent = world.ask("A")
        await world.clock.settle()
        world.reachable = False
        await world.reply(RedisConnectionError("gone"))
        waiting = world.ask("B")
        await world.clock.advance(1)
        with pytest.raises(CommandError, match="lost before the answer came: gone") as caught:
            await sent.answer
        assert caught.value.reason == "lost"
        assert world.link.fault == "refused"

        world.reachable = True
        await world.clock.advance(1)
        await world.reply(2)

        assert world.server.written == [("B",)]
        assert await waiting.answer == 2
        assert (world.link.fault, world.stats.reconnects, world.stats.connected) == ("", 1, 1)


async def test_nothing_waits_longer_than_its_time():
    """And what came back late is not sent any more."""
    async with World() as world:
        world.reachable = False
        await world.reply(RedisConnectionError("gone"))
        waiting = world.ask("A")
        left = world.ask("B")
        left.answer.cancel()
        await world.clock.advance(5)
        with pytest.raises(CommandError, match="the broker is away: refused"):
            await waiting.answer
        world.reachable = True
        await world.clock.advance(1)

        assert world.server.written == []
        assert len(world.link) == 0


async def test_waiting_for_a_connection_is_no_silence_of_the_server():
    """A command that has waited almost its whole time gets one for the answer."""
    async with World() as world:
        world.reachable = False
        await world.reply(RedisConnectionError("gone"))
        waiting = world.ask("A")
        for _ in range(29):
            await world.clock.advance(0.1)
        world.reachable = True
        for _ in range(20):
            await world.clock.advance(0.1)
        assert world.server.written == [("A",)]
        assert len(world.servers) == 2
        await world.reply(1)

        assert await waiting.answer == 1


async def test_a_server_that_says_nothing_is_left():
    """A quiet connection is tested, and one without an answer replaced."""
    async with World() as world:
        for _ in range(12):
            await world.clock.advance(1)
        assert world.server.written == [("PING",)]
        await world.reply(b"PONG")
        call = world.ask("A")
        await world.clock.settle()
        for _ in range(6):
            await world.clock.advance(1)

        with pytest.raises(CommandError, match="no answer within 4 s"):
            await call.answer
        assert len(world.servers) == 2


async def test_what_belongs_elsewhere_is_given_back():
    """A server that is being given a partition is told that this is known."""
    async with World() as world:
        moved, asked = world.ask("A"), world.ask("B")
        await world.clock.settle()
        await world.reply(MOVED, AskError("1 127.0.0.1:7000"))
        assert [call for call, _ in world.given_back] == [moved, asked]

        asked.asking = True
        world.link.send(asked)
        await world.clock.settle()
        await world.reply(b"OK", 5)

        assert world.server.written[-2:] == [("ASKING",), ("B",)]
        assert await asked.answer == 5


@pytest.mark.parametrize(
    "error",
    [
        ReadOnlyError("a replica"),
        # Redis 6.2 says it so of a script.
        ResponseError(
            "Error running script (call to f_1b3): @user_script:9: @user_script: 9: "
            "-READONLY You can't write against a read only replica."
        ),
    ],
    ids=["command", "script"],
)
async def test_a_master_that_was_demoted_is_left(error):
    """What it did not execute is given back."""
    async with World() as world:
        call = world.ask("A")
        await world.clock.settle()
        await world.reply(error)

        assert [each for each, _ in world.given_back] == [call]
        assert "not the master any more" in world.link.fault
        await world.clock.advance(1)
        assert len(world.servers) == 2


async def test_an_absence_is_told_once_and_its_end_as_well(caplog):
    """Not at every attempt; and why, in words."""
    caplog.set_level(logging.INFO, "service.gateway.redis.link")
    async with World() as world:
        world.reachable = False
        await world.reply(RedisConnectionError("gone"))
        for _ in range(10):
            await world.clock.advance(1)
        world.reachable = True
        await world.clock.advance(1)

    assert caplog.messages[:3] == [
        "no connection to the broker: gone",
        "no connection to the broker: refused",
        "the connection to the broker is there again",
    ]


async def test_a_server_that_takes_connections_and_is_dumb_is_named():
    """As one that does not answer."""
    async with World() as world:
        world.replies = 0
        await world.reply(RedisConnectionError("gone"))
        for _ in range(8):
            await world.clock.advance(1)

        assert world.link.fault == "it does not answer; no connection within 4 s"


async def test_an_end_that_is_cancelled_leaves_nothing_behind():
    """Whoever waits for the last answers may be told to stop waiting."""
    world = World()
    world.link.start()
    await world.clock.settle()
    call = world.ask("A")
    await world.clock.settle()
    closing = asyncio.create_task(world.link.aclose())
    await world.clock.settle()
    closing.cancel()
    await asyncio.wait([closing])

    assert closing.cancelled()
    assert world.server.closed
    with pytest.raises(CommandError, match="closed before the answer came"):
        await call.answer


async def test_what_is_left_at_the_end_is_returned():
    """Whoever closes a link may send it elsewhere."""
    world = World()
    world.reachable = False
    world.link.start()
    call = world.ask("A")
    await world.clock.settle()

    assert await world.link.aclose() == [call]
