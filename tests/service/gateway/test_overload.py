"""Clients and crowds that want more than there is."""

import asyncio
import socket
from typing import Any

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from alerts.clock import ManualClock
from service.gateway.rate_limit import RateLimit, Verdict
from tests.support.gateway import running_gateway, until


@given(
    limit=st.integers(1, 50),
    waits=st.lists(st.floats(0, 3, allow_nan=False), max_size=200),
)
def test_no_more_pass_than_the_limit_allows(limit, waits):
    """In any stretch of time: so many a second and as many at once."""
    bucket = RateLimit(limit, 0.0)
    now, taken = 0.0, []
    for wait in waits:
        now += wait
        if bucket.take(now) is Verdict.TAKEN:
            taken.append(now)

    for first in range(len(taken)):
        stretch = taken[-1] - taken[first]
        assert len(taken) - first <= limit + stretch * limit + 1e-6


def test_no_limit_is_no_limit():
    """Zero turns it off."""
    bucket = RateLimit(0, 0.0)

    assert {bucket.take(0.0) for _ in range(10_000)} == {Verdict.TAKEN}


async def test_commands_past_the_limit_are_refused_and_far_past_it_end_the_connection():
    """At once as many as in a second: then 111, and past twice as many 3509."""
    clock = ManualClock()
    async with running_gateway(clock=clock, max_commands_per_second=5) as running:
        async with running.client() as client:  # the connect was one
            codes = []
            for _ in range(8):
                reply = await client.call(unsubscribe={"channel": "a"})
                codes.append(reply.get("error", {}).get("code"))
            assert codes == [None] * 4 + [111] * 4
            await clock.advance(2)
            assert "error" not in await client.call(unsubscribe={"channel": "a"})

            for number in range(100, 112):
                await client.send(f'{{"id":{number},"unsubscribe":{{"channel":"a"}}}}')

            assert (await ended(client)) == 3509


async def ended(client) -> int | None:
    """Read to the end and return the code."""
    while True:
        message = await client.socket.receive(timeout=10)
        if message.type is aiohttp.WSMsgType.CLOSE:
            code: int | None = message.data
            return code


async def test_connections_past_the_rate_are_answered_before_the_upgrade():
    """503, and when to come back; a second later there is room again."""
    clock = ManualClock()
    async with running_gateway(clock=clock, max_connections_per_second=2) as running:
        async with running.client(), running.client():
            url = running.websocket_url.replace("ws:", "http:")
            async with running.http.get(url) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert "more than 2 connections a second" in await answer.text()
            assert running.gateway.connections.stats.refused["rate"] == 1
            await clock.advance(2)
            async with running.client():
                assert len(running.gateway.connections) == 3


async def test_a_peer_that_takes_nothing_is_cut_off():
    """After the write timeout with 3009, though its queue has room; its neighbour gets all."""
    clock = ManualClock()
    quiet: dict[str, Any] = {
        "ping_interval": "1h",
        "idle_timeout": "2h",
        "max_queue_size": "64MiB",
    }
    async with running_gateway(clock=clock, **quiet) as running:
        async with running.client() as stuck, running.client() as neighbour:
            await stuck.subscribe("news")
            (connection,) = [c for c in running.gateway.connections if c.channels]
            sock = connection._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await neighbour.subscribe("news")
            stuck.stop_reading()
            while connection.queued_bytes < 200_000:
                await running.publish("news", "x" * 60_000)
                await clock.advance(0.010)
                assert len(await neighbour.published()) == 60_000

            await clock.advance(6)
            await clock.advance(6)

            await until(lambda: running.gateway.connections.stats.closed.get(3009) == 1)
            await running.publish("news", "still")
            assert await neighbour.published() == "still"
            stuck.vanish()


async def test_a_peer_that_is_slow_but_moves_stays():
    """Progress is what counts, not an empty queue."""
    clock = ManualClock()
    quiet: dict[str, Any] = {
        "ping_interval": "1h",
        "idle_timeout": "2h",
        "max_queue_size": "64MiB",
    }
    async with running_gateway(clock=clock, **quiet) as running:
        async with running.client() as client:
            await client.subscribe("news")
            (connection,) = running.gateway.connections
            for _ in range(3):
                client.stop_reading()
                while connection.queued_bytes < 100_000:
                    await running.publish("news", "x" * 60_000)
                    await clock.advance(0.010)
                client._transport().resume_reading()
                await until(lambda: connection.queued_bytes == 0)
                await clock.advance(6)

            assert connection.close_reason is None


async def test_a_stop_spreads_its_goodbyes():
    """A hundred at once, then steps, so that clients do not all come back together."""
    clock = ManualClock()
    async with running_gateway(clock=clock, drain_window="1s") as running:
        crowd = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        sockets = [await crowd.ws_connect(running.websocket_url) for _ in range(150)]
        draining = asyncio.create_task(running.gateway.drain())
        await until(lambda: running.gateway.connections.stats.closed.get(3001) == 100)
        await clock.settle()
        assert running.gateway.connections.stats.closed[3001] == 100
        await clock.advance(0.1)
        assert running.gateway.connections.stats.closed[3001] == 150
        for each in sockets:
            await each.receive(timeout=10)
        assert (await draining).aborted == 0
        await crowd.close()
