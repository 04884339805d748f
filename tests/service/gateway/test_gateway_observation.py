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
