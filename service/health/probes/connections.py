"""The probe of the gateway's own WebSocket connections."""

from __future__ import annotations

from typing import Protocol

from service.health.state import ProbeResult


class QueueSpread(Protocol):
    """How many bytes wait for one client, over all of them."""

    @property
    def p50_bytes(self) -> int:
        """No more than this for half of the clients."""

    @property
    def p90_bytes(self) -> int:
        """For nine of ten."""

    @property
    def p99_bytes(self) -> int:
        """For ninety-nine of a hundred."""


class SweepReport(Protocol):
    """What a sweep found and did."""

    @property
    def checked(self) -> int:
        """Connections looked at."""

    @property
    def pinged(self) -> int:
        """Silent connections that were pinged."""

    @property
    def closed_dead(self) -> int:
        """Connections closed because they did not answer."""

    @property
    def closed_idle(self) -> int:
        """Connections closed because nothing went over them."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for clients to take them."""

    @property
    def largest_queue_bytes(self) -> int:
        """The most that waits for one of them."""

    @property
    def large_queues(self) -> int:
        """Clients that lag behind: more than half of what may wait for them does."""

    @property
    def queues(self) -> QueueSpread:
        """How the bytes that wait are spread over the clients."""


class ConnectionSweep(Protocol):
    """Something that checks all its connections and closes those that are dead or idle."""

    async def health_check(self) -> SweepReport:
        """Check every connection once."""


class ConnectionsProbe:
    """Sweeps the connections; works if the sweep comes to its end.

    That clients go away without a word is everyday life and no failure of the gateway: what was
    closed stands in the result's attributes.
    """

    def __init__(self, connections: ConnectionSweep) -> None:
        self._connections = connections

    @property
    def target(self) -> str:
        """Return what is swept."""
        return "WebSocket connections"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Sweep once."""
        report = await self._connections.health_check()
        return ProbeResult.passed(
            f"{report.checked} checked, {report.pinged} pinged, "
            f"{report.closed_dead} dead and {report.closed_idle} idle closed",
            checked=report.checked,
            pinged=report.pinged,
            closed_dead=report.closed_dead,
            closed_idle=report.closed_idle,
            queued_bytes=report.queued_bytes,
            largest_queue_bytes=report.largest_queue_bytes,
            large_queues=report.large_queues,
            queue_p50_bytes=report.queues.p50_bytes,
            queue_p90_bytes=report.queues.p90_bytes,
            queue_p99_bytes=report.queues.p99_bytes,
        )
