"""What is left of a connection that has ended: nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from service.gateway.channel import Channel
from service.gateway.client import Client, Subscription
from tests.support.gateway import RunningGateway, running_gateway, until
from tests.support.peer import CLOSE, CONNECT, Peer, peer

PEERS = 20
KEPT: dict[str, Any] = {
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "history_size": 3,
    "history_ttl": "1h",
    "force_recovery": True,
}


async def goodbye(_running: RunningGateway, client: Peer) -> None:
    client.send((1000).to_bytes(2), CLOSE)


async def vanishing(_running: RunningGateway, client: Peer) -> None:
    client.writer.transport.abort()


async def breaking_rules(_running: RunningGateway, client: Peer) -> None:
    client.send(b"{")
    assert await client.close_code() == 3501
    client.send((3501).to_bytes(2), CLOSE)


async def being_told_to(running: RunningGateway, _client: Peer) -> None:
    await running.api("disconnect", {"user": ""})


@pytest.fixture(autouse=True)
def _no_collections() -> Iterator[None]:
    """Have no garbage collection find what is left."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> list[object]:
    """Return all that belongs to connections and is in memory."""
    return [each for each in gc.get_objects() if isinstance(each, Client | Subscription | Channel)]


@pytest.mark.parametrize("end", [goodbye, vanishing, breaking_rules, being_told_to])
async def test_a_connection_that_ended_is_forgotten(
    end: Callable[[RunningGateway, Peer], Awaitable[None]],
):
    """At once, whichever way it ended; its subscriptions and its channels are gone with it."""
    before = len(left())
    all_there = asyncio.Barrier(PEERS)
    async with running_gateway(channels=KEPT) as running:

        async def live(number: int) -> None:
            async with peer(running, CONNECT) as client:
                client.send(b'{"id":2,"subscribe":{"channel":"c%d"}}' % (number % 7))
                while b'"id":2' not in (await client.frame())[1]:
                    pass
                await all_there.wait()
                await end(running, client)

        async with asyncio.TaskGroup() as group:
            for number in range(PEERS):
                group.create_task(live(number))
        await until(lambda: len(running.gateway.connections) == 0)

        await until(lambda: len(left()) <= before)
        assert len(running.gateway.hub) == 0
        assert running.gateway.stats.subscriptions == 0
