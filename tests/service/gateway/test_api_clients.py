"""What back ends do with connected clients, and their library's calls for it."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import cent
import centrifuge
import jwt
import pytest

from alerts.clock import ManualClock
from tests.service.gateway.test_sdk import Events, next_of
from tests.support.gateway import API_KEY, running_gateway

SECRET = "a secret of at least thirty-two bytes"
USERS: dict[str, Any] = {"token": {"hmac_secret": SECRET}}
KEPT: dict[str, Any] = {"history_size": 10, "history_ttl": "1h"}


@asynccontextmanager
async def user(running, name: str):
    """Connect as a user; yields the client and its id."""
    async with running.client(connect=False) as client:
        result = await client.call(connect={"token": jwt.encode({"sub": name}, SECRET)})
        yield client, result["connect"]["client"]


@asynccontextmanager
async def library(running):
    """The client library of back ends."""
    api = cent.AsyncClient(f"http://127.0.0.1:{running.port}/api", API_KEY)
    try:
        yield api
    finally:
        await api.close()


async def test_a_back_end_subscribes_all_clients_of_a_user():
    """They are told, get what is published, and are unsubscribed again."""
    async with running_gateway(**USERS) as running, library(running) as api:
        async with user(running, "a") as (one, _), user(running, "a") as (two, _):
            async with user(running, "b"):
                await api.subscribe(cent.SubscribeRequest(user="a", channel="news", data={"x": 1}))
                await running.publish("news", 1)
                await api.unsubscribe(cent.UnsubscribeRequest(user="a", channel="news"))
                await running.publish("news", 2)

                for client in (one, two):
                    pushes = [(await client.reply())["push"] for _ in range(3)]
                    assert pushes == [
                        {"channel": "news", "subscribe": {"data": {"x": 1}}},
                        {"channel": "news", "pub": {"data": 1}},
                        {
                            "channel": "news",
                            "unsubscribe": {"code": 2000, "reason": "server unsubscribe"},
                        },
                    ]
        assert running.gateway.stats.subscriptions == 0


async def test_one_client_of_a_user_is_chosen_by_its_id():
    """A session chooses nobody, as no transport here has one."""
    async with running_gateway(**USERS) as running:
        async with user(running, "a") as (_, first), user(running, "a"):
            for request in (
                {"user": "a", "client": first},
                {"user": "b", "client": first},
                {"user": "a", "session": "s"},
            ):
                await running.api("subscribe", {"channel": "news", **request})

            assert running.gateway.stats.subscriptions == 1


async def test_what_was_missed_follows_the_push_of_a_subscription():
    """With ``recover_since``, and options that only this subscription has."""
    override = {"force_recovery": {"value": True}, "presence": {"value": True}}
    async with running_gateway(**USERS, channels=KEPT) as running:
        for number in (1, 2, 3):
            await running.publish("news", number)
        top = (await running.api("history", {"channel": "news"}))["result"]
        async with user(running, "a") as (client, _):
            since = {"offset": 1, "epoch": top["epoch"]}
            request = {"user": "a", "channel": "news", "recover_since": since}
            await running.api("subscribe", {**request, "override": override})
            await running.publish("news", 4)

            push = (await client.reply())["push"]["subscribe"]
            assert push == {
                "recoverable": True,
                "positioned": True,
                "epoch": top["epoch"],
                "offset": 1,
            }
            assert [await client.published() for _ in range(3)] == [2, 3, 4]


async def test_a_gap_in_a_subscription_of_the_back_end_ends_the_connection():
    """With 3010, because such a subscription is recovered by connecting again."""
    channels = {**KEPT, "force_recovery": True}
    async with running_gateway(**USERS, channels=channels) as running:
        async with user(running, "a") as (client, _):
            await running.api("subscribe", {"user": "a", "channel": "news"})
            await client.reply()

            running.gateway.hub.lose_positions("news")

            assert await client.closed() == (3010, "insufficient state")


async def test_a_subscription_ends_when_it_is_not_renewed():
    """25 seconds after its time; one of the back end takes the connection along."""
    clock = ManualClock()
    quiet: dict[str, Any] = {"ping_interval": "1h", "idle_timeout": "2h", "clock": clock}
    async with running_gateway(**USERS, **quiet) as running:
        async with user(running, "a") as (client, _):
            expire_at = int(clock.time()) + 100
            request = {"user": "a", "channel": "news", "expire_at": expire_at}
            await running.api("subscribe", request)
            await client.reply()
            await clock.advance(124)
            assert running.gateway.stats.subscriptions == 1

            await clock.advance(2)

            assert await client.closed() == (3006, "subscription expired")


async def test_past_the_limit_of_channels_the_connection_ends():
    """One subscription of the back end too many is 3505."""
    async with running_gateway(**USERS, max_channels_per_connection=2) as running:
        async with user(running, "a") as (client, _):
            for name in ("one", "two", "two"):
                await running.api("subscribe", {"user": "a", "channel": name})
            assert len(running.gateway.connections) == 1

            await running.api("subscribe", {"user": "a", "channel": "three"})

            while (await client.socket.receive(timeout=10)).data != 3505:
                pass


async def test_an_empty_channel_unsubscribes_from_all():
    """Each is told."""
    async with running_gateway(**USERS) as running, user(running, "a") as (client, _):
        await client.subscribe("one")
        await client.subscribe("two")

        await running.api("unsubscribe", {"user": "a", "channel": ""})

        pushes = [(await client.reply())["push"] for _ in range(2)]
        assert [push["channel"] for push in pushes] == ["one", "two"]
        assert running.gateway.stats.subscriptions == 0


async def test_clients_of_a_user_are_disconnected_but_for_some():
    """With the code of the back end, or 3503 after which clients stay away."""
    async with running_gateway(**USERS) as running, library(running) as api:
        async with user(running, "a") as (one, _), user(running, "a") as (two, spared):
            await api.disconnect(cent.DisconnectRequest(user="a", whitelist=[spared]))
            assert await one.closed() == (3503, "force disconnect")
            await api.disconnect(
                cent.DisconnectRequest(
                    user="a", disconnect=cent.Disconnect(code=4242, reason="enough")
                )
            )
            assert await two.closed() == (4242, "enough")


async def test_a_back_end_refreshes_connections():
    """A new time to live, and an end at once for what has expired."""
    clock = ManualClock()
    quiet: dict[str, Any] = {"ping_interval": "1h", "idle_timeout": "2h", "clock": clock}
    async with running_gateway(**USERS, **quiet) as running, library(running) as api:
        async with user(running, "a") as (client, _), user(running, "b") as (other, _):
            expire_at = int(clock.time()) + 100
            await api.refresh(cent.RefreshRequest(user="a", expire_at=expire_at))
            await api.refresh(cent.RefreshRequest(user="b", expired=True))
            await running.api("refresh", {"user": "a", "info": {"n": 1}, "expire_at": expire_at})
            assert await other.closed() == (3005, "connection expired")
            await clock.advance(124)
            assert len(running.gateway.connections) == 1

            await clock.advance(2)

            assert await client.closed() == (3005, "connection expired")


class ServerSideEvents(Events):
    """Events of subscriptions that the back end makes."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: asyncio.Queue[Any] = asyncio.Queue()
        self.ended: asyncio.Queue[Any] = asyncio.Queue()

    async def on_subscribed(self, ctx) -> None:
        self.begun.put_nowait(ctx)

    async def on_unsubscribed(self, ctx) -> None:
        self.ended.put_nowait(ctx)


