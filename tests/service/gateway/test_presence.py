"""Who is in a channel, and being told who comes and goes."""

import asyncio
from typing import Any

import cent
import jwt
import pytest

from alerts.clock import ManualClock
from service.config.gateway_settings import GatewaySettings
from tests.service.gateway.test_sdk import Events, next_of, sdk, subscribed
from tests.support.gateway import API_KEY, running_gateway, until

SECRET = "a secret of at least thirty-two bytes"
SHOWN: dict[str, Any] = {"presence": True, "allow_presence_for_subscriber": True}
TOLD: dict[str, Any] = {"join_leave": True, "force_push_join_leave": True}


def token(user: str) -> dict[str, Any]:
    """Return the request of a connect command for a user."""
    return {"token": jwt.encode({"sub": user, "info": {"name": user.upper()}}, SECRET)}


async def connect(client, user: str) -> str:
    """Connect as a user and return the client's id."""
    result = await client.call(connect=token(user))
    client_id: str = result["connect"]["client"]
    return client_id


async def test_presence_lists_the_clients_of_a_channel_until_they_leave():
    """By id, with what their tokens say of them; two clients of a user are one user."""
    settings: dict[str, Any] = {"token": {"hmac_secret": SECRET}, "channels": SHOWN}
    async with running_gateway(**settings) as running:
        async with (
            running.client(connect=False) as one,
            running.client(connect=False) as two,
            running.client(connect=False) as three,
        ):
            names = [await connect(one, "a"), await connect(two, "b"), await connect(three, "b")]
            for client in (one, two, three):
                await client.subscribe("room")

            found = (await one.call(presence={"channel": "room"}))["presence"]["presence"]
            stats = (await one.call(presence_stats={"channel": "room"}))["presence_stats"]
            await two.call(unsubscribe={"channel": "room"})
            three.vanish()
            await until(lambda: len(running.gateway.connections) == 2)
            left = (await running.api("presence", {"channel": "room"}))["result"]["presence"]

        assert set(found) == set(names)
        assert found[names[0]] == {"user": "a", "client": names[0], "conn_info": {"name": "A"}}
        assert stats == {"num_clients": 3, "num_users": 2}
        assert list(left) == names[:1]


@pytest.mark.parametrize("way", ["refresh", "sub_refresh", "api"])
async def test_what_a_refresh_says_of_a_client_is_seen_at_once(way):
    """In the presence of all its channels and when it leaves, without subscribing again."""
    settings: dict[str, Any] = {"token": {"hmac_secret": SECRET}, "channels": {**SHOWN, **TOLD}}
    async with running_gateway(**settings) as running:
        async with running.client(connect=False) as one, running.client(connect=False) as other:
            client_id = await connect(one, "a")
            await connect(other, "b")
            claims = {"sub": "a", "channel": "hall", "info": "guest"}
            await one.call(subscribe={"channel": "hall", "token": jwt.encode(claims, SECRET)})
            for client in (one, other):
                await client.subscribe("room")
            if way == "refresh":
                await one.call(refresh={"token": jwt.encode({"sub": "a", "info": 2}, SECRET)})
            elif way == "api":
                await running.api("refresh", {"user": "a", "info": 2})
            else:
                claims["info"] = "host"
                request = {"channel": "hall", "token": jwt.encode(claims, SECRET)}
                await one.call(sub_refresh=request)
            hall, room = [
                (await running.api("presence", {"channel": channel}))["result"]["presence"]
                for channel in ("hall", "room")
            ]
            await one.call(unsubscribe={"channel": "room"})
            while "leave" not in (push := (await other.reply())["push"]):
                pass

    conn_info = {"name": "A"} if way == "sub_refresh" else 2
    chan_info = "host" if way == "sub_refresh" else "guest"
    seen = {"user": "a", "client": client_id, "conn_info": conn_info}
    assert hall[client_id] == {**seen, "chan_info": chan_info}
    assert room[client_id] == seen
    assert push["leave"]["info"] == seen


async def test_presence_is_for_those_who_may_ask():
    """Here subscribers; where it is not kept it is not available, also for back ends."""
    namespaces = [{"name": "live"}]
    async with running_gateway(channels=SHOWN, namespaces=namespaces) as running:
        async with running.client() as client:
            for method in ("presence", "presence_stats"):
                codes = [
                    (await client.call(**{method: {"channel": name}}))["error"]["code"]
                    for name in ("room", "live:a", "nowhere:a")
                ]
                assert codes == [103, 108, 102]
                refused = await running.api(method, {"channel": "live:a"})
                assert refused["error"]["code"] == 108


