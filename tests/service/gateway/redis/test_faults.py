"""What becomes of clients and publishers when connections are lost and when Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import centrifuge
import pytest

from tests.support.gateway import RunningGateway, running_gateway, until
from tests.support.redis import RedisServer
from tests.support.redis_gateways import KEPT, broker_of, redis_settings, two_gateways
from tests.support.sdk import Events


@pytest.fixture
def own_server():
    """A server of the test's own, whose writes are on disk before they are answered."""
    with RedisServer() as running:
        yield running


@asynccontextmanager
async def sdk(running: RunningGateway) -> AsyncIterator[tuple[centrifuge.Client, Events]]:
    """Connect a client that comes back quickly."""
    events = Events()
    client = centrifuge.Client(
        running.websocket_url, events=events, min_reconnect_delay=0.01, max_reconnect_delay=0.1
    )
    await client.connect()
    try:
        await client.ready(timeout=10)
        yield client, events
    finally:
        await client.disconnect()


async def subscribe(client, events, channel="news"):
    """Subscribe so that the SDK comes back quickly."""
    subscription = client.new_subscription(
        channel, events=events, min_resubscribe_delay=0.01, max_resubscribe_delay=0.1
    )
    await subscription.subscribe()
    await subscription.ready(timeout=10)
    return subscription


async def publish(running, data, channel="news"):
    """Publish and return the answer."""
    return await running.api("publish", {"channel": channel, "data": data})


async def ready(*gateways):
    """Wait until gateways can use Redis."""
    await until(lambda: not any(running.gateway.broker.away for running in gateways))


async def publish_through(running, data):
    """Publish until it is accepted, and return the result."""
    async with asyncio.timeout(20):
        while True:
            answer = await publish(running, data)
            if "result" in answer:
                return answer["result"]
            assert answer["error"]["code"] == 100


async def test_a_restart_of_redis_loses_nothing_that_was_accepted(own_server):
    """With its data: every publication that was answered arrives once and in order."""
    async with two_gateways(own_server) as (one, other), sdk(other) as (client, events):
        await subscribe(client, events)
        accepted: list[int] = []
        stop = asyncio.Event()

        async def publish_on() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                answer = await publish(one, number)
                if "result" in answer:
                    accepted.append(number)
                await asyncio.sleep(0)

        publishing = asyncio.create_task(publish_on())
        try:
            for _ in range(2):
                seen = len(accepted)
                await until(lambda seen=seen: len(accepted) > seen + 50)
                own_server.kill()
                await until(lambda: one.gateway.broker.away and other.gateway.broker.away)
                await asyncio.to_thread(own_server.start)
                await ready(one, other)
            seen = len(accepted)
            await until(lambda: len(accepted) > seen + 50)
        finally:
            stop.set()
            await publishing
        end = await publish_through(one, "end")

        got: list[Any] = []
        while not got or got[-1] != "end":
            got.append(await events.published())
        # One whose answer was lost may have been made all the same.
        assert got[:-1] == sorted(set(got[:-1]))
        assert set(accepted) <= set(got)
        assert end["offset"] >= len(accepted)


async def test_a_redis_that_forgot_everything_is_told_apart(own_server):
    """Its epoch is new: who comes back is told that it cannot recover, and goes on from now."""
    async with two_gateways(own_server) as (one, other), other.client() as client:
        first = (await client.call(subscribe={"channel": "news"}))["subscribe"]
        for number in range(3):
            await publish(one, number)
            assert await client.published() == number
        own_server.kill()
        own_server.forget()
        await asyncio.to_thread(own_server.start)
        await ready(one, other)

        told = (await client.reply())["push"]
        wish = {"channel": "news", "recover": True, "epoch": first["epoch"], "offset": 3}
        again = (await client.call(subscribe=wish))["subscribe"]
        result = await publish_through(one, "new")

        assert told["unsubscribe"]["code"] == 2500
        assert again["was_recovering"] is True
        assert "recovered" not in again
        assert again["epoch"] == result["epoch"] != first["epoch"]
        assert (await client.reply())["push"]["pub"] == {
            "data": "new",
            "offset": again["offset"] + 1,
        }


async def test_without_redis_nobody_waits_for_ever(own_server):
    """Errors say that it may work later, readiness says why, and both pass."""
    async with two_gateways(own_server, redis={"timeout": "200ms"}) as (one, _):
        async with one.client() as client:
            await client.subscribe("news")
            own_server.kill()
            await until(lambda: one.gateway.broker.away)

            published = await publish(one, 1)
            bare = await publish(one, 1, "$other")
            subscribed_to = await client.call(subscribe={"channel": "sport"})
            present = await client.call(presence={"channel": "news"})
            away = one.gateway.broker.away

            error = {"code": 100, "message": "internal server error"}
            assert published["error"] == bare["error"] == error
            assert subscribed_to["error"] == {**error, "temporary": True}
            assert present["error"]["code"] == 100
            assert away.startswith("the broker is away: ")
            assert str(own_server.port) in away
            assert broker_of(one).redis_stats.errors["away"] >= 3
            await asyncio.to_thread(own_server.start)
            await ready(one)
            assert "result" in await publish(one, 2)
            assert "subscribe" in await client.call(subscribe={"channel": "sport"})


