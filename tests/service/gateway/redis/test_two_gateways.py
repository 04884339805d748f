"""Two gateways on one Redis behave as one."""

import asyncio

import pytest

from tests.support.redis import RedisServer, redis_program
from tests.support.redis_gateways import KEPT, broker_of, two_gateways

UNKEPT = {
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "allow_publish_for_subscriber": True,
    "allow_presence_for_subscriber": True,
}


async def publish(running, data, channel="news", **fields):
    """Publish and return the result."""
    answer = await running.api("publish", {"channel": channel, "data": data, **fields})
    return answer["result"]


async def publications(client, count):
    """Return the next publications of a client."""
    return [(await client.reply())["push"]["pub"] for _ in range(count)]


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_a_publication_reaches_the_clients_of_the_other_process(server, sharded):
    """In order, with the offsets its publisher was told."""
    async with two_gateways(server, redis={"sharded_pubsub": sharded}) as (one, other):
        async with other.client() as client, one.client() as near:
            await client.subscribe("news")
            await near.subscribe("news")

            results = [await publish(one, number) for number in range(5)]

            for subscriber in (client, near):
                got = await publications(subscriber, 5)
                assert [item["data"] for item in got] == list(range(5))
                assert [item["offset"] for item in got] == [item["offset"] for item in results]
            assert {result["epoch"] for result in results} == {results[0]["epoch"]}


async def test_clients_publish_to_each_other_with_their_info():
    """On the oldest Redis that is supported as well."""
    with RedisServer(program=redis_program(), keep_data=False) as old:
        async with two_gateways(old, channels=UNKEPT) as (one, other):
            async with one.client() as client, other.client() as peer:
                await peer.subscribe("chat")
                await client.subscribe("chat")
                assert "join" in (await peer.reply())["push"]  # its own
                assert "join" in (await peer.reply())["push"]

                reply = await client.call(publish={"channel": "chat", "data": "hi"})

                assert reply["publish"] == {}
                (got,) = await publications(peer, 1)
                assert got["data"] == "hi"
                assert got["info"]["client"] == client.connect_result["client"]
                assert "offset" not in got


async def test_who_moves_to_the_other_process_misses_nothing(server):
    """What was published meanwhile comes with the subscription, what comes later follows."""
    async with two_gateways(server) as (one, other):
        async with one.client() as client:
            first = (await client.call(subscribe={"channel": "news"}))["subscribe"]
            await publish(other, 1)
            assert await client.published() == 1
        for number in (2, 3):
            await publish(one, number)
        async with other.client() as client:
            wish = {"channel": "news", "recover": True, "epoch": first["epoch"], "offset": 1}
            result = (await client.call(subscribe=wish))["subscribe"]
            await publish(one, 4)

            assert result["recovered"] is True
            assert result["publications"] == [
                {"data": 2, "offset": 2},
                {"data": 3, "offset": 3},
            ]
            assert await client.published() == 4


async def test_history_is_one_for_all(server):
    """It is read by pages, from a position on and backward, and dropped, anywhere."""
    async with two_gateways(server) as (one, other), other.client() as client:
        await client.subscribe("news")
        epoch = [await publish(one, number) for number in range(1, 6)][-1]["epoch"]
        await publish(other, "passing", skip_history=True)
        await publications(client, 6)

        async def ask(**fields):
            answer = (await client.call(history={"channel": "news", **fields}))["history"]
            assert (answer["epoch"], answer["offset"]) == (epoch, 5)
            return [item["offset"] for item in answer["publications"]]

        assert await ask() == []
        assert await ask(limit=-1) == [1, 2, 3, 4, 5]
        assert await ask(limit=2, since={"offset": 2, "epoch": epoch}) == [3, 4]
        assert await ask(limit=2, reverse=True) == [5, 4]
        assert await ask(limit=9, reverse=True, since={"offset": 3, "epoch": epoch}) == [2, 1]
        assert await ask(limit=9, reverse=True, since={"offset": 1, "epoch": epoch}) == []
        await one.api("history_remove", {"channel": "news"})
        assert await ask(limit=-1) == []
        assert (await publish(other, 6))["offset"] == 6


