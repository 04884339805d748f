"""Nothing is lost over a reconnect: recovery as clients see it, and for any order of events."""

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.clock import ManualClock
from service.codec import decode, encode
from service.config.gateway_settings import GatewaySettings
from service.gateway.batcher import BatchLimits
from service.gateway.broker import MemoryBroker, Message
from service.gateway.channels import ChannelRules
from service.gateway.client import Client, ClientLimits
from service.gateway.codes import DisconnectError, ProtocolError
from service.gateway.hub import Hub
from service.gateway.idempotency import IdempotencyCache
from service.gateway.positions import PositionCheck
from service.gateway.protocol import Method, encode_result
from service.gateway.stats import GatewayStats
from service.gateway.streams import MemoryStreams, Retention, StreamPosition, StreamQuery
from service.gateway.subscriptions import Grant, Subscriptions, Wish
from service.gateway.tokens import Identity
from service.gateway.tracing import PublicationTracing
from service.pools.websocket import CloseReason
from service.telemetry.instruments import Instruments
from service.telemetry.span_recorder import SpanRecorder
from tests.support.gateway import running_gateway

KEPT = {
    "history_size": 100,
    "history_ttl": "1h",
    "force_recovery": True,
    "allow_publish_for_subscriber": True,
    "allow_history_for_subscriber": True,
}


async def publish(running, count: int, start: int = 1):
    """Publish numbers and return the last answer."""
    answers = [
        await running.api("publish", {"channel": "news", "data": number})
        for number in range(start, start + count)
    ]
    return answers[-1]["result"]


async def test_a_publisher_learns_the_position_and_subscribers_see_the_offset():
    """Only where the channel has history."""
    async with running_gateway(channels=KEPT) as running, running.client() as client:
        subscribed = (await client.call(subscribe={"channel": "news"}))["subscribe"]

        result = await publish(running, 1)

        assert subscribed == {
            "recoverable": True,
            "positioned": True,
            "epoch": result["epoch"],
            "offset": 0,
        }
        assert result["offset"] == 1
        assert (await client.reply())["push"]["pub"] == {"data": 1, "offset": 1}


async def test_what_was_missed_comes_with_the_subscription():
    """Ascending, and the offset of the answer is the client's own."""
    async with running_gateway(channels=KEPT) as running, running.client() as client:
        epoch = (await publish(running, 5))["epoch"]

        request = {"channel": "news", "recover": True, "epoch": epoch, "offset": 2}
        result = (await client.call(subscribe=request))["subscribe"]

        assert result["publications"] == [{"data": n, "offset": n} for n in (3, 4, 5)]
        assert (result["recovered"], result["was_recovering"], result["offset"]) == (True, True, 2)


@pytest.mark.parametrize(
    ("offset", "epoch", "published", "recovered"),
    [
        (5, None, 5, True),
        (5, "", 5, True),
        (6, None, 5, False),
        (0, "another", 5, False),
        (5, "another", 5, False),
        (20, None, 120, True),
        (19, None, 120, False),
    ],
)
async def test_recovery_is_all_or_nothing(offset, epoch, published, recovered):
    """Of another epoch, from beyond the top or from before what is kept: nothing."""
    async with running_gateway(channels=KEPT) as running, running.client() as client:
        top = await publish(running, published)
        position = {"epoch": top["epoch"] if epoch is None else epoch, "offset": offset}

        request = {"channel": "news", "recover": True, **position}
        result = (await client.call(subscribe=request))["subscribe"]

        assert result.get("recovered", False) is recovered
        assert result["was_recovering"] is True
        if recovered:
            assert len(result["publications"]) == published - offset
            assert result["offset"] == offset
        else:
            assert "publications" not in result
            assert (result["offset"], result["epoch"]) == (published, top["epoch"])