async def test_a_short_absence_is_waited_for(own_server):
    """What was not sent yet is sent when Redis is there again."""
    async with two_gateways(own_server) as (one, other):
        await ready(one, other)
        own_server.kill()
        await until(lambda: one.gateway.broker.away)
        publishing = asyncio.create_task(publish(one, 1))
        await until(lambda: broker_of(one).waiting)
        await asyncio.to_thread(own_server.start)

        assert (await publishing)["result"]["offset"] == 1


async def test_a_redis_that_does_not_answer_is_left(own_server):
    """Connections that are open and dumb count as lost."""
    settings = {"timeout": "300ms", "ping_interval": "200ms"}
    async with two_gateways(own_server, redis=settings) as (one, other):
        await ready(one, other)
        own_server.pause()
        try:
            answer = await publish(one, 1)
            assert answer["error"]["code"] == 100
            await until(lambda: one.gateway.broker.away and other.gateway.broker.away)
        finally:
            own_server.resume()
        await ready(one, other)

        assert (await publish_through(one, 2))["epoch"]


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_a_lost_connection_is_made_again(own_server, kind):
    """What subscribers missed meanwhile they recover, and nothing comes twice."""
    async with two_gateways(own_server) as (one, other), sdk(other) as (client, events):
        await ready(one, other)
        await subscribe(client, events)
        for round_ in range(5):
            own_server.command("CLIENT", "KILL", "TYPE", kind)
            for number in range(20):
                await publish_through(one, [round_, number])

        got = [await events.published() for _ in range(100)]
        assert got == [[round_, number] for round_ in range(5) for number in range(20)]


async def test_a_gap_after_which_nothing_comes_is_found(own_server):
    """Subscribers are told to come back as soon as the connection is restored."""
    async with two_gateways(own_server) as (one, other), other.client() as client:
        await ready(one, other)
        await client.subscribe("news")
        own_server.command("ACL", "SETUSER", "default", "-subscribe")
        own_server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: other.gateway.broker.away)
        await publish_through(one, 1)
        own_server.command("ACL", "SETUSER", "default", "+subscribe")

        assert (await client.reply())["push"]["unsubscribe"]["code"] == 2500


async def test_a_channel_that_cannot_be_renewed_takes_no_other_with_it(own_server):
    """Presence that Redis forgot is there again with the connection."""
    async with two_gateways(own_server) as (one, other), other.client() as client:
        for channel in "ab":
            await client.subscribe(channel)
        before = (await one.api("presence", {"channel": "b"}))["result"]["presence"]
        own_server.command("FLUSHALL")
        own_server.command("SET", broker_of(one)._keys.of("clients", "a"), "of another kind")
        own_server.command("CLIENT", "KILL", "TYPE", "normal")
        found: object = {}
        async with asyncio.timeout(10):
            while not found:
                answer = await one.api("presence", {"channel": "b"})
                found = answer.get("result", {"presence": {}})["presence"]

        assert found == before


async def test_scripts_that_redis_forgot_are_sent_again(server):
    """Nobody notices."""
    async with two_gateways(server) as (one, other), other.client() as client:
        await client.subscribe("news")
        await publish(one, 0)
        server.command("SCRIPT", "FLUSH")
        results = await asyncio.gather(*(publish(one, number) for number in range(1, 20)))

        assert sorted(each["result"]["offset"] for each in results) == list(range(2, 21))
        assert len([await client.published() for _ in range(20)]) == 20


async def lose_the_newest(server, running):
    """Have the stream forget all but its first publication, as after a crash."""
    keys = broker_of(running)._keys
    async with server.client() as redis:
        await redis.hset(keys.of("position", "news"), "offset", "1")
        await redis.delete(keys.of("stream", "news"))


async def test_a_stream_that_lost_its_newest_is_gone_on_from(server):
    """As after a crash without its last writes: the numbers are given again, nobody is left out."""
    async with two_gateways(server) as (one, other), other.client() as client:
        await client.subscribe("news")
        for number in range(3):
            await publish(one, number)
            assert await client.published() == number
        await lose_the_newest(server, one)
        server.command("CLIENT", "KILL", "TYPE", "pubsub")

        assert (await client.reply())["push"]["unsubscribe"]["code"] == 2500
        assert (await client.call(subscribe={"channel": "news"}))["subscribe"]["offset"] == 1
        await publish_through(one, "again")
        assert (await client.reply())["push"]["pub"] == {"data": "again", "offset": 2}