async def test_no_more_is_kept_than_the_channel_says(server):
    """Size and time are those of the options, and the position outlives the publications."""
    channels = {**KEPT, "history_size": 3, "history_ttl": "300ms"}
    async with two_gateways(server, channels=channels) as (one, other):
        for number in range(5):
            await publish(one, number)

        async def kept():
            answer = await other.api("history", {"channel": "news", "limit": -1})
            return [item["offset"] for item in answer["result"]["publications"]]

        assert await kept() in ([3, 4, 5], [])  # a busy machine may take longer than their time
        async with asyncio.timeout(10):
            while await kept():
                pass
        assert (await publish(other, 6))["offset"] == 6


async def test_a_key_is_known_to_both(server):
    """A repetition is answered as the first was, and nobody gets it twice."""
    async with two_gateways(server, namespaces=[{"name": "bare"}]) as (one, other):
        async with one.client() as client:
            await client.subscribe("news")
            await client.subscribe("bare:a")

            first = await publish(one, 1, idempotency_key="k")
            again = await publish(other, 2, idempotency_key="k")
            third = await publish(other, 3, idempotency_key="other")
            bare = [
                await publish(running, number, "bare:a", idempotency_key="k")
                for number, running in enumerate((one, other))
            ]
            await publish(one, "end", "bare:a")

            assert first == again
            assert third["offset"] == 2
            assert bare == [{}, {}]
            got = {str(item["data"]) for item in await publications(client, 4)}
            assert got == {"1", "3", "0", "end"}
            assert one.gateway.stats.received["api"] + other.gateway.stats.received["api"] == 4


async def test_presence_is_that_of_both(server):
    """Also the counts, and who left is gone at once."""
    async with two_gateways(server) as (one, other):
        async with one.client() as client, other.client() as peer:
            await client.subscribe("news")
            await peer.subscribe("news")
            ids = {client.connect_result["client"], peer.connect_result["client"]}

            async def present(asked):
                answer = await asked.call(presence={"channel": "news"})
                return set(answer["presence"]["presence"])

            assert await present(client) == await present(peer) == ids
            stats = (await peer.call(presence_stats={"channel": "news"}))["presence_stats"]
            assert stats == {"num_clients": 2, "num_users": 1}
            info = (await one.api("presence", {"channel": "news"}))["result"]["presence"]
            assert info[peer.connect_result["client"]]["client"] == peer.connect_result["client"]

            await client.call(unsubscribe={"channel": "news"})
            assert await present(peer) == {peer.connect_result["client"]}


async def test_comers_and_goers_are_announced_to_both(server):
    """Join and leave pushes carry who it is."""
    async with two_gateways(server, channels=UNKEPT) as (one, other):
        async with one.client() as client:
            await client.subscribe("chat")
            assert (await client.reply())["push"]["join"]["info"]["client"]
            async with other.client() as peer:
                await peer.subscribe("chat")
                joined = (await client.reply())["push"]["join"]["info"]["client"]
            left = (await client.reply())["push"]["leave"]["info"]["client"]

            assert joined == left == peer.connect_result["client"]


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_only_what_somebody_here_listens_to_comes_here(server, sharded):
    """The first subscriber of a channel subscribes in Redis, the last one unsubscribes."""
    async with two_gateways(server, redis={"sharded_pubsub": sharded}) as (one, other):
        stats = broker_of(other).redis_stats
        async with other.client() as client, other.client() as second:
            await client.subscribe("news")
            await second.subscribe("news")
            await publish(one, 1)
            await publications(client, 1)
            await client.call(unsubscribe={"channel": "news"})
            await publish(one, 2)
            assert [item["data"] for item in await publications(second, 2)] == [1, 2]
            await second.call(unsubscribe={"channel": "news"})
            before = stats.received
            await publish(one, 3)
            # What is subscribed to now comes behind what came for the channel that was left.
            await client.subscribe("sport")
            await publish(one, 4, "sport")
            assert await client.published() == 4

            assert stats.received == before + 1
            again = (await second.call(subscribe={"channel": "news"}))["subscribe"]
            assert again["offset"] == 3


async def test_many_publications_at_once_keep_the_order_of_their_offsets(server):
    """From both processes, to subscribers of both, through one pipeline each."""
    async with two_gateways(server) as (one, other):
        async with one.client() as client, other.client() as peer:
            await client.subscribe("news")
            await peer.subscribe("news")

            results = await asyncio.gather(
                *(publish(running, n) for n in range(100) for running in (one, other))
            )

            expected = sorted(result["offset"] for result in results)
            assert expected == list(range(1, 201))
            for subscriber in (client, peer):
                got = [item["offset"] for item in await publications(subscriber, 200)]
                assert got == expected
