"""What happens to a connection between its connect command and the reply."""

import asyncio
from typing import Any

from service.gateway.broker import MemoryBroker
from service.gateway.idempotency import IdempotencyCache
from tests.support.gateway import RawClient, RunningGateway, running_gateway, until
from tests.support.tokens import SECRET, signed

SETTINGS: dict[str, Any] = {"token": {"hmac_secret": SECRET}}


class WaitingBroker(MemoryBroker):
    """A broker that opens the channel ``late`` when a test says so."""

    def __init__(self, running: RunningGateway) -> None:
        gateway = running.gateway
        super().__init__(gateway.hub, gateway.streams, IdempotencyCache(running.clock))
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    async def open(self, channel: str) -> None:
        """Wait."""
        if channel == "late":
            self.asked.set()
            await self.gate.wait()


async def connecting(running: RunningGateway, client: RawClient) -> WaitingBroker:
    """Have a client connect to two channels, of which the second is waited for."""
    broker = WaitingBroker(running)
    running.gateway.subscriptions._broker = broker
    token = signed({"sub": "7", "channels": ["early", "late"]}, "HS256")
    await client.send(f'{{"id":1,"connect":{{"token":"{token}"}}}}')
    await broker.asked.wait()
    return broker


async def test_nothing_is_written_before_the_reply_to_connect():
    """What comes for a channel while another one is waited for follows the reply, in order."""
    async with running_gateway(**SETTINGS) as running, running.client(connect=False) as client:
        broker = await connecting(running, client)
        await running.publish("early", 1)
        await running.api("unsubscribe", {"user": "7", "channel": "early"})
        broker.gate.set()

        reply = await client.reply()
        assert set(reply["connect"]["subs"]) == {"early", "late"}
        assert await client.published() == 1
        assert (await client.reply())["push"]["unsubscribe"]["code"] == 2000
        await running.publish("late", 2)
        assert await client.published() == 2


async def test_what_waits_for_the_reply_is_bounded():
    """A client for which too much has come is as slow as one that does not read."""
    async with running_gateway(**SETTINGS, max_queue_size="16KiB") as running:
        async with running.client(connect=False) as client:
            await connecting(running, client)
            for _ in range(3):
                await running.publish("early", "x" * 8000)

            assert (await client.closed())[0] == 3008


async def test_a_client_that_goes_while_it_connects_leaves_nothing():
    """Its subscriptions are gone, the one that is waited for as well."""
    async with running_gateway(**SETTINGS) as running:
        async with running.client(connect=False) as client:
            broker = await connecting(running, client)
            client.vanish()
        (connection,) = running.gateway.connections
        connection.abort()
        broker.gate.set()
        await until(lambda: not len(running.gateway.connections))

        assert running.gateway.stats.subscriptions == 0
        assert len(running.gateway.hub) == 0
