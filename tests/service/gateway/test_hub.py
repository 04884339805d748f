"""The hub: who receives what, for any order of events, and what it costs."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.clock import ManualClock
from service.codec import decode
from service.config.gateway_settings import GatewaySettings
from service.gateway.batcher import BatchLimits
from service.gateway.channels import ChannelRules
from service.gateway.hub import Hub
from service.gateway.stats import GatewayStats
from service.gateway.tracing import PublicationTracing
from service.telemetry.instruments import Instruments
from service.telemetry.span_recorder import SpanRecorder

RULES = ChannelRules(GatewaySettings())


class Peer:
    """A subscriber that keeps its frames, until it is too slow to take more."""

    def __init__(self, hub: Hub | None = None, takes: int = 1_000_000) -> None:
        self.frames: list[bytes] = []
        self._hub = hub
        self._takes = takes

    def write(self, frame: bytes, messages: int) -> bool:
        if self._takes == 0:
            if self._hub is not None:
                self._hub.unsubscribe("a", self)  # what a connection that is cut off does
            return False
        self._takes -= 1
        self.frames.append(frame)
        return True

    def lose_position(self, channel: str) -> None:
        raise AssertionError("nothing is positioned here")

    @property
    def received(self) -> list[int]:
        pushes = [line for frame in self.frames for line in payload(frame).split(b"\n")]
        return [decode(push)["push"]["pub"]["data"] for push in pushes]


def payload(frame: bytes) -> bytes:
    """Return what a text frame of a server carries."""
    return frame[2 if frame[1] < 126 else 4 if frame[1] == 126 else 10 :]


def make(clock: ManualClock, **limits) -> Hub:
    return Hub(
        limits=BatchLimits(**limits),
        clock=clock,
        instruments=Instruments.disabled(),
        tracing=PublicationTracing(SpanRecorder.disabled()),
        stats=GatewayStats(),
    )


def publish(hub: Hub, number: int, channel: str = "a") -> None:
    hub.publish(channel, str(number).encode(), rule=RULES.rule(channel), source="api")


async def test_all_subscribers_get_the_very_same_bytes():
    """A batch is built once, however many receive it."""
    clock = ManualClock()
    hub = make(clock)
    peers = [Peer() for _ in range(3)]
    for peer in peers:
        hub.subscribe("a", RULES.rule("a"), peer)
    publish(hub, 0)
    await clock.settle()
    for number in range(1, 5):
        publish(hub, number)

    await clock.advance(0.010)

    assert peers[0].received == [0, 1, 2, 3, 4]
    assert len(peers[0].frames) == 2
    for other in peers[1:]:
        assert all(
            mine is theirs for mine, theirs in zip(peers[0].frames, other.frames, strict=True)
        )


async def test_a_slow_subscriber_leaves_while_the_batch_is_written():
    """The others get it all, and what was not delivered is counted."""
    clock = ManualClock()
    hub = make(clock)
    slow, quick = Peer(hub, takes=1), Peer()
    for peer in (slow, quick):
        hub.subscribe("a", RULES.rule("a"), peer)
    publish(hub, 0)
    await clock.settle()
    publish(hub, 1)
    publish(hub, 2)

    await clock.advance(0.010)

    assert (slow.received, quick.received) == ([0], [0, 1, 2])
    assert hub._stats.dropped == Counter(slow_consumer=2)
    assert hub._stats.delivered == 4
    assert hub._stats.subscriptions == 1


async def test_the_last_subscriber_leaves_while_a_batch_makes_room_for_the_next():
    """What waits then is for nobody: no fault, and nobody who comes later gets it."""
    clock = ManualClock()
    hub = make(clock, max_bytes=150)
    slow, late = Peer(hub, takes=1), Peer()
    hub.subscribe("a", RULES.rule("a"), slow)
    publish(hub, 0)
    await clock.settle()
    publish(hub, 1)
    hub.publish("a", b'"' + b"x" * 130 + b'"', rule=RULES.rule("a"), source="api")
    hub.subscribe("a", RULES.rule("a"), late)

    await clock.advance(0.010)
    publish(hub, 2)
    await clock.settle()

    assert (slow.received, late.received) == ([0], [2])
    assert hub.batcher_stats.failed_items == 0


async def test_a_channel_lives_as_long_as_it_has_subscribers():
    """What is published to nobody is accepted and gone; nothing stays behind."""
    clock = ManualClock()
    hub = make(clock)
    peer = Peer()
    hub.subscribe("a", RULES.rule("a"), peer)
    publish(hub, 0)
    await clock.settle()
    publish(hub, 1)
    hub.unsubscribe("a", peer)

    publish(hub, 2)
    await clock.advance(1)

    assert (len(hub), peer.received) == (0, [0])
    assert hub._stats.received["api"] == 3
    assert hub.batcher_stats.pending == 0


events = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.just(0)),
        st.tuples(st.just("join"), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.sampled_from([1, 4, 30])),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(events=events, eager=st.booleans(), max_messages=st.integers(1, 5))
def test_a_subscriber_gets_what_was_published_while_it_was_there(events, eager, max_messages):
    """In order, each once, nothing from before it came; only leaving may cost what was waiting."""

    async def run() -> None:
        clock = ManualClock()
        hub = make(clock, eager=eager, max_messages=max_messages)
        stays: dict[int, tuple[Peer, int]] = {}
        number = 0
        for event, value in events:
            if event == "publish":
                publish(hub, number)
                number += 1
            elif event == "join" and value not in stays:
                peer = Peer()
                stays[value] = (peer, number)
                hub.subscribe("a", RULES.rule("a"), peer)
            elif event == "leave" and value in stays:
                peer, since = stays.pop(value)
                hub.unsubscribe("a", peer)
                assert peer.received == list(range(since, since + len(peer.received)))
            elif event == "wait":
                await clock.advance(value / 1000)
        await clock.advance(1)

        for peer, since in stays.values():
            assert peer.received == list(range(since, number))
        assert hub._stats.subscriptions == len(stays)
        assert len(hub) == (1 if stays else 0)
        assert hub.batcher_stats.pending == 0

    asyncio.run(run())