async def test_more_than_the_limit_is_not_recovered():
    """299, 300 and 301 missed publications, of which 300 may be recovered."""
    channels = {**KEPT, "history_size": 1000}
    async with running_gateway(channels=channels) as running:
        epoch = (await publish(running, 310))["epoch"]
        outcomes = []
        for offset in (11, 10, 9):
            async with running.client() as client:
                request = {"channel": "news", "recover": True, "epoch": epoch, "offset": offset}
                result = (await client.call(subscribe=request))["subscribe"]
                outcomes.append((result.get("recovered"), len(result.get("publications", ()))))

        assert outcomes == [(True, 299), (True, 300), (None, 0)]


async def test_a_client_may_prefer_an_error_to_a_gap():
    """Bit 2 of the flag; the subscription does not exist then."""
    async with running_gateway(channels=KEPT) as running, running.client() as client:
        request = {"channel": "news", "recover": True, "epoch": "old", "offset": 1, "flag": 3}

        refused = await client.call(subscribe=request)
        again = await client.call(subscribe={"channel": "news"})

        assert refused["error"] == {"code": 112, "message": "unrecoverable position"}
        assert again["subscribe"]["offset"] == 0


async def test_without_recovery_a_subscription_begins_now():
    """The wish to recover counts where the namespace allows it only."""
    channels = {**KEPT, "force_recovery": False, "allow_recovery": True, "force_positioning": True}
    async with running_gateway(channels=channels) as running:
        epoch = (await publish(running, 2))["epoch"]
        position = {"channel": "news", "recover": True, "epoch": epoch, "offset": 1}
        async with running.client() as plain, running.client() as asking:
            one = (await plain.call(subscribe=position))["subscribe"]
            two = (await asking.call(subscribe={**position, "recoverable": True}))["subscribe"]

        assert one == {"positioned": True, "epoch": epoch, "offset": 2}
        assert two["publications"] == [{"data": 2, "offset": 2}]


async def test_a_channel_may_be_a_cache_of_its_newest_publication():
    """Who subscribes gets it at once, unless it has it already; an empty cache recovers nothing."""
    channels = {**KEPT, "force_recovery_mode": "cache"}
    async with running_gateway(channels=channels) as running:

        async def subscribe(**position):
            async with running.client() as client:
                request = {"channel": "news", **position}
                return (await client.call(subscribe=request))["subscribe"]

        empty = await subscribe()
        top = await publish(running, 3)
        first = await subscribe()
        again = await subscribe(recover=True, offset=3, epoch=top["epoch"])
        behind = await subscribe(recover=True, offset=1, epoch="old")
        await running.api("history_remove", {"channel": "news"})
        gone = await subscribe(recover=True, offset=1, epoch=top["epoch"])

        assert "recovered" not in empty
        assert first["publications"] == behind["publications"] == [{"data": 3, "offset": 3}]
        assert (again["recovered"], again["publications"]) == (True, [])
        assert {first["offset"], again["offset"], behind["offset"], gone["offset"]} == {3}
        assert "recovered" not in gone


async def test_what_does_not_fit_a_queue_is_read_by_pages_and_not_recovered():
    """Sent whole it would cut the client off as slow, again with each reconnect."""
    async with running_gateway(channels=KEPT, max_queue_size="64KiB") as running:
        for _ in range(5):
            await running.publish("news", "x" * 20_000)
        top = await running.api("history", {"channel": "news"})
        position = {"channel": "news", "recover": True, "epoch": top["result"]["epoch"]}
        async with running.client() as client, running.client() as other:
            much = (await client.call(subscribe={**position, "offset": 1}))["subscribe"]
            page = (await client.call(history={"channel": "news", "limit": -1}))["history"]
            little = (await other.call(subscribe={**position, "offset": 2}))["subscribe"]

        assert "recovered" not in much
        assert much["offset"] == 5
        assert [item["offset"] for item in page["publications"]] == [1, 2, 3]
        assert [item["offset"] for item in little["publications"]] == [3, 4, 5]


