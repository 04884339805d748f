"""Windows of a namespace's own, and channels that send the newest publication only."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.clock import ManualClock
from service.config.gateway_settings import GatewaySettings
from service.config.settings import Settings
from service.gateway.channels import ChannelRules
from tests.service.gateway.test_hub import Peer, make
from tests.support.gateway import running_gateway

LATEST = ChannelRules(GatewaySettings.model_validate({"channels": {"conflate": True}})).rule("a")


async def test_only_the_newest_of_a_window_is_sent():
    """The first goes at once; of those that follow the last is worth a frame."""
    clock = ManualClock()
    async with running_gateway(clock=clock, channels={"conflate": True}) as running:
        async with running.client() as client:
            await client.subscribe("price")
            for number in range(5):
                await running.publish("price", number)
            await clock.advance(0.010)
            await running.publish("price", 5)
            await clock.advance(0.010)

            assert [await client.published() for _ in range(3)] == [0, 4, 5]
            assert running.gateway.stats.conflated == 3


async def test_what_was_not_sent_is_kept_and_recovered():
    """Conflation spares writes, not history; a gap in offsets is none."""
    clock = ManualClock()
    channels = {
        "conflate": True,
        "history_size": 10,
        "history_ttl": "1h",
        "force_recovery": True,
    }
    async with running_gateway(clock=clock, channels=channels) as running:
        async with running.client() as client, running.client() as late:
            await client.subscribe("price")
            for number in range(1, 6):
                await running.publish("price", number)
            epoch = (await running.api("history", {"channel": "price"}))["result"]["epoch"]
            request = {"channel": "price", "recover": True, "epoch": epoch, "offset": 2}
            recovered = (await late.call(subscribe=request))["subscribe"]
            await running.publish("price", 6)
            await clock.advance(0.010)

            assert [item["data"] for item in recovered["publications"]] == [3, 4, 5]
            assert await late.published() == 6
            pushes = [(await client.reply())["push"]["pub"] for _ in range(2)]
            assert [(pub["data"], pub["offset"]) for pub in pushes] == [(1, 1), (6, 6)]


async def test_a_namespace_has_windows_of_its_own():
    """Longer ones, or frames of one message; the rest keeps the common limits."""
    clock = ManualClock()
    namespaces = [
        {"name": "slow", "batch_max_delay": "50ms"},
        {"name": "single", "batch_max_messages": 1},
    ]
    async with running_gateway(clock=clock, namespaces=namespaces) as running:
        async with running.client() as client:
            for name in ("slow:a", "single:a", "plain"):
                await client.subscribe(name)

            async def frames(channel: str) -> int:
                before = running.gateway.hub.batcher_stats.batches
                for number in range(4):
                    await running.publish(channel, number)
                await clock.advance(0.010)
                return running.gateway.hub.batcher_stats.batches - before

            assert [await frames(name) for name in ("slow:a", "single:a", "plain")] == [1, 4, 2]
            await clock.advance(0.040)
            assert running.gateway.hub.batcher_stats.pending == 0


def test_a_batch_of_a_namespace_must_fit_a_queue():
    """The first full one would disconnect everybody."""
    namespaces = [{"name": "big", "batch_max_bytes": "2MiB"}]
    with pytest.raises(ValueError, match="batch_max_bytes"):
        Settings.model_validate({"gateway": {"namespaces": namespaces}})


events = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.just(0)),
        st.tuples(st.just("join"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.sampled_from([1, 4, 30])),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(events=events, eager=st.booleans())
def test_every_subscriber_ends_with_the_newest(events, eager):
    """What it sees only ever goes forward, and the last it sees is the last there was."""

    async def run() -> None:
        clock = ManualClock()
        hub = make(clock, eager=eager)
        peers: dict[int, tuple[Peer, int]] = {}
        number = 0
        for event, value in events:
            if event == "publish":
                hub.publish("a", str(number).encode(), rule=LATEST, source="api")
                number += 1
            elif event == "join" and value not in peers:
                peers[value] = (Peer(), number)
                hub.subscribe("a", LATEST, peers[value][0])
            elif event == "wait":
                await clock.advance(value / 1000)
        await clock.advance(1)

        for peer, since in peers.values():
            assert peer.received == sorted(set(peer.received))
            assert peer.received[-1:] == ([number - 1] if number > since else [])
            assert all(since <= got for got in peer.received)
        assert hub.batcher_stats.pending == 0

    asyncio.run(run())
