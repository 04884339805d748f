"""The probe of the HTTP pool: can requests have a connection, and do marked hosts answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from yarl import URL

from alerts.durations import format_duration
from service.health.state import AttributeValue, ProbeResult
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http import HTTPResponse
from service.pools.http_counts import EndpointCounts, PoolCounts

MOST_HOSTS: Final = 10
"""Hosts that a result tells of one by one: those with the most waiting, in use, and failed."""

# A host's request ends a little before the check's time is over, so that it can be told which.
_SHARE_OF_TIMEOUT: Final = 0.9

_Host = tuple[str, int]


class CountedPool(Protocol):
    """A pool that tells its counts."""

    def counts(self) -> PoolCounts:
        """Return a snapshot."""

    def request(
        self,
        method: str,
        url: str | URL,
        *,
        timeout_s: float | None = None,
        allow_redirects: bool = True,
    ) -> AbstractAsyncContextManager[HTTPResponse]:
        """Send a request over one of its connections.

        Raises:
            HTTPRequestError: No answer.
        """


class HTTPPoolProbe:
    """Fails when requests waited for too long or gave up waiting, or a marked host is silent.

    Requests wait only while the limit of the pool, or of their host, is reached. What goes wrong
    once a request has its connection says something about the other side, which has checks and
    metrics of its own, and nothing about the pool: it is told in the attributes and not judged.

    Args:
        pool: The pool.
        hosts: URLs that are requested at each run over the pool's connections; any answer will do.
        exhausted_after_s: Returns for how long requests may be waiting for a connection without a
            break; the interval of the check is a good value.
    """

    def __init__(
        self,
        pool: CountedPool,
        *,
        exhausted_after_s: Callable[[], float],
        hosts: Sequence[URL] = (),
    ) -> None:
        self._pool = pool
        self._hosts = tuple(hosts)
        self._host_errors: dict[_Host, int] = {}
        self._exhausted_after_s = exhausted_after_s
        self._requests = 0
        self._failed = 0
        self._gave_up = 0

    @property
    def target(self) -> str:
        """Return what is looked at."""
        return "HTTP connection pool"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Compare the counts with those of the last run, then ask the hosts."""
        result = self._counted()
        silent = await self._silent(timeout_s * _SHARE_OF_TIMEOUT)
        if not silent:
            return result
        reasons = [] if result.success else [result.reason]
        reasons.append(f"no answer from {', '.join(silent)}")
        return ProbeResult.failed(
            "; ".join(reasons), result.error_type or "unreachable", result.attributes
        )

    async def _silent(self, timeout_s: float) -> list[str]:
        """Return the hosts that did not answer, each with why."""

        async def ask(url: URL) -> str:
            try:
                async with self._pool.request(
                    "HEAD", url, timeout_s=timeout_s, allow_redirects=False
                ):
                    return ""
            except HTTPRequestError as error:
                return f"{url.host}:{url.port} ({error.detail})"

        return list(filter(None, await asyncio.gather(*map(ask, self._hosts))))

    def _counted(self) -> ProbeResult:
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
            **self._by_host(counts),
        }
        if counts.waiting_for_s >= self._exhausted_after_s():
            return ProbeResult.failed(_exhausted(counts), "exhausted", attributes)
        if gave_up:
            reason = f"requests that gave up waiting for a connection: {gave_up}"
            return ProbeResult.failed(f"{reason}; {_limits(counts)}", "exhausted", attributes)
        return ProbeResult(
            True,
            f"{counts.in_use} of {counts.limit} in use, {counts.waiting} waiting",
            attributes=attributes,
        )

    def _by_host(self, counts: PoolCounts) -> dict[str, AttributeValue]:
        """Return what is in use, waiting, and failed since the last run, of the busiest hosts."""
        seen = self._host_errors
        self._host_errors = {(each.host, each.port): each.errors for each in counts.endpoints}

        def figures(each: EndpointCounts) -> tuple[int, int, int]:
            before = seen.get((each.host, each.port), 0)
            # Fewer than before: the pool had forgotten the host, and counts it anew.
            errors = each.errors - before if each.errors >= before else each.errors
            return each.waiting, each.in_use, errors

        found: dict[str, AttributeValue] = {}
        for each in sorted(counts.endpoints, key=figures, reverse=True)[:MOST_HOSTS]:
            waiting, in_use, errors = figures(each)
            if waiting or in_use or errors:
                name = f"host.{each.host}:{each.port}"
                found |= {
                    f"{name}.in_use": in_use,
                    f"{name}.waiting": waiting,
                    f"{name}.errors": errors,
                }
        return found


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
