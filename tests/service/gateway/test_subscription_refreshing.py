"""Subscriptions whose time is over, and what a back end says to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from alerts.clock import Clock, ManualClock, SystemClock
from service.gateway.upstream import Upstream
from tests.support.back_end import BackEnd, back_end
from tests.support.gateway import RawClient, RunningGateway, running_gateway, until
from tests.support.http import RecordedTelemetry, raw_server
from tests.support.tokens import SECRET, signed

OPTIONS = {"presence": True, "allow_presence_for_subscriber": True}


@asynccontextmanager
async def refreshed(
    url: str, clock: Clock, telemetry: RecordedTelemetry | None = None, **upstream: Any
) -> AsyncIterator[tuple[RunningGateway, RawClient]]:
    """Have a client connected that may subscribe to ``news``, about which a back end is asked."""
    async with (
        running_gateway(
            clock=clock,
            ping_interval="1d",
            idle_timeout="1d",
            token={"hmac_secret": SECRET},
            channels={"sub_refresh_proxy_enabled": True, **OPTIONS},
            proxy={"sub_refresh": {"endpoint": url, "timeout": "5s", **upstream}},
            instruments=telemetry.instruments if telemetry else None,
            tracer_provider=telemetry.tracer_provider if telemetry else None,
            sampling_ratio=1.0 if telemetry else 0.0,
        ) as running,
        running.client(connect=False) as client,
    ):
        token = signed({"sub": "56"}, "HS256")
        client.connect_result = (await client.call(connect={"token": token}))["connect"]
        yield running, client


def minute(clock: ManualClock, **claims: Any) -> dict[str, Any]:
    """Return a subscribe or sub_refresh command whose token lasts for a minute."""
    ends = {"exp": round(clock.time()) + 60}
    claims = {"sub": "56", "channel": "news", **ends, **claims}
    return {"channel": "news", "token": signed(claims, "HS256")}


def the_upstream(running: RunningGateway) -> Upstream:
    assert running.gateway.proxy is not None
    (found,) = running.gateway.proxy.upstreams()
    return found


async def told(running: RunningGateway, upstream: BackEnd, times: int) -> None:
    """Wait until the back end was asked so often and its answer has arrived."""
    each = the_upstream(running)
    await until(lambda: len(upstream.asked) == times and each.stats.active == 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def is_subscribed(running: RunningGateway, client: RawClient) -> bool:
    """Publish to the channel; whether it arrives before the answer to a later command."""
    await running.publish("news", "still there")
    return bool(await client.published() == "still there")


async def test_a_subscription_goes_on_as_long_as_the_back_end_says():
    """It is asked when the time is over, and again when the new time is; the client is not told."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream.url(), clock) as (running, client):
        reply = await client.call(subscribe=minute(clock))
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

        assert await is_subscribed(running, client)
        assert len(upstream.asked) == 2

    assert reply["subscribe"] == {}
    assert upstream.asked[0] == {
        "client": client.connect_result["client"],
        "transport": "websocket",
        "protocol": "json",
        "encoding": "json",
        "user": "56",
        "channel": "news",
    }


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
async def test_a_subscription_ends_when_the_back_end_does_not_prolong_it(answer: Any):
    """With the code after which clients subscribe again."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream.url(), clock) as (_, client):
        upstream.says(answer)
        await client.call(subscribe=minute(clock))
        await clock.advance(60.1)

        push = {"code": 2501, "reason": "subscription expired"}
        assert await client.reply() == {"push": {"channel": "news", "unsubscribe": push}}
        assert "subscribe" in await client.call(subscribe=minute(clock))


async def test_the_connection_ends_where_a_back_end_made_the_subscription():
    """Such a subscription cannot be made anew by the client."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream.url(), clock) as (running, client):
        asked = {"user": "56", "channel": "news", "expire_at": round(clock.time()) + 60}
        await running.api("subscribe", asked)
        upstream.says({"result": {"expire_at": round(clock.time()) + 120}})
        await clock.advance(60.1)
        await told(running, upstream, 1)
        upstream.says({"result": {"expired": True}})
        await clock.advance(60)

        assert (await client.closed())[0] == 3006
        assert len(upstream.asked) == 2


