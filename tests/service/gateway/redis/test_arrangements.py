"""Redis in its other arrangements: a socket, a cluster, a master behind sentinels."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from service.gateway.redis.topology import PARTITIONS, partition_of
from tests.support.certificates import Certificates
from tests.support.gateway import RunningGateway, until
from tests.support.process import unused_port
from tests.support.redis import RedisServer
from tests.support.redis_gateways import broker_of, two_gateways

CLUSTER = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
SLOTS = 16384


def channel_in(partition: int) -> str:
    """Return a channel of a partition."""
    number = 0
    while partition_of(f"c{number}") != partition:
        number += 1
    return f"c{number}"


async def published(running: RunningGateway, channel: str, data: object) -> int:
    """Publish, once it is possible, and return the offset."""
    async with asyncio.timeout(20):
        while True:
            answer = await running.api("publish", {"channel": channel, "data": data})
            if "result" in answer:
                return int(answer["result"]["offset"])


async def test_a_socket_and_a_password(tmp_path):
    """The URL of a socket has the login where a host would be."""
    path = tmp_path / "redis.sock"
    with RedisServer("--unixsocket", str(path), "--requirepass", "pw", keep_data=False) as server:
        async with two_gateways(server, redis={"url": f"unix://:pw@{path}"}) as (one, other):
            async with other.client() as client:
                await client.subscribe("news")
                await published(one, "news", 1)

                assert await client.published() == 1


async def test_the_rights_that_the_documentation_names_are_enough():
    """For publications, history, presence, and what processes have to tell each other."""
    page = (Path(__file__).parents[4] / "docs" / "gateway.md").read_text()
    (rights,) = re.findall(r"^ACL SETUSER .+?(?=^```)", page, re.DOTALL | re.MULTILINE)
    with RedisServer(keep_data=False) as own:
        assert own.command(*rights.split()) == "+OK"
        own.command("ACL", "SETUSER", "default", "off")
        redis = {"url": own.url.replace("//", "//gatewatch:PASSWORD@"), "prefix": "gatewatch"}
        async with two_gateways(own, redis=redis) as (one, other), other.client() as client:
            await client.subscribe("news")
            request = {"channel": "news", "data": 1, "idempotency_key": "k"}
            assert (await one.api("publish", request))["result"]["offset"] == 1
            assert await client.published() == 1
            kept = (await one.api("history", {"channel": "news", "limit": -1}))["result"]
            assert len(kept["publications"]) == 1
            await one.api("history_remove", {"channel": "news"})
            present = (await one.api("presence", {"channel": "news"}))["result"]["presence"]
            assert len(present) == 1
            await client.call(unsubscribe={"channel": "news"})
            await one.api("disconnect", {"user": ""})
            assert (await client.closed())[0] == 3503
            errors = [broker_of(each).redis_stats.errors for each in (one, other)]
            assert not any(sum(each.values()) for each in errors)


async def test_tls(tmp_path):
    """With a certificate of an authority that the URL names, and never with another one."""
    certificates = Certificates.make(tmp_path)
    with RedisServer(keep_data=False) as server:
        async with tls_in_front_of(server, certificates.server) as port:
            url = f"rediss://localhost:{port}"
            trusting = {"url": f"{url}?ssl_ca_certs={certificates.ca_file}"}
            async with two_gateways(server, redis=trusting) as (one, other):
                async with other.client() as client:
                    await client.subscribe("news")
                    await published(one, "news", 1)
                    assert await client.published() == 1
            async with two_gateways(server, redis={"url": url}, ready=False) as (one, _):
                await until(lambda: "certificate" in one.gateway.broker.away.lower())


@asynccontextmanager
async def tls_in_front_of(server: RedisServer, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Take TLS connections on a port and pass on what is in them."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, back_writer), copy(back_reader, writer))

    relay = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    async with relay:
        yield relay.sockets[0].getsockname()[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    """Two nodes, each with half of the slots."""
    with ExitStack() as stack:
        buses = [str(unused_port()) for _ in range(2)]
        nodes = [
            stack.enter_context(RedisServer(*CLUSTER, "--cluster-port", bus, keep_data=False))
            for bus in buses
        ]
        half = SLOTS // 2
        nodes[0].command("CLUSTER", "ADDSLOTSRANGE", "0", str(half - 1))
        nodes[1].command("CLUSTER", "ADDSLOTSRANGE", str(half), str(SLOTS - 1))
        nodes[0].command("CLUSTER", "MEET", "127.0.0.1", str(nodes[1].port), buses[1])
        for node in nodes:
            node.wait_for("cluster_state:ok", "CLUSTER", "INFO")
            node.wait_for("cluster_known_nodes:2", "CLUSTER", "INFO")
        yield nodes


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_a_cluster_has_its_channels_on_all_nodes(cluster, sharded):
    """All that goes over one server goes over several, from whichever one is named."""
    url = f"redis+cluster://127.0.0.1:{cluster[1].port}"
    redis = {"url": url, "sharded_pubsub": sharded}
    channels = [channel_in(partition) for partition in (0, 1, 17, 100, PARTITIONS - 1)]
    async with two_gateways(cluster[0], redis=redis) as (one, other):
        async with other.client() as client, one.client() as leaving:
            for channel in channels:
                await client.subscribe(channel)
                await leaving.subscribe(channel)
            for number in (1, 2):
                for channel in channels:
                    assert await published(one, channel, number) == number

            got = [(await client.reply())["push"] for _ in range(2 * len(channels))]
            assert {push["channel"] for push in got} == set(channels)
            for channel in channels:
                mine = [push["pub"]["data"] for push in got if push["channel"] == channel]
                assert mine == [1, 2]
                stats = await client.call(presence_stats={"channel": channel})
                assert stats["presence_stats"]["num_clients"] == 2
                top = await one.api("history", {"channel": channel, "limit": -1})
                assert len(top["result"]["publications"]) == 2
            sizes = [int(node.command("DBSIZE").removeprefix(":")) for node in cluster]
            assert all(sizes)


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_a_slot_that_moves_is_followed(cluster, sharded):
    """Publishers and subscribers go where their channel went, and nothing is lost."""
    url = f"redis+cluster://127.0.0.1:{cluster[0].port}"
    redis = {"url": url, "sharded_pubsub": sharded}
    async with two_gateways(cluster[0], redis=redis) as (one, other):
        async with other.client() as client:
            channel = channel_in(5)
            first = (await client.call(subscribe={"channel": channel}))["subscribe"]
            assert await published(one, channel, 1) == 1
            assert await client.published() == 1
            keys = broker_of(one)._keys
            move_slot(cluster, keys.of("stream", channel))

            offset = 1
            async with asyncio.timeout(20):
                while offset < 3:
                    offset = await published(one, channel, offset + 1)
                got: list[object] = []
                while got != [2, 3]:
                    push = (await client.reply())["push"]
                    if "unsubscribe" in push:
                        wish = {"recover": True, "epoch": first["epoch"], "offset": 1 + len(got)}
                        reply = await client.call(subscribe={"channel": channel, **wish})
                        got += [item["data"] for item in reply["subscribe"]["publications"]]
                    else:
                        got.append(push["pub"]["data"])


def move_slot(nodes: list[RedisServer], key: str) -> None:
    """Move the slot of a key, and what is in it, to the other node."""
    slot = nodes[0].command("CLUSTER", "KEYSLOT", key).removeprefix(":")
    ids = [node.lines("CLUSTER", "MYID")[0] for node in nodes]
    source = 0 if int(slot) < SLOTS // 2 else 1
    here = nodes[source].command("CLUSTER", "COUNTKEYSINSLOT", slot)
    if here == ":0":
        source = 1 - source
    target = 1 - source
    nodes[target].command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    nodes[source].command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    for name in nodes[source].lines("CLUSTER", "GETKEYSINSLOT", slot, "1000"):
        port = str(nodes[target].port)
        nodes[source].command("MIGRATE", "127.0.0.1", port, name, "0", "5000")
    for index in (target, source):
        nodes[index].command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])


@pytest.fixture
def watched() -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A master, its replica, and a sentinel that watches both."""
    with ExitStack() as stack:
        at_once = ("--repl-diskless-sync-delay", "0")
        master = stack.enter_context(RedisServer(*at_once, keep_data=False))
        replica = stack.enter_context(
            RedisServer("--replicaof", "127.0.0.1", str(master.port), keep_data=False)
        )
        sentinel = stack.enter_context(RedisServer(keep_data=False, sentinel=True))
        sentinel.command("SENTINEL", "MONITOR", "main", "127.0.0.1", str(master.port), "1")
        for option, value in (("down-after-milliseconds", "300"), ("failover-timeout", "3000")):
            sentinel.command("SENTINEL", "SET", "main", option, value)
        replica.wait_for("master_link_status:up", "INFO", "replication")
        master.command("SET", "ready", "1")
        sentinel.wait_for(str(replica.port), "SENTINEL", "REPLICAS", "main")
        yield master, replica, sentinel


