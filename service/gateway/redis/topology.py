"""Which server has what: one server, the master that sentinels name, or the nodes of a cluster.

Channels fall into partitions, and all keys of a partition hash to the same slot of a cluster, so
that one script may touch all keys of a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol
from zlib import crc32

from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from alerts.clock import Clock
from service.config.redis_address import Arrangement, Endpoint, RedisAddress
from service.deadline import Deadline
from service.gateway.redis.connection import FAILURES, RedisConnection, Reply

PARTITIONS: Final = 256
"""Over how many hash tags channels are spread; all processes on one Redis must agree on it."""

_SLOTS: Final = tuple(key_slot(str(number).encode()) for number in range(PARTITIONS))


def partition_of(channel: str) -> int:
    """Return the partition of a channel."""
    return crc32(channel.encode()) % PARTITIONS


class Topology(Protocol):
    """Finds the server of a partition, by a name, and connects to it."""

    def node(self, partition: int) -> str:
        """Return the name of the server that has a partition, as far as it is known."""

    async def connect(self, node: str) -> RedisConnection:
        """Return an open connection to a server.

        Raises:
            RedisError: There is none to be had.
        """

    async def refresh(self) -> None:
        """Learn anew which server has what, after one said that it has not.

        Raises:
            RedisError: No server could say.
        """


class SingleTopology:
    """One server has everything."""

    def __init__(self, address: RedisAddress, *, timeout_s: float) -> None:
        """Connect to the one endpoint of an address."""
        self._address = address
        self._timeout_s = timeout_s

    def node(self, partition: int) -> str:
        """Return the name of the one server."""
        return "redis"

    async def connect(self, node: str) -> RedisConnection:
        """Return an open connection to it."""
        endpoint = self._address.endpoints[0]
        return await _opened(RedisConnection(endpoint, self._address, timeout_s=self._timeout_s))

    async def refresh(self) -> None:
        """Do nothing: there is one."""


class SentinelTopology:
    """One server has everything, and sentinels say which that is at the time."""

    def __init__(self, address: RedisAddress, *, timeout_s: float, clock: Clock) -> None:
        """Ask the sentinels of an address before each connection."""
        self._address = address
        self._timeout_s = timeout_s
        self._clock = clock

    def node(self, partition: int) -> str:
        """Return the name of the master."""
        return self._address.master

    async def connect(self, node: str) -> RedisConnection:
        """Return an open connection to who is the master now.

        Raises:
            RedisError: No sentinel knows, or who should be the master is not.
        """
        endpoint = await self._master()
        connection = await _opened(
            RedisConnection(endpoint, self._address, timeout_s=self._timeout_s)
        )
        try:
            await _require_master(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def refresh(self) -> None:
        """Do nothing: sentinels are asked at every connection."""

    async def _master(self) -> Endpoint:
        asked: list[str] = []
        for endpoint in self._address.endpoints:
            connection = RedisConnection(
                endpoint, self._address, timeout_s=self._timeout_s, sentinel=True
            )
            try:
                async with Deadline(self._clock, self._timeout_s):
                    await connection.open()
                    reply = await connection.ask(
                        ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.master)
                    )
            except FAILURES as error:
                asked.append(f"{endpoint}: {error}")
                continue
            finally:
                await connection.close()
            if isinstance(reply, list):
                return Endpoint(reply[0].decode(), int(reply[1]))
            asked.append(f"{endpoint} does not know {self._address.master}")
        raise RedisConnectionError(f"no sentinel names the master: {'; '.join(asked)}")


class ClusterTopology:
    """Each partition is where its slot is."""

    def __init__(self, address: RedisAddress, *, timeout_s: float, clock: Clock) -> None:
        """Begin with the nodes of an address."""
        self._address = address
        self._timeout_s = timeout_s
        self._clock = clock
        self._nodes: dict[str, Endpoint] = {str(each): each for each in address.endpoints}
        self._by_partition: Mapping[int, str] = {}

    def node(self, partition: int) -> str:
        """Return the node of a partition; any node while it is not known, which will say it."""
        return self._by_partition.get(partition) or next(iter(self._nodes))

    async def connect(self, node: str) -> RedisConnection:
        """Return an open connection to a node."""
        if not self._by_partition:
            await self.refresh()
        endpoint = self._nodes.get(node) or _endpoint(node)
        return await _opened(RedisConnection(endpoint, self._address, timeout_s=self._timeout_s))

    async def refresh(self) -> None:
        """Ask one node after the other for the map of slots.

        Raises:
            RedisError: None of them could say.
        """
        asked: list[str] = []
        known = dict.fromkeys((*self._nodes.values(), *self._address.endpoints))
        for endpoint in known:
            try:
                slots = await self._ask(endpoint)
            except FAILURES as error:
                asked.append(f"{endpoint}: {error}")
                continue
            nodes: dict[str, Endpoint] = {}
            by_partition: dict[int, str] = {}
            for first, last, (host, port, *_), *_ in slots:
                node = Endpoint(host.decode() if host else endpoint.host, int(port))
                nodes[str(node)] = node
                by_partition |= {
                    number: str(node) for number, slot in enumerate(_SLOTS) if first <= slot <= last
                }
            if len(by_partition) == PARTITIONS:
                self._nodes, self._by_partition = nodes, by_partition
                return
            asked.append(f"{endpoint}: slots without a node")
        raise RedisConnectionError(f"the cluster is not usable: {'; '.join(asked)}")

    async def _ask(self, endpoint: Endpoint) -> list[Reply]:
        connection = RedisConnection(endpoint, self._address, timeout_s=self._timeout_s)
        try:
            async with Deadline(self._clock, self._timeout_s):
                await connection.open()
                reply = await connection.ask(("CLUSTER", "SLOTS"))
        finally:
            await connection.close()
        if isinstance(reply, ResponseError):
            raise reply
        return list(reply)


def topology_of(address: RedisAddress, *, timeout_s: float, clock: Clock) -> Topology:
    """Return the topology that an address asks for."""
    factories: dict[Arrangement, Callable[[], Topology]] = {
        Arrangement.SINGLE: lambda: SingleTopology(address, timeout_s=timeout_s),
        Arrangement.SENTINEL: lambda: SentinelTopology(address, timeout_s=timeout_s, clock=clock),
        Arrangement.CLUSTER: lambda: ClusterTopology(address, timeout_s=timeout_s, clock=clock),
    }
    return factories[address.arrangement]()


def _endpoint(node: str) -> Endpoint:
    host, _, port = node.rpartition(":")
    return Endpoint(host, int(port))


async def _require_master(connection: RedisConnection) -> None:
    role = await connection.ask(("ROLE",))
    if isinstance(role, ResponseError):
        raise role
    if role[0] != b"master":
        raise RedisConnectionError(f"{connection.endpoint} is not the master any more")


async def _opened(connection: RedisConnection) -> RedisConnection:
    try:
        await connection.open()
    except BaseException:
        await connection.close()
        raise
    return connection