async def test_recovery_waits_while_a_client_has_much_to_take():
    """The error is temporary: SDKs try again when the queue may have room."""
    async with running_gateway(channels=KEPT, max_queue_size="64KiB") as running:
        top = await running.api("publish", {"channel": "news", "data": "x" * 50_000})
        position = {"recover": True, "epoch": top["result"]["epoch"], "offset": 0}
        async with running.client() as client:
            (connection,) = running.gateway.connections
            client.stop_reading()
            while connection.queued_bytes < 20_000:
                connection.write(b"\x81\x7e\x3f\xff" + b" " * 0x3FFF, 0)
                await asyncio.sleep(0)
            size = connection.room

            assert size < 50_000
            with pytest.raises(ProtocolError, match="too many requests"):
                rule = ChannelRules(GatewaySettings.model_validate({"channels": KEPT})).rule("news")
                await running.gateway.subscriptions.subscribe(
                    connection, "news", Grant(rule), Wish.of(position)
                )
            assert running.gateway.stats.subscriptions == 0
            client.vanish()


async def test_recovery_in_the_middle_of_a_window_repeats_nothing():
    """What waits in the batch and was recovered is not sent again."""
    clock = ManualClock()
    async with running_gateway(clock=clock, channels=KEPT) as running:
        async with running.client() as early, running.client() as late:
            await early.subscribe("news")
            top = await publish(running, 3)
            request = {"channel": "news", "recover": True, "epoch": top["epoch"], "offset": 1}
            result = (await late.call(subscribe=request))["subscribe"]
            await publish(running, 1, start=4)
            await clock.advance(0.010)

            assert [item["data"] for item in result["publications"]] == [2, 3]
            assert await late.published() == 4
            assert [await early.published() for _ in range(4)] == [1, 2, 3, 4]


async def test_history_is_read_by_pages():
    """Forward from a position, backward, and the position alone; at most the limit."""
    async with running_gateway(channels=KEPT, history_limit=5) as running:
        async with running.client() as client:
            await client.subscribe("news")
            epoch = (await publish(running, 9))["epoch"]

            async def ask(**fields):
                reply = await client.call(history={"channel": "news", **fields})
                return [item["offset"] for item in reply["history"]["publications"]]

            assert await ask() == []
            assert await ask(limit=-1) == [1, 2, 3, 4, 5]
            assert await ask(limit=100) == [1, 2, 3, 4, 5]
            assert await ask(limit=2, since={"offset": 3, "epoch": epoch}) == [4, 5]
            assert await ask(limit=2, reverse=True) == [9, 8]
            refused = await client.call(
                history={"channel": "news", "since": {"offset": 3, "epoch": "old"}}
            )
            assert refused["error"]["code"] == 112
            whole = await running.api("history", {"channel": "news", "limit": -1})
            assert len(whole["result"]["publications"]) == 9
            assert whole["result"]["offset"] == 9


async def test_history_is_for_those_who_may_read_it():
    """Here subscribers; where nothing is kept it is not available."""
    namespaces = [{"name": "live"}]
    async with running_gateway(channels=KEPT, namespaces=namespaces) as running:
        async with running.client() as client:
            codes = [
                (await client.call(history={"channel": name}))["error"]["code"]
                for name in ("news", "live:a", "nowhere:a")
            ]
            assert codes == [103, 108, 102]
            live = await running.api("history", {"channel": "live:a"})
            assert live["error"]["code"] == 108


async def test_back_ends_remove_history_and_keep_nothing_where_they_say_so():
    """The position goes on; what is skipped has none."""
    async with running_gateway(channels=KEPT) as running, running.client() as client:
        await client.subscribe("news")
        await publish(running, 2)

        assert await running.api("history_remove", {"channel": "news"}) == {"result": {}}
        skipped = await running.api(
            "publish", {"channel": "news", "data": "now", "skip_history": True}
        )
        result = await publish(running, 1, start=3)

        assert skipped == {"result": {}}
        assert result["offset"] == 3
        left = await running.api("history", {"channel": "news", "limit": -1})
        assert [item["data"] for item in left["result"]["publications"]] == [3]
        assert [await client.published() for _ in range(4)] == [1, 2, "now", 3]


