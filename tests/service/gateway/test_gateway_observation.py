"""What history, recovery and conflation did, as metrics."""

from typing import Any

from alerts.clock import ManualClock
from service.gateway.observation import GatewayObservation
from tests.service.test_observation import Page
from tests.support.gateway import running_gateway

KEPT: dict[str, Any] = {
    "history_size": 100,
    "history_ttl": "1h",
    "force_recovery": True,
    "conflate": True,
}


async def test_history_and_recovery_are_counted():
    """Levels of what is kept; counts of recoveries, lost positions and spared messages."""
    clock = ManualClock()
    async with running_gateway(clock=clock, channels=KEPT, history_memory="8KiB") as running:
        page = Page()
        GatewayObservation(running.gateway).register(page.observers)
        async with running.client() as client, running.client() as late:
            await client.subscribe("a")
            for number in range(5):
                await running.publish("a", number)
            epoch = (await running.api("history", {"channel": "a"}))["result"]["epoch"]
            request = {"channel": "a", "recover": True, "epoch": epoch, "offset": 1}
            await late.call(subscribe=request)
            await late.call(unsubscribe={"channel": "a"})
            await late.call(subscribe={**request, "epoch": "old"})
            running.gateway.hub.lose_positions("a")
            for _ in range(5):
                await running.publish("b", "x" * 2000)
            found = page.read()

        nothing: frozenset[tuple[str, object]] = frozenset()
        failed = frozenset({("error.type", "unrecoverable_position")})
        assert found["gateway.recoveries"] == {nothing: 1, failed: 1}
        assert found["gateway.positions.lost"] == {nothing: 2}
        assert found["gateway.message.conflated"] == {nothing: 3}
        assert found["gateway.history.limit"] == {nothing: 8192}
        assert 0 < found["gateway.history.usage"][nothing] <= 8192
        kept, evicted = found["gateway.history.count"], found["gateway.history.evicted"]
        assert kept[nothing] + evicted[nothing] == 10


async def test_clients_that_lag_behind_are_counted():
    """Once more than half of what may wait for one does."""
    async with running_gateway(max_queue_size="8MiB", write_timeout="1d") as running:
        page = Page()
        GatewayObservation(running.gateway).register(page.observers)
        connections = running.gateway.connections
        async with running.client() as client, running.client() as stalled:
            await client.subscribe("news")
            await stalled.subscribe("news")
            stalled.stop_reading()
            text = "x" * 60_000
            while connections.stats.largest_queue_bytes <= 4 * 1024 * 1024:
                await running.publish("news", text)
                assert await client.published() == text
                await connections.measure_queues()
            found = page.read()
            stalled.vanish()

    nothing: frozenset[tuple[str, object]] = frozenset()
    assert found["gateway.send_queue.over_threshold"] == {nothing: 1}
    assert found["gateway.send_queue.largest"][nothing] > 4 * 1024 * 1024