async def test_a_number_that_is_given_again_is_noticed_at_once(server):
    """Without a look at the positions, and whoever comes back goes on from there."""
    async with two_gateways(server) as (one, other), other.client() as client:
        await client.subscribe("news")
        for number in range(3):
            await publish(one, number)
            assert await client.published() == number
        await lose_the_newest(server, one)
        await publish(one, "again")

        assert (await client.reply())["push"]["unsubscribe"]["code"] == 2500
        assert (await client.call(subscribe={"channel": "news"}))["subscribe"]["offset"] == 2
        await publish(one, "more")
        assert (await client.reply())["push"]["pub"] == {"data": "more", "offset": 3}


async def test_who_comes_while_numbers_are_given_again_misses_nothing(server):
    """The others are told to come back by its arrival."""
    async with two_gateways(server) as (one, other):
        async with other.client() as client, other.client() as late:
            await client.subscribe("news")
            for number in range(3):
                await publish(one, number)
                assert await client.published() == number
            await lose_the_newest(server, one)
            assert (await late.call(subscribe={"channel": "news"}))["subscribe"]["offset"] == 1
            await publish(one, "again")

            assert (await late.reply())["push"]["pub"] == {"data": "again", "offset": 2}
            assert (await client.reply())["push"]["unsubscribe"]["code"] == 2500


async def test_what_redis_has_no_room_for_is_not_sent(own_server):
    """Whoever repeats it with its key has it published once."""
    async with two_gateways(own_server, namespaces=[{"name": "bare"}]) as (one, other):
        async with other.client() as client:
            await client.subscribe("news")
            await client.subscribe("bare:a")
            own_server.command("CONFIG", "SET", "maxmemory", "1")
            requests = [
                {"channel": channel, "data": channel, "idempotency_key": "k"}
                for channel in ("news", "bare:a")
            ]
            refused = [await one.api("publish", request) for request in requests]
            own_server.command("CONFIG", "SET", "maxmemory", "0")
            accepted = [await one.api("publish", request) for request in requests]
            await one.publish("bare:a", "end")

            assert [answer["error"]["code"] for answer in refused] == [100, 100]
            assert [answer["result"].get("offset") for answer in accepted] == [1, None]
            assert {await client.published() for _ in range(2)} == {"news", "bare:a"}
            assert await client.published() == "end"


async def test_what_may_not_be_sent_is_not_taken_for_sent(own_server):
    """A repetition of what the rights did not allow is published when they do."""
    async with two_gateways(own_server, namespaces=[{"name": "bare"}]) as (one, other):
        async with other.client() as client:
            await client.subscribe("bare:a")
            own_server.command("ACL", "SETUSER", "default", "-publish")
            request = {"channel": "bare:a", "data": 1, "idempotency_key": "k"}
            refused = await one.api("publish", request)
            own_server.command("ACL", "SETUSER", "default", "+publish")
            await one.api("publish", request)

            assert refused["error"]["code"] == 100
            assert await client.published() == 1


async def test_what_others_write_into_a_topic_is_left_out(server):
    """It is counted, and what comes behind it is delivered."""
    async with two_gateways(server) as (one, other), other.client() as client:
        await client.subscribe("news")
        broker = broker_of(other)
        topic = broker._keys.topic("news").decode()
        for nonsense in ("", "x", "p\\n", "p1 a b c\\n{}"):
            server.command("PUBLISH", topic, nonsense)
        await publish(one, 1)

        assert await client.published() == 1
        assert broker.redis_stats.unreadable == 4


async def test_a_gateway_starts_without_redis():
    """It says why it is not ready, and ends in time."""
    broker = redis_settings("redis://127.0.0.1:1", timeout="200ms")
    async with running_gateway(broker=broker, channels=KEPT) as running:
        await until(lambda: "127.0.0.1:1" in running.gateway.broker.away)
        answer = await publish(running, 1)

        assert answer["error"]["code"] == 100


async def test_a_wrong_password_is_named_and_not_shown():
    """The reason says what Redis said."""
    with RedisServer("--requirepass", "right", keep_data=False) as guarded:
        url = guarded.url.replace("//", "//:wrong-one@")
        async with running_gateway(broker=redis_settings(url)) as running:
            await until(lambda: "password" in running.gateway.broker.away)
            assert "wrong-one" not in running.gateway.broker.away
        url = guarded.url.replace("//", "//:right@")
        async with running_gateway(broker=redis_settings(url)) as running:
            await ready(running)
            assert "result" in await publish(running, 1)
