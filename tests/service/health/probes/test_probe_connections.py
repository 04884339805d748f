"""The probe of the gateway's own connections."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.clock import ManualClock
from service.health.checks import Check, run_check
from service.health.probes.connections import ConnectionsProbe
from service.pools.websocket import QueueSpread

SPREAD = QueueSpread(0, 30, 40)


@dataclass(frozen=True)
class Report:
    checked: int = 5
    pinged: int = 3
    closed_dead: int = 2
    closed_idle: int = 1
    queued_bytes: int = 70
    largest_queue_bytes: int = 40
    large_queues: int = 1
    queues: QueueSpread = SPREAD


class Sweep:
    """Reports, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def health_check(self) -> Report:
        if self.error is not None:
            raise self.error
        return Report()


async def test_a_sweep_that_ends_is_a_success_with_its_counts():
    """Clients that vanished are counted, they are no failure of the gateway."""
    result = await ConnectionsProbe(Sweep()).run(1.0)

    assert result.success
    assert result.reason == "5 checked, 3 pinged, 2 dead and 1 idle closed"
    assert result.attributes == {
        "checked": 5,
        "pinged": 3,
        "closed_dead": 2,
        "closed_idle": 1,
        "queued_bytes": 70,
        "largest_queue_bytes": 40,
        "large_queues": 1,
        "queue_p50_bytes": 0,
        "queue_p90_bytes": 30,
        "queue_p99_bytes": 40,
    }


async def test_a_sweep_that_raises_is_a_failure():
    """A bug in the sweep becomes a failing check."""
    check = Check("connections", ConnectionsProbe(Sweep(RuntimeError("a bug"))))

    result = await run_check(check, ManualClock())
    assert (result.success, result.error_type) == (False, "RuntimeError")