async def test_a_gap_ends_the_subscription_so_that_the_client_comes_back():
    """A new epoch, as after the memory bound took the stream: 2500, and nothing after it."""
    clock = ManualClock()
    async with running_gateway(clock=clock, channels=KEPT, history_meta_ttl="10s") as running:
        async with running.client() as client:
            await client.subscribe("news")
            await publish(running, 1)
            running.gateway.streams._forget(running.gateway.streams._streams["news"])

            await publish(running, 1, start=2)

            assert await client.published() == 1
            push = (await client.reply())["push"]
            assert push["unsubscribe"] == {"code": 2500, "reason": "insufficient state"}
            assert len(running.gateway.hub) == 0
            again = (await client.call(subscribe={"channel": "news"}))["subscribe"]
            assert again["offset"] == 1


async def test_the_position_check_finds_a_gap_after_which_nothing_came():
    """A publication that never reached this process is noticed within the interval."""
    clock = ManualClock()
    quiet: dict[str, Any] = {"ping_interval": "1h", "idle_timeout": "2h"}
    async with (
        running_gateway(clock=clock, channels=KEPT, **quiet) as running,
        running.client() as client,
    ):
        await client.subscribe("news")
        await publish(running, 1)
        await clock.advance(41)
        running.gateway.streams.append("news", b'{"data":2}', Retention(10, 60))

        await clock.advance(42)

        assert await client.published() == 1
        push = (await client.reply())["push"]
        assert push["unsubscribe"]["code"] == 2500


@pytest.mark.parametrize(
    ("channels", "named"),
    [
        ({"history_size": 5}, "history_ttl"),
        ({"history_ttl": "5s"}, "history_size"),
        ({"force_recovery": True}, "force_recovery needs history"),
        ({"allow_positioning": True}, "allow_positioning needs history"),
    ],
)
def test_settings_that_promise_what_they_do_not_keep_are_refused(channels, named):
    """Recovery needs history, history a size and a time."""
    with pytest.raises(ValueError, match=named):
        GatewaySettings.model_validate({"channels": channels})


@pytest.mark.parametrize("field", ["offset", "epoch", "recover", "positioned", "flag"])
async def test_fields_of_the_wrong_kind_break_the_protocol(field):
    """They end the connection with 3501."""
    async with running_gateway(channels=KEPT) as running, running.client() as client:
        await client.send(f'{{"id":9,"subscribe":{{"channel":"news","{field}":[]}}}}')

        assert (await client.closed())[0] == 3501


# Any order of events


class Wire(asyncio.Transport):
    """The writing side of a connection, which keeps the payloads of text frames."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def write(self, data) -> None:
        if data[0] == 0x81:
            start = 2 if data[1] < 126 else 4 if data[1] == 126 else 10
            self.lines += bytes(data[start:]).split(b"\n")

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing to cut."""


class LateBroker(MemoryBroker):
    """A broker whose history is on its way for as long as a test likes."""

    def __init__(self, hub, streams, results) -> None:
        super().__init__(hub, streams, results)
        self.gates: list[asyncio.Event] = []

    async def read(self, channel, query):
        page = await super().read(channel, query)
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        return page