async def test_sentinels_name_the_new_master(watched):
    """When the master dies its replica goes on, with what it has."""
    master, replica, sentinel = watched
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main"
    async with two_gateways(master, redis={"url": url}) as (one, other):
        async with other.client() as client:
            await client.subscribe("news")
            assert await published(one, "news", 1) == 1
            assert await client.published() == 1
            await asyncio.to_thread(replica.wait_for_offset_of, master)
            master.kill()

            assert await published(one, "news", 2) == 2
            push = (await client.reply())["push"]
            if "unsubscribe" in push:  # it was published before the connection was restored
                await client.subscribe("news")
                push = {"pub": await last_of(one, "news")}
            assert push["pub"] == {"data": 2, "offset": 2}


async def last_of(running: RunningGateway, channel: str) -> object:
    """Return the newest publication that is kept."""
    request = {"channel": channel, "limit": 1, "reverse": True}
    return (await running.api("history", request))["result"]["publications"][0]


async def test_a_master_nobody_knows_is_named():
    """The reason says which sentinel was asked and what it said."""
    with RedisServer(keep_data=False, sentinel=True) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/other"
        async with two_gateways(sentinel, redis={"url": url}, ready=False) as (one, _):
            await until(lambda: f"{sentinel.port} does not know other" in one.gateway.broker.away)
