"""Nothing is lost, repeated or reordered, whatever happens to connections, streams and clients."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gateway import RawClient, RunningGateway
from tests.support.redis import RedisServer
from tests.support.redis_gateways import broker_of, two_gateways

CHANNEL = "news"


class Application:
    """What one user keeps over reconnects: the position, and a check of all that comes."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.client: RawClient | None = None
        self.connection: Any = None
        self.offset: int | None = None
        self.epoch = ""
        self.live = False

    async def subscribe(self, running: RunningGateway) -> None:
        """Connect if need be, subscribe if need be, and recover from where it was."""
        if self.client is None:
            self.connection = running.client()
            self.client = await self.connection.__aenter__()
            self.live = False
        if self.live:
            return
        request: dict[str, Any] = {"channel": CHANNEL}
        if self.offset is not None:
            request |= {"recover": True, "epoch": self.epoch, "offset": self.offset}
        reply = await self.heard(self.client.call(subscribe=request))
        if reply is None or "error" in reply:
            assert reply is None or reply["error"]["code"] == 100
            return
        result = reply["subscribe"]
        self.live = True
        if result.get("recovered"):
            assert (result["epoch"], result["offset"]) == (self.epoch, self.offset)
        else:
            # All of it is kept, so only another epoch is a reason.
            assert self.offset is None or result["epoch"] != self.epoch
            self.epoch, self.offset = result["epoch"], result["offset"]
        for publication in result.get("publications", ()):
            self.take(publication)

    async def heard(self, coming: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
        """Return what comes; None when the connection ended so that the client comes back."""
        assert self.client is not None
        try:
            return await coming
        except AssertionError:
            assert self.client.socket.close_code == 3010
            await self.disconnect()
            return None

    async def disconnect(self) -> None:
        """Go without a word."""
        if self.client is not None:
            if not self.client.socket.closed:
                self.client.vanish()
            await self.connection.__aexit__(None, None, None)
        self.client, self.live = None, False

    async def read_until(self, number: int) -> None:
        """Read until a publication came; subscribe again when told to."""
        while True:
            if self.live and self.world.numbers.get((self.epoch, self.offset or 0)) == number:
                return
            if not self.live:
                await self.subscribe(self.world.gateways[0])
                continue
            assert self.client is not None
            reply = await self.heard(self.client.reply())
            push = {} if reply is None else reply["push"]
            if "pub" in push:
                self.take(push["pub"])
            elif push:
                assert push["unsubscribe"]["code"] == 2500
                self.live = False

    def take(self, publication: dict[str, Any]) -> None:
        """Check that a publication is the next one, and the one with this number."""
        assert self.live
        assert self.offset is not None
        assert publication["offset"] == self.offset + 1
        self.offset += 1
        known = self.world.numbers.setdefault((self.epoch, self.offset), publication["data"])
        assert publication["data"] == known


class World:
    """Two gateways and three applications on one Redis."""

    def __init__(self, server: RedisServer, gateways: tuple[RunningGateway, ...]) -> None:
        self.server = server
        self.gateways = gateways
        self.applications = [Application(self) for _ in range(3)]
        self.numbers: dict[tuple[str, int], int] = {}
        self.number = 0

    async def publish(self, which: int) -> int:
        """Publish the next number until it was accepted."""
        while True:
            self.number = number = self.number + 1
            request = {"channel": CHANNEL, "data": number}
            answer = await self.gateways[which % 2].api("publish", request)
            if "result" in answer:
                place = answer["result"]["epoch"], answer["result"]["offset"]
                assert self.numbers.setdefault(place, number) == number
                return number

    async def happen(self, event: str, which: int) -> None:
        """Let one event happen."""
        match event:
            case "publish":
                await self.publish(which)
            case "burst":
                await asyncio.gather(*(self.publish(which + index) for index in range(5)))
            case "subscribe":
                await self.applications[which % 3].subscribe(self.gateways[which % 2])
            case "disconnect":
                await self.applications[which % 3].disconnect()
            case "cut":
                kind = ("pubsub", "normal")[which % 2]
                await asyncio.to_thread(self.server.command, "CLIENT", "KILL", "TYPE", kind)
            case "forget":
                keys = broker_of(self.gateways[0])._keys
                key = keys.of("position", CHANNEL)
                await asyncio.to_thread(self.server.command, "DEL", key)
            case _:
                raise AssertionError(event)


events = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish", "publish", "burst", "subscribe", "subscribe", "disconnect", "cut", "forget"]
        ),
        st.integers(0, 5),
    ),
    max_size=25,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=events)
def test_no_order_of_events_loses_repeats_or_reorders(server, events):
    """Every client has every publication once and in order, or was told that the epoch is new."""

    async def run() -> None:
        async with two_gateways(server, position_check_interval="200ms") as gateways:
            world = World(server, gateways)
            for event, which in events:
                await world.happen(event, which)
            for which, application in enumerate(world.applications):
                await application.subscribe(gateways[which % 2])
            last = await world.publish(0)
            for application in world.applications:
                await application.read_until(last)
                await application.disconnect()

    asyncio.run(asyncio.wait_for(run(), 50))
