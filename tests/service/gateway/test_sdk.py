"""The Centrifuge SDK for Python against the gateway, as an application uses it."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import centrifuge
import jwt
from centrifuge import ClientState

from tests.support.gateway import running_gateway, until

SECRET = "a secret of at least thirty-two bytes"


class Events(centrifuge.ClientEventHandler, centrifuge.SubscriptionEventHandler):
    """Puts what happens into queues that tests await."""

    def __init__(self) -> None:
        self.publications: asyncio.Queue[centrifuge.PublicationContext] = asyncio.Queue()
        self.disconnections: asyncio.Queue[centrifuge.DisconnectedContext] = asyncio.Queue()
        self.connecting: asyncio.Queue[centrifuge.ConnectingContext] = asyncio.Queue()
        self.unsubscriptions: asyncio.Queue[centrifuge.UnsubscribedContext] = asyncio.Queue()

    async def on_publication(self, ctx) -> None:
        self.publications.put_nowait(ctx)

    async def on_disconnected(self, ctx) -> None:
        self.disconnections.put_nowait(ctx)

    async def on_connecting(self, ctx) -> None:
        self.connecting.put_nowait(ctx)

    async def on_unsubscribed(self, ctx) -> None:
        self.unsubscriptions.put_nowait(ctx)


async def next_of(queue):
    """Return the next event, within ten seconds."""
    return await asyncio.wait_for(queue.get(), 10)


@asynccontextmanager
async def sdk(running, **options):
    """Connect an SDK client."""
    events = Events()
    client = centrifuge.Client(running.websocket_url, events=events, **options)
    await client.connect()
    try:
        yield client, events
    finally:
        await client.disconnect()


async def subscribed(client, events, channel):
    subscription = client.new_subscription(channel, events=events)
    await subscription.subscribe()
    await subscription.ready(timeout=10)
    return subscription


async def test_messages_from_back_end_and_clients_arrive():
    """Subscribe, receive what a back end publishes, publish to others."""
    async with running_gateway() as running:
        async with sdk(running) as (one, one_events), sdk(running) as (two, two_events):
            await subscribed(one, one_events, "chat")
            subscription = await subscribed(two, two_events, "chat")

            await running.publish("chat", {"from": "back end"})
            assert (await next_of(one_events.publications)).pub.data == {"from": "back end"}
            assert (await next_of(two_events.publications)).pub.data == {"from": "back end"}
            await subscription.publish({"from": "two"})

            publication = (await next_of(one_events.publications)).pub
            assert publication.data == {"from": "two"}
            assert publication.info.client


async def test_a_burst_arrives_whole_and_in_order():
    """Batching changes the frames, not what the application sees."""
    async with running_gateway() as running, sdk(running) as (client, events):
        await subscribed(client, events, "news")

        await asyncio.gather(*(running.publish("news", number) for number in range(300)))

        received = [(await next_of(events.publications)).pub.data for _ in range(300)]
        assert sorted(received) == list(range(300))
        stats = running.gateway.hub.batcher_stats
        assert stats.batches < stats.items == 300


async def test_a_token_says_who_the_user_is():
    """The user of the token stands beside what the client publishes."""
    settings: dict[str, Any] = {"token": {"hmac_secret": SECRET}, "allow_anonymous": False}
    token = jwt.encode({"sub": "42", "info": {"name": "Ada"}}, SECRET)

    async def get_token():
        return token

    async with running_gateway(**settings) as running:
        async with sdk(running, get_token=get_token) as (client, events):
            subscription = await subscribed(client, events, "chat#42,43")
            await subscription.publish("hi")

            info = (await next_of(events.publications)).pub.info
            assert (info.user, info.conn_info) == ("42", {"name": "Ada"})


async def test_a_refused_client_stays_away():
    """A terminal code is a terminal state in the SDK."""
    async with running_gateway(allow_anonymous=False) as running:
        async with sdk(running) as (client, events):
            ended = await next_of(events.disconnections)

            assert ended.code == 3507
            assert client.state is ClientState.DISCONNECTED


async def test_errors_of_the_protocol_reach_the_application():
    """A subscription to an unknown namespace ends with the code."""
    async with running_gateway() as running, sdk(running) as (client, events):
        subscription = client.new_subscription("nowhere:a", events=events)
        await subscription.subscribe()

        assert (await next_of(events.unsubscriptions)).code == 102


async def test_after_a_stop_the_sdk_tries_to_come_back():
    """3001 is a code after which clients reconnect."""
    async with running_gateway() as running, sdk(running) as (client, events):
        await client.ready(timeout=10)
        await next_of(events.connecting)

        await running.gateway.drain()

        assert (await next_of(events.connecting)).code == 3001
        assert client.state is ClientState.CONNECTING


async def test_pings_keep_a_quiet_connection():
    """The SDK answers them, and takes their absence as a loss."""
    async with running_gateway(ping_interval="1s", pong_timeout="500ms") as running:
        async with sdk(running) as (client, _):
            await client.ready(timeout=10)
            (connection,) = running.gateway.connections
            seen = connection.messages_in
            await until(lambda: connection.messages_in >= seen + 2)

            assert client.state is ClientState.CONNECTED
            assert running.gateway.connections.stats.closed == {}


KEPT = {
    "history_size": 100,
    "history_ttl": "1h",
    "force_recovery": True,
    "allow_history_for_subscriber": True,
}


async def test_a_lost_connection_loses_no_message():
    """What was published meanwhile arrives after the reconnect, in order and once."""
    async with running_gateway(channels=KEPT) as running:
        async with sdk(running, min_reconnect_delay=0.01) as (client, events):
            await subscribed(client, events, "news")
            await running.publish("news", 0)
            assert (await next_of(events.publications)).pub.data == 0

            (connection,) = running.gateway.connections
            connection.abort()
            for number in range(1, 50):
                await running.publish("news", number)

            received = [(await next_of(events.publications)).pub for _ in range(49)]
            assert [publication.data for publication in received] == list(range(1, 50))
            assert [publication.offset for publication in received] == list(range(2, 51))
            assert events.publications.empty()


async def test_a_client_that_is_disconnected_for_lost_state_recovers():
    """An unsubscribe with 2500 is followed by a new subscription with what was missed."""
    async with running_gateway(channels=KEPT) as running, sdk(running) as (client, events):
        await subscribed(client, events, "news")
        await running.publish("news", 0)
        await next_of(events.publications)

        running.gateway.hub.lose_positions("news")
        await running.publish("news", 1)

        assert (await next_of(events.publications)).pub.data == 1


async def test_history_as_the_sdk_reads_it():
    """A page, a position, newest first."""
    async with running_gateway(channels=KEPT) as running, sdk(running) as (client, events):
        subscription = await subscribed(client, events, "news")
        for number in range(5):
            await running.publish("news", number)

        newest = await subscription.history(limit=2, reverse=True)
        since = centrifuge.StreamPosition(offset=3, epoch=newest.epoch)
        rest = await subscription.history(limit=100, since=since)
        place = await subscription.history(limit=0)

        assert [publication.data for publication in newest.publications] == [4, 3]
        assert [publication.data for publication in rest.publications] == [3, 4]
        assert (place.offset, place.publications) == (5, [])


async def test_a_cached_value_arrives_with_the_subscription():
    """The newest publication is the first event, also for who was never there before."""
    async with running_gateway(channels={**KEPT, "force_recovery_mode": "cache"}) as running:
        for number in range(3):
            await running.publish("price", number)
        async with sdk(running) as (client, events):
            await subscribed(client, events, "price")
            assert (await next_of(events.publications)).pub.data == 2

            await running.publish("price", 3)

            assert (await next_of(events.publications)).pub.data == 3
