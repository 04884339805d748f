"""Two installed gatewatch processes on one Redis, while one of the three is killed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import centrifuge
import pytest

from tests.support.process import GatewatchProcess, eventually, serving
from tests.support.redis import RedisServer
from tests.support.redis_gateways import KEPT
from tests.support.sdk import Events


@pytest.fixture
def server():
    """A Redis that keeps what it answered."""
    with RedisServer() as running:
        yield running


@contextlib.asynccontextmanager
async def two_processes(
    directory: Any, server: RedisServer
) -> AsyncIterator[tuple[GatewatchProcess, GatewatchProcess]]:
    """Run two processes on one Redis."""
    redis = {"url": server.url, "presence_ttl": "2s", "max_backoff": "100ms"}
    settings = {"gateway": {"broker": {"type": "redis", "redis": redis}, "channels": KEPT}}
    (directory / "one").mkdir()
    (directory / "other").mkdir()
    async with (
        serving(directory / "one", settings) as one,
        serving(directory / "other", settings) as other,
    ):
        yield one, other


@contextlib.asynccontextmanager
async def client_of(url: str) -> AsyncIterator[tuple[centrifuge.Client, Events]]:
    """Subscribe a client that comes back quickly."""
    events = Events()
    client = centrifuge.Client(
        url, events=events, min_reconnect_delay=0.05, max_reconnect_delay=0.2
    )
    await client.connect()
    try:
        await client.ready(timeout=10)
        subscription = client.new_subscription(
            "news", events=events, min_resubscribe_delay=0.05, max_resubscribe_delay=0.2
        )
        await subscription.subscribe()
        await subscription.ready(timeout=10)
        yield client, events
    finally:
        await client.disconnect()


async def publish(process: GatewatchProcess, number: int) -> None:
    """Publish, and expect that it was accepted."""
    status, answer = await process.post("publish", {"channel": "news", "data": number})
    assert (status, "result" in answer) == (200, True), answer


async def test_nobody_misses_anything_when_redis_or_a_process_is_killed(tmp_path, server):
    """Clients have every publication once and in order, and the dead vanish from presence."""
    async with (
        two_processes(tmp_path, server) as (one, other),
        client_of(one.websocket_url) as (client, events),
    ):
        for number in range(50):
            await publish(other, number)
        server.kill()

        async def unready() -> str:
            async with one.http.get(f"{one.operations_url}/health/ready") as answer:
                return await answer.text() if answer.status == 503 else ""

        assert "the broker is away: " in await eventually(unready, what="the end of readiness")
        await asyncio.to_thread(server.start)
        for process in (one, other):
            await eventually(process._is_ready, what="readiness")

        async def publish_on() -> None:
            for number in range(50, 300):
                await publish(other, number)

        publishing = asyncio.create_task(publish_on())
        got = [await events.published() for _ in range(100)]
        await one.kill()
        # As behind a load balancer: the address leads to the other process now.
        client._address = other.websocket_url
        got += [await events.published() for _ in range(200)]
        await publishing

        assert got == list(range(300))

        async def alone() -> bool:
            _, answer = await other.post("presence_stats", {"channel": "news"})
            return bool(answer["result"] == {"num_clients": 1, "num_users": 1})

        await eventually(alone, what="the end of the dead in presence")
        assert "gateway_broker_reconnects_total" in await other.operations("/metrics")