async def test_subscriptions_of_the_back_end_as_the_sdk_shows_them():
    """Begun, with publications, and ended, while the connection stays."""
    events = ServerSideEvents()
    async with running_gateway() as running:
        client = centrifuge.Client(running.websocket_url, events=events)
        await client.connect()
        await client.ready(timeout=10)
        try:
            await running.api("subscribe", {"user": "", "channel": "news"})
            assert (await next_of(events.begun)).channel == "news"
            await running.publish("news", 1)
            assert (await next_of(events.publications)).pub.data == 1
            await running.api("unsubscribe", {"user": "", "channel": "news"})
            assert (await next_of(events.ended)).channel == "news"
        finally:
            await client.disconnect()


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_batch_answers_each_command_by_itself(parallel):
    """Beside each other in ``replies``, also when some fail."""
    async with running_gateway(channels=KEPT) as running:
        commands: list[Any] = [
            {"publish": {"channel": "a", "data": 1}},
            {"publish": {"channel": "nowhere:a", "data": 1}},
            {"unheard_of": {}},
            {"publish": 1},
            {},
            {"info": {}},
        ]
        answer = await running.api("batch", {"commands": commands, "parallel": parallel})

        replies = answer["replies"]
        assert replies[0]["publish"]["offset"] == 1
        assert [reply["error"]["code"] for reply in replies[1:5]] == [102, 104, 107, 107]
        assert "nodes" in replies[5]["info"]


async def test_a_batch_through_the_library():
    """Its results come in the order of the requests."""
    async with running_gateway(channels=KEPT) as running, library(running) as api:
        requests = [cent.PublishRequest(channel="a", data=n) for n in range(3)]

        result = await api.batch(cent.BatchRequest(requests=requests, parallel=True))

        assert [reply.offset for reply in result.replies] == [1, 2, 3]


async def test_a_repetition_with_the_same_key_is_answered_and_not_published():
    """For five minutes, in each channel by itself."""
    clock = ManualClock()
    async with running_gateway(clock=clock, channels=KEPT) as running:

        async def offset(channel: str = "a") -> int:
            request = {"channel": channel, "data": 1, "idempotency_key": "k"}
            result: int = (await running.api("publish", request))["result"]["offset"]
            return result

        assert [await offset(), await offset(), await offset("b")] == [1, 1, 1]
        await clock.advance(299)
        assert await offset() == 1
        await clock.advance(2)
        assert await offset() == 2


async def test_errors_have_a_status_where_the_settings_say_so():
    """A header of the request decides otherwise."""
    async with running_gateway(api_error_mode="transport") as running:
        headers = {"X-API-Key": API_KEY}
        request = {"channel": "nowhere:a", "data": 1}
        url = running.api_url("publish")
        async with running.http.post(url, json=request, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, 102)


async def test_data_in_base64_is_json_to_clients():
    """As back ends send it whose library has bytes only."""
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("news")

        await running.api("publish", {"channel": "news", "b64data": "eyJuIjogMX0="})

        assert await client.published() == {"n": 1}
