"""The server API acts on the clients of all processes, whichever one is called."""

import pytest

from tests.support.gateway import until
from tests.support.redis_gateways import broker_of, two_gateways


async def both_known(one, other):
    """Wait until two processes know of each other."""
    while len((await one.api("info", {}))["result"]["nodes"]) < 2:
        pass


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_clients_of_another_process_are_subscribed_and_unsubscribed(server, sharded):
    """In the order of the calls."""
    async with two_gateways(server, redis={"sharded_pubsub": sharded}) as (one, other):
        async with other.client() as client, one.client() as near:
            await one.api("subscribe", {"user": "", "channel": "news"})
            for subscriber in (client, near):
                assert "subscribe" in (await subscriber.reply())["push"]
            await one.api("publish", {"channel": "news", "data": 1})
            assert await client.published() == 1
            assert await near.published() == 1

            await one.api("unsubscribe", {"user": "", "channel": "news"})
            await one.api("subscribe", {"user": "", "channel": "sport"})

            assert (await client.reply())["push"]["unsubscribe"]["code"] == 2000
            pushed = (await client.reply())["push"]
            assert (pushed["channel"], "subscribe" in pushed) == ("sport", True)


async def test_clients_of_another_process_are_disconnected(server):
    """But for those on the whitelist, wherever they are."""
    async with two_gateways(server) as (one, other):
        async with other.client() as client, other.client() as spared:
            await spared.subscribe("news")
            request = {
                "user": "",
                "whitelist": [spared.connect_result["client"]],
                "disconnect": {"code": 4500, "reason": "enough"},
            }
            await one.api("disconnect", request)

            assert await client.closed() == (4500, "enough")
            await one.api("publish", {"channel": "news", "data": 1})
            assert await spared.published() == 1


async def test_what_is_refused_here_is_told_to_nobody(server):
    """Others get what can be executed only."""
    async with two_gateways(server) as (one, other):
        async with other.client() as client:
            refused = await one.api("disconnect", {"user": "", "disconnect": {"code": 1}})
            await client.subscribe("news")
            await one.api("publish", {"channel": "news", "data": 1})

            assert refused["error"]["code"] == 107
            assert await client.published() == 1


async def test_channels_and_nodes_are_those_of_all(server):
    """Subscribers add up; each process tells of itself."""
    async with two_gateways(server) as (one, other):
        async with one.client() as client, other.client() as peer:
            await both_known(one, other)
            await both_known(other, one)
            await client.subscribe("news")
            await peer.subscribe("news")
            await peer.subscribe("sport")

            channels = (await one.api("channels", {}))["result"]["channels"]
            matching = (await other.api("channels", {"pattern": "n*"}))["result"]["channels"]
            nodes = (await other.api("info", {}))["result"]["nodes"]

            assert channels == {"news": {"num_clients": 2}, "sport": {"num_clients": 1}}
            assert matching == {"news": {"num_clients": 2}}
            assert {node["uid"] for node in nodes} == {
                broker_of(one).peers.uid,
                broker_of(other).peers.uid,
            }
            assert [node["num_clients"] for node in nodes] == [1, 1]


async def test_who_left_is_not_waited_for(server):
    """A process that stops takes its entry with it."""
    async with two_gateways(server) as (one, other):
        await both_known(one, other)
        await other.gateway.broker.__aexit__(None, None, None)

        assert len((await one.api("info", {}))["result"]["nodes"]) == 1


async def test_nonsense_among_processes_is_left_out(server):
    """It is counted, and the next request is executed."""
    async with two_gateways(server) as (one, other), other.client() as client:
        topic = broker_of(other).peers.topics[0].decode()
        stats = broker_of(other).redis_stats
        for message in ("x", "[]", "{}", '{"from":1}'):
            server.command("PUBLISH", topic, message)
        for body in ('"result":1,"id":[]', '"method":[],"request":{}', '"method":{},"id":{}'):
            server.command("PUBLISH", topic, f'{{"from":"x",{body}}}')
        for body in ('"method":"eval","request":{}', '"method":"disconnect","request":1'):
            server.command("PUBLISH", topic, f'{{"from":"x",{body}}}')
        bad = '{"from":"x","method":"disconnect","request":{"disconnect":{"code":1}}}'
        server.command("PUBLISH", topic, bad)
        await until(lambda: stats.unreadable == 7)
        await one.api("disconnect", {"user": ""})

        assert (await client.closed())[0] == 3503
        assert stats.reconnects == 0