async def test_back_ends_ask_through_their_client_library():
    """Presence and its numbers as ``cent`` reads them."""
    async with running_gateway(channels=SHOWN) as running, running.client() as client:
        await client.subscribe("room")
        api = cent.AsyncClient(f"http://127.0.0.1:{running.port}/api", API_KEY)
        try:
            found = await api.presence(cent.PresenceRequest(channel="room"))
            stats = await api.presence_stats(cent.PresenceStatsRequest(channel="room"))
        finally:
            await api.close()

        (info,) = found.presence.values()
        assert info.client == client.connect_result["client"]
        assert (stats.num_clients, stats.num_users) == (1, 1)


async def test_subscribers_are_told_who_comes_and_goes():
    """All of them, the one that came included."""
    async with running_gateway(channels=TOLD) as running, running.client() as one:
        await one.subscribe("room")
        mine = (await one.reply())["push"]
        async with running.client() as two:
            await two.subscribe("room")
            joined = (await one.reply())["push"]
        left = (await one.reply())["push"]

        assert mine["join"]["info"]["client"] == one.connect_result["client"]
        assert joined["join"]["info"]["client"] == two.connect_result["client"]
        assert left == {"channel": "room", "leave": joined["join"]}


async def test_those_who_did_not_ask_are_told_nothing():
    """In one window, news of comers are for listeners and messages for all, in one frame each."""
    clock = ManualClock()
    async with running_gateway(clock=clock, channels={"join_leave": True}) as running:
        async with running.client() as deaf, running.client() as listener:
            await deaf.subscribe("room")
            await listener.call(subscribe={"channel": "room", "join_leave": True})
            await running.publish("room", 1)
            async with running.client() as third:
                await third.subscribe("room")
                await running.publish("room", 2)
                await clock.advance(0.010)

                assert [await deaf.published() for _ in range(2)] == [1, 2]
                heard = [(await listener.reply())["push"] for _ in range(4)]
                assert [next(k for k in push if k != "channel") for push in heard] == [
                    "join",
                    "pub",
                    "join",
                    "pub",
                ]
                assert await third.published() == 2


async def test_a_subscription_of_a_moment_is_told_in_order():
    """It came and then it went, though both were commands of one frame."""
    async with running_gateway(channels=TOLD) as running:
        async with running.client() as one, running.client() as two:
            await one.subscribe("room")
            await one.reply()

            await two.send(
                '{"id":8,"subscribe":{"channel":"room"}}\n{"id":9,"unsubscribe":{"channel":"room"}}'
            )

            pushes = [(await one.reply())["push"] for _ in range(2)]
            assert ["join" in pushes[0], "leave" in pushes[1]] == [True, True]


class RoomEvents(Events):
    """Also who comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.came: asyncio.Queue[Any] = asyncio.Queue()
        self.went: asyncio.Queue[Any] = asyncio.Queue()

    async def on_join(self, ctx) -> None:
        self.came.put_nowait(ctx)

    async def on_leave(self, ctx) -> None:
        self.went.put_nowait(ctx)


async def test_presence_and_arrivals_as_the_sdk_shows_them():
    """Join and leave events, presence, and its numbers."""
    async with running_gateway(channels={**SHOWN, **TOLD}) as running, sdk(running) as (one, _):
        events = RoomEvents()
        subscription = await subscribed(one, events, "room")
        await next_of(events.came)
        async with sdk(running) as (two, two_events):
            await subscribed(two, two_events, "room")
            joined = await next_of(events.came)
            found = await subscription.presence()
            stats = await subscription.presence_stats()
        left = await next_of(events.went)

        assert left.info.client == joined.info.client
        assert joined.info.client in found.clients
        assert (stats.num_clients, stats.num_users) == (2, 1)


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ({"force_push_join_leave": True}, "needs join_leave"),
        ({"allow_presence_for_client": True}, "needs presence"),
    ],
)
def test_settings_that_need_others_say_so(channels, said):
    """What nobody would ever be shown is refused."""
    with pytest.raises(ValueError, match=said):
        GatewaySettings.model_validate({"channels": channels})