async def test_a_back_end_that_could_not_say_is_asked_again():
    """Within a minute; until then the subscription goes on."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream.url(), clock) as (running, client):
        upstream.says({}, status=500)
        await client.call(subscribe=minute(clock))
        await clock.advance(60.1)
        await told(running, upstream, 1)
        await clock.advance(29)
        assert await is_subscribed(running, client)
        assert len(upstream.asked) == 1
        upstream.says({"result": {"expired": True}})
        await clock.advance(31)

        assert (await client.reply())["push"]["unsubscribe"]["code"] == 2501
        assert len(upstream.asked) == 2


async def test_a_question_that_may_have_been_lost_is_asked_again():
    """It changes nothing, so a connection that broke does no harm."""
    async with raw_server() as port, refreshed(f"http://127.0.0.1:{port}/", SystemClock()) as found:
        running, _ = found
        await running.api("subscribe", {"user": "56", "channel": "news", "expire_at": 1})
        stats = the_upstream(running).stats

        await until(lambda: stats.retries == 2 and not stats.active)


async def test_a_back_end_that_fails_is_left_alone():
    """Who is due meanwhile goes on, and is asked about again within a minute."""
    clock = ManualClock()
    circuit = {"failure_threshold": 1, "open_for": "10s"}
    async with (
        back_end() as upstream,
        refreshed(upstream.url(), clock, circuit=circuit) as (running, client),
    ):
        upstream.says({}, status=500)
        await client.call(subscribe=minute(clock))
        await clock.advance(1)
        await client.call(subscribe=minute(clock, channel="late") | {"channel": "late"})
        await clock.advance(59)
        await told(running, upstream, 1)
        await clock.advance(1)
        await told(running, upstream, 1)
        upstream.says({"result": {}})
        await clock.advance(60)
        await until(lambda: len(upstream.asked) > 1)

        assert await is_subscribed(running, client)


async def test_a_question_is_part_of_a_trace():
    """Its span tells of the channel's rule, and the back end gets its context."""
    clock = ManualClock()
    telemetry = RecordedTelemetry()
    async with (
        back_end() as upstream,
        refreshed(upstream.url(), clock, telemetry) as (running, client),
    ):
        await client.call(subscribe=minute(clock))
        await clock.advance(60.1)
        await told(running, upstream, 1)

    asked = {"gateway.proxy.event": "sub_refresh", "gateway.proxy.template": "*"}
    (span,) = [
        each for each in telemetry.spans() if asked.items() <= (each.attributes or {}).items()
    ]
    assert (span.attributes or {})["gateway.proxy.outcome"] == "result"
    assert span.context is not None
    sent = upstream.headers[0]["traceparent"].split("-")
    assert sent[1] == f"{span.context.trace_id:032x}"
    assert int(sent[3], 16) & 1


async def test_a_refresh_can_change_what_others_see():
    """New info takes the place of the old at once, where there is some."""
    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream.url(), clock) as (running, client):
        await client.call(subscribe=minute(clock, info={"role": "guest"}))
        shown = []
        for times, result in enumerate(({"info": {"role": "host"}}, {}), 1):
            upstream.says({"result": {"expire_at": round(clock.time()) + 120, **result}})
            await clock.advance(60.1)
            await told(running, upstream, times)
            presence = (await client.call(presence={"channel": "news"}))["presence"]
            (info,) = presence["presence"].values()
            shown.append(info["chan_info"])

    assert shown == [{"role": "host"}, {"role": "host"}]


@pytest.mark.parametrize("meanwhile", ["token", "anew"])
async def test_an_answer_that_comes_late_changes_nothing(meanwhile: str):
    """Neither after the client brought a token, nor after it subscribed anew."""
    release = asyncio.Event()

    async def slowly(_asked: Any) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"result": {"expired": True}})

    clock = ManualClock()
    async with back_end() as upstream, refreshed(upstream.url(), clock) as (running, client):
        upstream.answer = slowly
        await client.call(subscribe=minute(clock))
        await clock.advance(60.1)
        await until(lambda: upstream.asked)
        if meanwhile == "token":
            assert "sub_refresh" in await client.call(sub_refresh=minute(clock))
        else:
            await client.call(unsubscribe={"channel": "news"})
            await client.subscribe("news")
        release.set()
        await told(running, upstream, 1)

        assert await is_subscribed(running, client)


async def test_only_channels_with_the_option_are_asked_about():
    """And at the back end that their namespace names; others are renewed by their clients."""
    clock = ManualClock()
    async with back_end() as usual, back_end() as other, back_end() as deciding:
        ends = round(clock.time()) + 60
        deciding.says({"result": {"expire_at": ends}})
        subscribe = {"subscribe_proxy_enabled": True}
        refresh = {"sub_refresh_proxy_enabled": True}
        settings: dict[str, Any] = {
            "proxy": {
                "subscribe": {"endpoint": deciding.url()},
                "sub_refresh": {"endpoint": usual.url()},
                "proxies": [{"name": "other", "endpoint": other.url()}],
            },
            "namespaces": [
                {"name": "one", **subscribe, **refresh},
                {"name": "two", **subscribe, **refresh, "sub_refresh_proxy_name": "other"},
                {"name": "three", **subscribe},
            ],
        }
        quiet: dict[str, Any] = {"ping_interval": "1d", "idle_timeout": "1d"}
        async with (
            running_gateway(clock=clock, **quiet, **settings) as running,
            running.client() as client,
        ):
            replies = [
                (await client.call(subscribe={"channel": channel}))["subscribe"]
                for channel in ("one:a", "two:a", "three:a")
            ]
            await clock.advance(60.1)
            await until(lambda: usual.asked and other.asked)
            await clock.advance(25)
            ended = await client.reply()

    assert replies == [{}, {}, {"expires": True, "ttl": 60}]
    assert [asked["channel"] for asked in usual.asked] == ["one:a"]
    assert [asked["channel"] for asked in other.asked] == ["two:a"]
    assert ended["push"]["channel"] == "three:a"
