"""The probe of the HTTP pool: is it exhausted, do its requests fail."""

from __future__ import annotations

from typing import Protocol

from alerts.durations import format_duration
from service.health.state import AttributeValue, ProbeResult
from service.pools.http_counts import PoolCounts


class CountedPool(Protocol):
    """A pool that tells its counts."""

    def counts(self) -> PoolCounts:
        """Return a snapshot."""


class HTTPPoolProbe:
    """Fails when requests waited without a break for too long, or when most requests failed.

    Args:
        pool: The pool.
        exhausted_after_s: For how long requests may be waiting for a connection without a break;
            the interval of the check is a good value. Requests wait only while the limit of the
            pool, or of their host, is reached.
        error_share: Share of the requests since the last run that may fail, from 0 to 1.
        min_requests: Fewer requests since the last run are not judged.
    """

    def __init__(
        self,
        pool: CountedPool,
        *,
        exhausted_after_s: float,
        error_share: float = 0.5,
        min_requests: int = 10,
    ) -> None:
        self._pool = pool
        self._exhausted_after_s = exhausted_after_s
        self._error_share = error_share
        self._min_requests = min_requests
        self._requests = 0
        self._failed = 0

    @property
    def target(self) -> str:
        """Return what is looked at."""
        return "HTTP connection pool"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Compare the counts with those of the last run."""
        counts = self._pool.counts()
        requests = counts.requests - self._requests
        failed = counts.failed - self._failed
        self._requests, self._failed = counts.requests, counts.failed
        attributes: dict[str, AttributeValue] = {
            "in_use": counts.in_use,
            "idle": counts.idle,
            "waiting": counts.waiting,
            "requests": requests,
            "failed": failed,
        }
        if counts.waiting_for_s >= self._exhausted_after_s:
            return ProbeResult.failed(_exhausted(counts), "exhausted", attributes)
        if requests >= self._min_requests and failed > self._error_share * requests:
            return ProbeResult.failed(
                f"{failed} of {requests} requests failed", "errors", attributes
            )
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
