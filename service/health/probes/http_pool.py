"""The probe of the HTTP pool: can requests have a connection."""

from __future__ import annotations

from typing import Protocol

from alerts.durations import format_duration
from service.health.state import AttributeValue, ProbeResult
from service.pools.errors import HTTPFailure
from service.pools.http_counts import PoolCounts


class CountedPool(Protocol):
    """A pool that tells its counts."""

    def counts(self) -> PoolCounts:
        """Return a snapshot."""


class HTTPPoolProbe:
    """Fails when requests waited without a break for too long, or gave up waiting.

    Requests wait only while the limit of the pool, or of their host, is reached. What goes wrong
    once a request has its connection says something about the other side, which has checks and
    metrics of its own, and nothing about the pool: it is told in the attributes and not judged.

    Args:
        pool: The pool.
        exhausted_after_s: For how long requests may be waiting for a connection without a break;
            the interval of the check is a good value.
    """

    def __init__(self, pool: CountedPool, *, exhausted_after_s: float) -> None:
        self._pool = pool
        self._exhausted_after_s = exhausted_after_s
        self._requests = 0
        self._failed = 0
        self._gave_up = 0

    @property
    def target(self) -> str:
        """Return what is looked at."""
        return "HTTP connection pool"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Compare the counts with those of the last run."""
        counts = self._pool.counts()
        requests = counts.requests - self._requests
        failed = counts.failed - self._failed
        gave_up_in_all = counts.errors.get(HTTPFailure.POOL_WAIT, 0)
        gave_up = gave_up_in_all - self._gave_up
        self._requests, self._failed = counts.requests, counts.failed
        self._gave_up = gave_up_in_all
        attributes: dict[str, AttributeValue] = {
            "in_use": counts.in_use,
            "idle": counts.idle,
            "waiting": counts.waiting,
            "requests": requests,
            "failed": failed,
            "gave_up": gave_up,
        }
        if counts.waiting_for_s >= self._exhausted_after_s:
            return ProbeResult.failed(_exhausted(counts), "exhausted", attributes)
        if gave_up:
            reason = f"requests that gave up waiting for a connection: {gave_up}"
            return ProbeResult.failed(f"{reason}; {_limits(counts)}", "exhausted", attributes)
        return ProbeResult(
            True,
            f"{counts.in_use} of {counts.limit} in use, {counts.waiting} waiting",
            attributes=attributes,
        )


def _exhausted(counts: PoolCounts) -> str:
    duration = format_duration(round(counts.waiting_for_s))
    if counts.in_use >= counts.limit:
        setting = f"pools.http.max_connections is {counts.limit}"
    else:
        setting = f"pools.http.max_connections_per_host is {counts.limit_per_host}"
    return (
        f"requests have been waiting for a connection for {duration} without a break, "
        f"{counts.waiting} now; {setting}"
    )


def _limits(counts: PoolCounts) -> str:
    """Return both limits: which one it was is not known once nobody waits any more."""
    return (
        f"pools.http.max_connections is {counts.limit}, max_connections_per_host "
        f"{counts.limit_per_host}"
    )