class World:
    """A hub, its broker, and clients that behave as an SDK does."""

    def __init__(self, clock: ManualClock, limits: BatchLimits) -> None:
        options = {"history_size": 6, "history_ttl": "5m", "force_recovery": True}
        self.clock = clock
        self.rule = ChannelRules(GatewaySettings.model_validate({"channels": options})).rule("a")
        self.hub = Hub(
            limits=limits,
            clock=clock,
            instruments=Instruments.disabled(),
            tracing=PublicationTracing(SpanRecorder.disabled()),
            stats=GatewayStats(),
        )
        self.streams = MemoryStreams(max_bytes=1 << 20, meta_ttl_s=600.0, clock=clock)
        self.broker = LateBroker(self.hub, self.streams, IdempotencyCache(clock))
        self.subscriptions = Subscriptions(
            self.hub, self.broker, recovery_limit=4, clock=clock, stats=GatewayStats()
        )
        self.log: dict[tuple[str, int], int] = {}
        self.number = 0
        self.apps = [App(self) for _ in range(3)]

    async def publish(self, *, skip_history: bool = False) -> None:
        self.number += 1
        data = b"-1" if skip_history else b"%d" % self.number
        message = Message("a", data, self.rule, "api", skip_history=skip_history)
        position = await self.broker.publish(message)
        if position is not None:
            self.log[position.epoch, position.offset] = self.number

    async def happen(self, event: str, value: int) -> None:
        """Let one event of the state machine happen."""
        match event:
            case "publish":
                for _ in range(value):
                    await self.publish()
            case "skip":
                await self.publish(skip_history=True)
            case "subscribe":
                self.apps[value].subscribe()
                await self.clock.settle()
            case "disconnect":
                self.apps[value].disconnect()
            case "gate":
                await self.open_gate(value)
            case "wait":
                await self.clock.advance(value / 1000)
            case "epoch" if self.streams._streams:
                self.streams._forget(self.streams._streams["a"])

    async def open_gate(self, which: int) -> None:
        if self.broker.gates:
            self.broker.gates.pop(which % len(self.broker.gates)).set()
        await self.clock.settle()

    async def open_all(self) -> None:
        while self.broker.gates:
            await self.open_gate(0)


