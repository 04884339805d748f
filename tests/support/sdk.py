"""The Centrifuge SDK for Python as an application uses it, with its events in queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import centrifuge


class Events(centrifuge.ClientEventHandler, centrifuge.SubscriptionEventHandler):
    """Puts what happens into queues that tests await."""

    def __init__(self) -> None:
        self.publications: asyncio.Queue[Any] = asyncio.Queue()
        self.connecting: asyncio.Queue[int] = asyncio.Queue()

    async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
        self.publications.put_nowait(ctx.pub.data)

    async def on_connecting(self, ctx: centrifuge.ConnectingContext) -> None:
        self.connecting.put_nowait(ctx.code)

    async def published(self) -> Any:
        """Return the data of the next publication."""
        return await asyncio.wait_for(self.publications.get(), 10)

    async def told(self) -> int:
        """Return the code with which the client began to connect: 0 at first, then why again."""
        return await asyncio.wait_for(self.connecting.get(), 10)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[centrifuge.Client, Events]]:
    """Have a client connected until the end of the block."""
    events = Events()
    client = centrifuge.Client(url, events=events)
    await client.connect()
    try:
        await client.ready(timeout=10)
        assert await events.told() == 0
        yield client, events
    finally:
        await client.disconnect()


async def subscribed(
    client: centrifuge.Client, events: Events, channel: str
) -> centrifuge.Subscription:
    """Subscribe and wait until the channel is open."""
    subscription = client.new_subscription(channel, events=events)
    await subscription.subscribe()
    await subscription.ready(timeout=10)
    return subscription
