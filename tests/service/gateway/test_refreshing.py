"""Connections whose time is over, and what a back end says to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from aiohttp import web

from alerts.clock import ManualClock
from service.gateway.client import State
from tests.support.back_end import BackEnd, back_end
from tests.support.gateway import RawClient, RunningGateway, running_gateway, until

SECRET = "a secret of at least thirty-two bytes"


@asynccontextmanager
async def refreshed(
    upstream: BackEnd, clock: ManualClock, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, RawClient]]:
    """Have a client connected for a minute, after which a back end is asked."""
    token = jwt.encode({"sub": "56", "exp": round(clock.time()) + 60}, SECRET)
    proxy = {"refresh": {"endpoint": upstream.url(), "timeout": "5s"}}
    async with (
        running_gateway(
            clock=clock,
            ping_interval="1d",
            idle_timeout="1d",
            token={"hmac_secret": SECRET},
            channels={"presence": True, "allow_publish_for_subscriber": True},
            proxy={**proxy, **settings},
        ) as running,
        running.client(connect=False) as client,
    ):
        client.connect_result = (await client.call(connect={"token": token}))["connect"]
        yield running, client


async def told(running: RunningGateway, upstream: BackEnd, times: int) -> None:
    """Wait until the back end was asked so often and its answer has arrived."""
    assert running.gateway.proxy is not None
    (each,) = running.gateway.proxy.upstreams()
    await until(lambda: len(upstream.asked) == times and each.stats.active == 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_connection_goes_on_as_long_as_the_back_end_says():
    """It is asked when the time is over, and again when the new time is."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream, clock) as (running, client):
        upstream.says({"result": {"expire_at": round(clock.time()) + 100}})
        await clock.advance(59.9)
        assert upstream.asked == []
        await clock.advance(0.2)
        await told(running, upstream, 1)
        await clock.advance(39)
        assert len(upstream.asked) == 1
        upstream.says({"result": {}})
        await clock.advance(1)
        await told(running, upstream, 2)
        await clock.advance(10_000)

        assert "subscribe" in await client.call(subscribe={"channel": "news"})
        assert len(upstream.asked) == 2

    assert upstream.asked[0] == {
        "client": client.connect_result["client"],
        "transport": "websocket",
        "protocol": "json",
        "encoding": "json",
        "user": "56",
    }


async def test_the_client_takes_no_part_in_it():
    """It is not told that its time is limited."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream, clock) as (_, client):
        assert not {"expires", "ttl"} & client.connect_result.keys()


@pytest.mark.parametrize(
    "answer",
    [
        {"result": {"expired": True}},
        {"result": {"expire_at": 1}},
        {"result": None},
        {},
        {"error": {"code": 1000, "message": "x"}},
        {"disconnect": {"code": 4500, "reason": "x"}},
    ],
)
async def test_a_connection_ends_when_the_back_end_does_not_prolong_it(answer: Any):
    """With the code after which clients come back with a new token."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream, clock) as (_, client):
        upstream.says(answer)
        await clock.advance(60.1)

        assert await client.closed() == (3005, "connection expired")


async def test_a_back_end_that_could_not_say_is_asked_again():
    """Within a minute; until then the connection goes on."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream, clock) as (running, client):
        upstream.says({}, status=500)
        await clock.advance(60.1)
        await told(running, upstream, 1)
        await clock.advance(29)
        assert "subscribe" in await client.call(subscribe={"channel": "news"})
        assert len(upstream.asked) == 1
        upstream.says({"result": {"expired": True}})
        await clock.advance(31)

        assert (await client.closed())[0] == 3005
        assert len(upstream.asked) == 2


async def test_a_refresh_can_change_what_others_see():
    """New info takes the place of the old, in presence too."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream, clock) as (running, client):
        upstream.says({"result": {"info": {"name": "B"}}})
        await client.subscribe("news")
        await clock.advance(60.1)
        await told(running, upstream, 1)
        await client.call(publish={"channel": "news", "data": 1})

        assert (await client.reply())["push"]["pub"]["info"]["conn_info"] == {"name": "B"}
        found = (await running.api("presence", {"channel": "news"}))["result"]["presence"]
        assert [info["conn_info"] for info in found.values()] == [{"name": "B"}]


async def test_an_answer_that_comes_late_changes_nothing():
    """Neither for a connection that ended, nor after the client brought a new token."""
    release = asyncio.Event()

    async def slowly(_asked: Any) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"result": {"expired": True}})

    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream, clock) as (running, client):
        upstream.answer = slowly
        await clock.advance(60.1)
        await until(lambda: upstream.asked)
        token = jwt.encode({"sub": "56", "exp": round(clock.time()) + 600}, SECRET)
        assert "refresh" in await client.call(refresh={"token": token})
        release.set()
        await told(running, upstream, 1)

        assert "subscribe" in await client.call(subscribe={"channel": "news"})
        (connection,) = running.gateway.connections
        assert connection.state is State.CONNECTED


async def test_a_shutdown_does_not_wait_for_answers():
    """What is being asked is given up, and nothing of it is left."""
    never = asyncio.Event()

    async def hang(_asked: Any) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    clock = ManualClock()
    async with back_end() as upstream:
        async with refreshed(upstream, clock) as (_, _client):
            upstream.answer = hang
            await clock.advance(60.1)
            await until(lambda: upstream.asked)
        never.set()

    assert "gateway refresh" not in {task.get_name() for task in asyncio.all_tasks()}