class App:
    """One user's application: keeps its position over reconnects, checks what it gets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.position: StreamPosition | None = None
        self.client: Client | None = None
        self.wire = Wire()
        self.live = False
        self.task: asyncio.Task[None] | None = None
        self.told_of_losses = 0

    def connect(self) -> None:
        if self.client is None or self.client.close_reason is not None:
            self.live = False
            self.wire = Wire()
            self.client = Client(
                self.wire,
                limits=ClientLimits(1e6, 1.0, 1e6, 1 << 20),
                clock=self.world.clock,
                on_close=lambda client, reason: self.world.subscriptions.end_all(client),
                on_connected=lambda client: None,
                on_lost_position=self.world.subscriptions.lose_position,
            )
            self.client.connected(Identity("u"), Random(1))

    def disconnect(self) -> None:
        self.read()
        if self.client is not None:
            self.client.ended(CloseReason(1006, "lost"))
            self.client, self.live = None, False
            if self.task is not None:
                self.task.cancel()
            self.task = None

    def subscribe(self) -> None:
        self.read()
        self.connect()
        assert self.client is not None
        if not self.live and (self.task is None or self.task.done()):
            self.task = asyncio.create_task(self._subscribe(self.client))

    async def _subscribe(self, client: Client) -> None:
        wish = Wish(recover=self.position)
        try:
            result = await self.world.subscriptions.subscribe(
                client, "a", Grant(self.world.rule), wish
            )
        except DisconnectError as error:
            client.close(error.close)
            return
        self.wire.lines.append(encode_result(1, Method.SUBSCRIBE, result))

    def read(self) -> None:
        lines, self.wire.lines = self.wire.lines, []
        for reply in map(decode, lines):
            if "subscribe" in reply:
                self._subscribed(reply["subscribe"])
            elif "unsubscribe" in reply["push"]:
                assert reply["push"]["unsubscribe"]["code"] == 2500
                self.live = False
            else:
                assert self.live
                self._take(reply["push"]["pub"])

    def _subscribed(self, result) -> None:
        self.live = True
        position = StreamPosition(result["offset"], result["epoch"])
        if result.get("was_recovering") and not result.get("recovered"):
            assert not self._could_recover(position)
            self.told_of_losses += 1
        if result.get("recovered"):
            assert self.position == position
        self.position = position
        for publication in result.get("publications", ()):
            self._take(publication)

    def _could_recover(self, top: StreamPosition) -> bool:
        """Whether this should have been recovered; what arrived during the read is not missed."""
        assert self.position is not None
        if self.position.epoch != top.epoch:
            return False
        return self.position.offset == top.offset

    def _take(self, publication) -> None:
        if "offset" not in publication:
            assert publication["data"] == -1
            return
        assert self.position is not None
        assert publication["offset"] == self.position.offset + 1
        self.position = StreamPosition(publication["offset"], self.position.epoch)
        assert publication["data"] == self.world.log[self.position.epoch, self.position.offset]


async def test_subscriptions_of_a_connect_recover_by_their_channel():
    """Where the client was stands in ``subs`` of its connect command."""
    clock = ManualClock()
    world = World(clock, BatchLimits())
    for _ in range(3):
        await world.publish()
    epoch = world.streams.read("a", StreamQuery(limit=0)).top.epoch
    app = world.apps[0]
    app.connect()
    assert app.client is not None
    grants = {"a": Grant(world.rule, server_side=True, data=b"7")}

    answer = asyncio.create_task(
        world.subscriptions.subscribe_at_connect(
            app.client, grants, {"subs": {"a": {"recover": True, "epoch": epoch, "offset": 1}}}
        )
    )
    await clock.settle()
    await world.open_all()

    subs = decode(encode(await answer))
    assert subs["a"]["recovered"] is True
    assert [item["offset"] for item in subs["a"]["publications"]] == [2, 3]
    assert subs["a"]["data"] == 7
    with pytest.raises(DisconnectError, match="not an object"):
        await world.subscriptions.subscribe_at_connect(app.client, grants, {"subs": {"a": 1}})


async def test_nobody_is_subscribed_twice_or_after_the_end():
    """Also when this came to pass while something was awaited."""
    world = World(ManualClock(), BatchLimits())
    app = world.apps[0]
    app.connect()
    assert app.client is not None
    client, grant = app.client, Grant(ChannelRules(GatewaySettings()).rule("b"))
    await world.subscriptions.subscribe(client, "b", grant)

    with pytest.raises(ProtocolError, match="already subscribed"):
        await world.subscriptions.subscribe(client, "b", grant)
    assert world.hub._stats.subscriptions == 1
    app.disconnect()
    with pytest.raises(DisconnectError):
        await world.subscriptions.subscribe(client, "b", grant)
    assert world.hub._stats.subscriptions == 0


events = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 3)),
        st.tuples(st.just("skip"), st.just(0)),
        st.tuples(st.just("subscribe"), st.integers(0, 2)),
        st.tuples(st.just("disconnect"), st.integers(0, 2)),
        st.tuples(st.just("gate"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.sampled_from([1, 4, 30])),
        st.tuples(st.just("epoch"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=400)
@given(
    events=events,
    eager=st.booleans(),
    max_messages=st.integers(1, 5),
    late=st.booleans(),
)
def test_no_order_of_events_loses_repeats_or_reorders(events, eager, max_messages, late):
    """Every client has every publication once and in order, or was told that some are gone."""

    async def run() -> None:
        clock = ManualClock()
        world = World(clock, BatchLimits(eager=eager, max_messages=max_messages))
        for event, value in events:
            await world.happen(event, value)
            if not late:
                await world.open_all()
        await settle(world)

        top = world.streams.read("a", StreamQuery(limit=0)).top
        for app in world.apps:
            if app.live:
                assert app.position == top
            app.disconnect()
        assert len(world.hub) == 0
        assert world.hub._stats.subscriptions == 0
        assert world.hub.batcher_stats.pending == 0
        await world.open_all()

    asyncio.run(run())


async def settle(world: World) -> None:
    """Let everything that is on its way arrive, and look once for lost positions."""
    await world.open_all()
    await world.clock.advance(1)
    broker = MemoryBroker(world.hub, world.streams, IdempotencyCache(world.clock))
    check = asyncio.create_task(
        PositionCheck(world.hub, broker, interval_s=40,
                      clock=world.clock).check()
    )  # fmt: skip
    await world.clock.advance(2)
    await check
    for app in world.apps:
        app.read()
        if app.client is not None and app.client.close_reason is not None:
            app.disconnect()
