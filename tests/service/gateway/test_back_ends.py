"""Back ends that say who clients are, and decide on subscriptions and publications."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import pytest
from aiohttp import web

from alerts.clock import ManualClock
from tests.support.back_end import BackEnd, back_end
from tests.support.gateway import running_gateway, until
from tests.support.http import raw_server
from tests.support.sdk import connected, subscribed

SECRET = "a secret of at least thirty-two bytes"


def asking(upstream: BackEnd, event: str, **options: Any) -> dict[str, Any]:
    """Return the settings that have a back end asked about one kind of event."""
    return {"proxy": {event: {"endpoint": upstream.url(f"/{event}"), **options}}}


def subscribing(upstream: BackEnd, **options: Any) -> dict[str, Any]:
    channels = {"subscribe_proxy_enabled": True, "allow_subscribe_for_anonymous": False, **options}
    return {**asking(upstream, "subscribe"), "channels": channels}


def publishing(upstream: BackEnd, **options: Any) -> dict[str, Any]:
    return {
        **asking(upstream, "publish"),
        "channels": {"publish_proxy_enabled": True, **options},
    }


async def test_a_back_end_says_who_a_client_is():
    """From what the client says of itself and from its cookie; others see the user and info."""
    async with back_end() as upstream:
        settings = asking(upstream, "connect", http_headers=["Cookie"])
        settings["channels"] = {"allow_publish_for_client": True}
        async with (
            running_gateway(allow_anonymous=False, **settings) as running,
            running.client(connect=False, headers={"Cookie": "session=1"}) as client,
        ):
            upstream.says(
                {"result": {"user": "56", "info": {"name": "A"}, "data": {"welcome": True}}}
            )
            reply = await client.call(
                connect={"name": "js", "version": "5", "data": {"x": 1}, "subs": {"a": {}}}
            )
            await client.subscribe("news")
            await client.call(publish={"channel": "news", "data": 1})
            info = (await client.reply())["push"]["pub"]["info"]

    result = reply["connect"]
    assert result["data"] == {"welcome": True}
    assert "ttl" not in result
    assert info == {"user": "56", "client": result["client"], "conn_info": {"name": "A"}}
    assert upstream.asked == [
        {
            "client": result["client"],
            "transport": "websocket",
            "protocol": "json",
            "encoding": "json",
            "name": "js",
            "version": "5",
            "channels": ["a"],
            "data": {"x": 1},
        }
    ]
    assert upstream.headers[0]["cookie"] == "session=1"


async def test_a_client_with_a_token_is_not_asked_about():
    """The token says who it is."""
    token = jwt.encode({"sub": "42"}, SECRET)
    async with back_end() as upstream:
        settings = asking(upstream, "connect")
        async with (
            running_gateway(token={"hmac_secret": SECRET}, **settings) as running,
            running.client(connect=False) as client,
        ):
            assert "connect" in await client.call(connect={"token": token})

    assert upstream.asked == []


@pytest.mark.parametrize(("allow_anonymous", "code"), [(True, None), (False, 3507)])
async def test_a_back_end_can_leave_open_who_a_client_is(allow_anonymous: bool, code: int | None):
    """Then it is anonymous, where that is allowed."""
    async with back_end() as upstream:
        upstream.says({})
        settings = asking(upstream, "connect")
        async with (
            running_gateway(allow_anonymous=allow_anonymous, **settings) as running,
            running.client(connect=False) as client,
        ):
            await client.send(b'{"id":1,"connect":{}}')
            if code is None:
                assert "connect" in await client.reply()
            else:
                assert (await client.closed())[0] == code


async def test_a_back_end_can_refuse_a_client():
    """With an error, with a code, or by being away, which the client may try again."""
    async with back_end() as upstream:
        settings = asking(upstream, "connect")
        async with running_gateway(**settings) as running:
            upstream.says({"error": {"code": 403, "message": "no"}})
            async with running.client(connect=False) as client:
                refused = (await client.call(connect={}))["error"]
            upstream.says({"disconnect": {"code": 4501, "reason": "unauthorized"}})
            async with running.client(connect=False) as client:
                await client.send(b'{"id":1,"connect":{}}')
                ended = await client.closed()
            upstream.says({}, status=500)
            async with running.client(connect=False) as client:
                failed = (await client.call(connect={}))["error"]

    assert refused == {"code": 403, "message": "no"}
    assert ended == (4501, "unauthorized")
    assert failed == {"code": 100, "message": "internal server error", "temporary": True}


async def test_an_identity_lasts_as_long_as_the_back_end_says():
    """The client learns when to refresh, and is told when it is too late already."""
    clock = ManualClock()
    async with back_end() as upstream:
        settings = asking(upstream, "connect", timeout="5s")
        async with running_gateway(clock=clock, ping_interval="1h", **settings) as running:
            upstream.says({"result": {"user": "56", "expire_at": round(clock.time()) + 60}})
            async with running.client(connect=False) as client:
                result = (await client.call(connect={}))["connect"]
                await clock.advance(60 + 26)
                ended = (await client.closed())[0]
            upstream.says({"result": {"user": "56", "expire_at": round(clock.time()) - 1}})
            async with running.client(connect=False) as client:
                late = (await client.call(connect={}))["error"]["code"]

    assert (result["expires"], result["ttl"]) == (True, 60)
    assert (ended, late) == (3005, 110)


async def test_commands_behind_connect_wait_for_the_back_end():
    """An SDK sends subscribe behind connect without waiting."""
    release = asyncio.Event()

    async def slowly(_asked: Any) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"result": {"user": "56"}})

    async with back_end() as upstream:
        upstream.answer = slowly
        settings = asking(upstream, "connect", timeout="5s")
        async with running_gateway(**settings) as running, running.client(connect=False) as client:
            await client.send(b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}')
            await until(lambda: upstream.asked)
            assert running.gateway.stats.subscriptions == 0
            release.set()

            assert [(await client.reply())["id"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("command", ["connect", "subscribe"])
async def test_a_client_that_is_lost_meanwhile_gets_nothing(command: str):
    """Neither pings nor a subscription are left of it."""
    release = asyncio.Event()

    async def slowly(_asked: Any) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"result": {}})

    async with back_end() as upstream:
        settings: dict[str, Any] = {
            "proxy": {
                event: {"endpoint": upstream.url(), "timeout": "5s"}
                for event in ("connect", "subscribe")
            },
            "channels": {"subscribe_proxy_enabled": True},
        }
        async with running_gateway(**settings) as running:
            async with running.client(connect=command == "subscribe") as client:
                asked = len(upstream.asked)
                upstream.answer = slowly
                fields = b'"channel":"news"' if command == "subscribe" else b""
                await client.send(b'{"id":9,"%s":{%s}}' % (command.encode(), fields))
                await until(lambda: len(upstream.asked) > asked)
                for each in running.gateway.connections:
                    each.abort()
                release.set()
            await until(lambda: len(running.gateway.connections) == 0)

            assert running.gateway.stats.subscriptions == 0


async def test_a_back_end_decides_on_subscriptions():
    """It may allow what the options do not, and give data and info along."""
    async with back_end() as upstream:
        settings = subscribing(upstream, presence=True, allow_presence_for_subscriber=True)
        async with running_gateway(**settings) as running, running.client() as client:
            upstream.says({"result": {"data": {"topic": "x"}, "info": {"role": "mod"}}})
            reply = await client.call(subscribe={"channel": "chat", "data": {"k": 1}})
            shown = await client.call(presence={"channel": "chat"})
            upstream.says({"error": {"code": 403, "message": "permission denied"}})
            refused = await client.call(subscribe={"channel": "other"})

    assert reply["subscribe"]["data"] == {"topic": "x"}
    (info,) = shown["presence"]["presence"].values()
    assert info["chan_info"] == {"role": "mod"}
    assert refused["error"]["code"] == 403
    assert [(asked["channel"], asked.get("data")) for asked in upstream.asked] == [
        ("chat", {"k": 1}),
        ("other", None),
    ]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({}, 100),
        ([], 100),
        ({"result": None}, 100),
        ({"result": {"override": {"unknown": {"value": True}}}}, 100),
        ({"result": {"expire_at": 1}}, 110),
    ],
)
async def test_what_is_no_permission_allows_nothing(answer: Any, code: int):
    """Neither an empty object nor a permission that cannot be kept to or is over."""
    async with back_end() as upstream:
        upstream.says(answer)
        async with running_gateway(**subscribing(upstream)) as running, running.client() as client:
            reply = await client.call(subscribe={"channel": "chat"})

            assert (reply["error"]["code"], running.gateway.stats.subscriptions) == (code, 0)


async def test_a_subscription_lasts_and_has_options_as_the_back_end_says():
    """The client learns when to bring a token; one without it is told to subscribe again."""
    clock = ManualClock()
    async with back_end() as upstream:
        settings = subscribing(upstream)
        settings["channels"]["allow_presence_for_subscriber"] = True
        settings["channels"]["presence"] = True
        async with (
            running_gateway(
                clock=clock, ping_interval="1h", idle_timeout="1h", **settings
            ) as running,
            running.client() as client,
        ):
            result = {
                "expire_at": round(clock.time()) + 60,
                "override": {"presence": {"value": False}},
            }
            upstream.says({"result": result})
            reply = await client.call(subscribe={"channel": "chat"})
            shown = await client.call(presence={"channel": "chat"})
            await clock.advance(60 + 26)
            ended = (await client.reply())["push"]["unsubscribe"]["code"]

    assert (reply["subscribe"]["expires"], reply["subscribe"]["ttl"]) == (True, 60)
    assert shown["presence"]["presence"] == {}
    assert ended == 2501


async def test_a_back_end_subscribes_a_client_from_the_start():
    """What is published there reaches it without a command of its own."""
    async with back_end() as upstream:
        upstream.says(
            {"result": {"user": "56", "channels": ["news"], "subs": {"mine": {"data": 1}}}}
        )
        async with (
            running_gateway(**asking(upstream, "connect")) as running,
            running.client() as client,
        ):
            await running.publish("news", "hello")
            published = await client.published()
            upstream.says({"result": {"user": "56", "channels": ["unknown:x"]}})
            async with running.client(connect=False) as other:
                refused = (await other.call(connect={}))["error"]["code"]

    assert client.connect_result["subs"] == {"news": {}, "mine": {"data": 1}}
    assert (published, refused) == ("hello", 102)


async def test_a_token_goes_before_the_back_end():
    """A subscription with a token of its own is not asked about."""
    token = jwt.encode({"sub": "", "channel": "chat"}, SECRET)
    async with back_end() as upstream:
        settings = {**subscribing(upstream), "token": {"hmac_secret": SECRET}}
        async with running_gateway(**settings) as running, running.client() as client:
            assert "subscribe" in await client.call(subscribe={"channel": "chat", "token": token})

    assert upstream.asked == []


async def test_channels_whose_name_says_for_whom_they_are_are_not_asked_about():
    """Nor are private ones, which need a token."""
    token = jwt.encode({"sub": "42"}, SECRET)
    async with back_end() as upstream:
        settings: dict[str, Any] = {**subscribing(upstream), "token": {"hmac_secret": SECRET}}
        async with running_gateway(**settings) as running:
            async with running.client(connect=False) as client:
                await client.call(connect={"token": token})
                mine = await client.call(subscribe={"channel": "chat#42"})
                others = await client.call(subscribe={"channel": "chat#7"})
                private = await client.call(subscribe={"channel": "$chat"})

    assert "subscribe" in mine
    assert (others["error"]["code"], private["error"]["code"]) == (103, 103)
    assert upstream.asked == []


async def test_namespaces_have_back_ends_of_their_own():
    """Others are not asked about at all."""
    async with back_end() as usual, back_end() as other:
        settings: dict[str, Any] = {
            "proxy": {
                "subscribe": {"endpoint": usual.url()},
                "proxies": [{"name": "other", "endpoint": other.url()}],
            },
            "namespaces": [
                {"name": "one", "subscribe_proxy_enabled": True},
                {
                    "name": "two",
                    "subscribe_proxy_enabled": True,
                    "subscribe_proxy_name": "other",
                },
                {"name": "three"},
            ],
        }
        async with running_gateway(**settings) as running, running.client() as client:
            for channel in ("one:a", "two:a", "three:a"):
                await client.subscribe(channel)

    assert [asked["channel"] for asked in usual.asked] == ["one:a"]
    assert [asked["channel"] for asked in other.asked] == ["two:a"]


async def test_a_back_end_decides_on_publications():
    """It may change what is published, tag it, keep it out of the history, or refuse it."""
    async with back_end() as upstream:
        settings = publishing(upstream, history_size=10, history_ttl="1m")
        async with running_gateway(**settings) as running, running.client() as client:
            await client.subscribe("chat")
            publications = []
            for result in (
                {},
                {"data": {"clean": "hello"}, "tags": {"lang": "en"}},
                {"skip_history": True},
            ):
                upstream.says({"result": result})
                await client.call(publish={"channel": "chat", "data": {"raw": "hello"}})
                publications.append((await client.reply())["push"]["pub"])
            upstream.says({"error": {"code": 400, "message": "spam"}})
            refused = await client.call(publish={"channel": "chat", "data": "spam"})
            kept = (await running.api("history", {"channel": "chat", "limit": 10}))["result"]

    assert [each["data"] for each in publications] == [
        {"raw": "hello"},
        {"clean": "hello"},
        {"raw": "hello"},
    ]
    assert publications[1]["tags"] == {"lang": "en"}
    assert len(kept["publications"]) == 2
    assert refused["error"]["code"] == 400
    assert upstream.asked[0]["data"] == {"raw": "hello"}
    assert len(upstream.asked) == 4


async def test_a_back_end_can_have_repetitions_left_out():
    """Of publications with the same idempotency key only the first reaches subscribers."""
    async with back_end() as upstream:
        async with running_gateway(**publishing(upstream)) as running, running.client() as client:
            await client.subscribe("chat")
            for key in ("a", "a", "b"):
                upstream.says({"result": {"idempotency_key": key}})
                await client.call(publish={"channel": "chat", "data": key})

            assert [await client.published() for _ in range(2)] == ["a", "b"]


async def test_a_publication_that_may_have_been_seen_is_not_asked_about_again():
    """A connection that broke says nothing about what the back end did."""
    async with raw_server() as port:
        settings: dict[str, Any] = {
            "proxy": {"publish": {"endpoint": f"http://127.0.0.1:{port}/"}},
            "channels": {"publish_proxy_enabled": True},
        }
        async with running_gateway(**settings) as running, running.client() as client:
            reply = await client.call(publish={"channel": "chat", "data": 1})
            proxy = running.gateway.proxy
            assert proxy is not None
            retries = [each.stats.retries for each in proxy.upstreams()]

    assert (reply["error"]["code"], retries) == (100, [0])


async def test_meta_goes_with_later_requests():
    """What a back end attached to the connection, where settings say so."""
    async with back_end() as upstream:
        proxy = {
            "connect": {"endpoint": upstream.url()},
            "rpc": {"endpoint": upstream.url(), "include_connection_meta": True},
        }
        async with running_gateway(proxy=proxy) as running:
            upstream.says({"result": {"user": "56", "meta": {"tier": "gold"}}})
            async with running.client() as client:
                upstream.says({"result": {}})
                await client.call(rpc={"method": "m"})

    assert upstream.asked[1]["meta"] == {"tier": "gold"}
    assert upstream.asked[1]["user"] == "56"


async def test_the_sdk_works_with_back_ends_for_everything():
    """Connect, subscribe, publish and receive."""
    async with back_end() as upstream:
        proxy = {
            event: {"endpoint": upstream.url()} for event in ("connect", "subscribe", "publish")
        }
        channels = {"subscribe_proxy_enabled": True, "publish_proxy_enabled": True}
        async with (
            running_gateway(allow_anonymous=False, proxy=proxy, channels=channels) as running,
            connected(running.websocket_url) as (client, events),
        ):
            subscription = await subscribed(client, events, "chat")
            await subscription.publish({"input": "hello"})

            assert await events.published() == {"input": "hello"}
