"""Tokens with the Centrifuge SDK for Python: got, refreshed, and brought along."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import centrifuge

from alerts.clock import ManualClock
from tests.support.gateway import running_gateway, until
from tests.support.tokens import SECRET, jwk, key_set_server, private_key, signed

SETTINGS: dict[str, Any] = {"token": {"hmac_secret": SECRET}, "allow_anonymous": False}


class Events(centrifuge.ClientEventHandler, centrifuge.SubscriptionEventHandler):
    """Puts what happens into queues that tests await."""

    def __init__(self) -> None:
        self.publications: asyncio.Queue[Any] = asyncio.Queue()
        self.subscribed: asyncio.Queue[Any] = asyncio.Queue()
        self.unsubscribed: asyncio.Queue[Any] = asyncio.Queue()
        self.disconnected: asyncio.Queue[Any] = asyncio.Queue()

    async def on_publication(self, ctx) -> None:
        self.publications.put_nowait(ctx)

    async def on_subscribed(self, ctx) -> None:
        self.subscribed.put_nowait(ctx)

    async def on_unsubscribed(self, ctx) -> None:
        self.unsubscribed.put_nowait(ctx)

    async def on_disconnected(self, ctx) -> None:
        self.disconnected.put_nowait(ctx)


class Tokens:
    """Signs a token whenever the SDK asks, and says so."""

    def __init__(self, **claims: Any) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.lifetimes_s: list[float] = []
        self._claims = claims

    async def __call__(self, channel: str = "") -> str:
        self.asked.put_nowait(channel)
        claims = {"sub": "7", **self._claims} | ({"channel": channel} if channel else {})
        if self.lifetimes_s:
            claims["exp"] = time.time() + self.lifetimes_s.pop(0)  # noqa: TID251 - the SDK's time
        return signed(claims, "HS256")


async def next_of(queue):
    """Return the next event, within ten seconds."""
    return await asyncio.wait_for(queue.get(), 10)


@asynccontextmanager
async def sdk(running, get_token: Callable[[], Awaitable[str]]):
    """Connect an SDK client."""
    events = Events()
    client = centrifuge.Client(running.websocket_url, events=events, get_token=get_token)
    await client.connect()
    try:
        await client.ready(timeout=10)
        yield client, events
    finally:
        await client.disconnect()


async def test_a_private_channel_opens_with_a_token():
    """The SDK asks the application for one, and the gateway believes it."""
    tokens = Tokens(info={"role": "editor"})
    async with running_gateway(**SETTINGS) as running, sdk(running, Tokens()) as (client, events):
        subscription = client.new_subscription("$secret", events=events, get_token=tokens)
        await subscription.subscribe()
        await subscription.ready(timeout=10)

        await subscription.publish({"text": "hi"})

        publication = (await next_of(events.publications)).pub
        assert publication.data == {"text": "hi"}
        assert publication.info.chan_info == {"role": "editor"}
        assert await next_of(tokens.asked) == "$secret"


async def test_a_private_channel_stays_closed_without_a_good_one():
    """103 is final for the subscription, and for nothing else."""

    async def forged(_channel: str) -> str:
        return signed({"sub": "7", "channel": "$secret"}, "HS256", "x" * 32)

    async with running_gateway(**SETTINGS) as running, sdk(running, Tokens()) as (client, events):
        subscription = client.new_subscription("$secret", events=events, get_token=forged)
        await subscription.subscribe()

        assert (await next_of(events.unsubscribed)).code == 103
        assert client.state is centrifuge.ClientState.CONNECTED


async def test_tokens_are_refreshed_before_they_expire():
    """Connection and subscription go on as if nothing had been."""
    connection, subscription = Tokens(), Tokens()
    connection.lifetimes_s, subscription.lifetimes_s = [1.2], [1.2]
    async with running_gateway(**SETTINGS) as running:
        async with sdk(running, connection) as (client, events):
            await next_of(connection.asked)
            subscribed = client.new_subscription("$a", events=events, get_token=subscription)
            await subscribed.subscribe()
            await next_of(subscription.asked)

            await next_of(connection.asked)
            await next_of(subscription.asked)
            await subscribed.publish("still there")

            assert (await next_of(events.publications)).pub.data == "still there"
            assert events.disconnected.empty()
            assert events.unsubscribed.empty()
            counts = running.gateway.stats.commands
            await until(lambda: counts["refresh", ""] == counts["sub_refresh", ""] == 1)


async def test_an_expired_token_is_replaced():
    """After 109 the SDK gets another one and connects with it; likewise a subscription."""
    connection, subscription = Tokens(), Tokens()
    connection.lifetimes_s, subscription.lifetimes_s = [-10], [-10]
    async with running_gateway(**SETTINGS) as running:
        async with sdk(running, connection) as (client, events):
            subscribed = client.new_subscription("$a", events=events, get_token=subscription)
            await subscribed.subscribe()
            await subscribed.ready(timeout=10)

            assert (connection.asked.qsize(), subscription.asked.qsize()) == (2, 2)


async def test_channels_of_the_token_arrive_without_asking():
    """As server-side subscriptions of the SDK."""
    tokens = Tokens(subs={"news": {"data": {"topic": "all"}}})
    async with running_gateway(**SETTINGS) as running, sdk(running, tokens) as (_, events):
        context = await next_of(events.subscribed)
        assert (context.channel, context.data) == ("news", {"topic": "all"})

        await running.publish("news", {"n": 1})

        received = await next_of(events.publications)
        assert (received.channel, received.pub.data) == ("news", {"n": 1})


async def test_a_provider_signs_and_rotates_its_key():
    """New clients come in with the new key, also when the gateway has not seen it before."""

    async def old() -> str:
        return signed({"sub": "7"}, "ES256", kid="old")

    async def new() -> str:
        return signed({"sub": "8"}, "EdDSA", kid="new")

    async with key_set_server() as server:
        server.keys = [jwk(private_key("ES256"), kid="old")]
        settings: dict[str, Any] = {"allow_anonymous": False, "token": {"jwks_url": server.url}}
        clock = ManualClock()
        async with running_gateway(clock=clock, **settings) as running, sdk(running, old):
            server.keys = [jwk(private_key("EdDSA"), kid="new")]
            events = Events()
            client = centrifuge.Client(running.websocket_url, events=events, get_token=new)
            await client.connect()
            try:
                counts = running.gateway.stats.commands
                # Too soon for another fetch, so that the SDK tries again until it is not.
                await until(lambda: counts["connect", "100"] >= 2)
                await clock.advance(10)

                await client.ready(timeout=10)
                assert events.disconnected.empty()
            finally:
                await client.disconnect()
