"""The probe of the HTTP pool, on counts."""

from __future__ import annotations

import pytest

from service.health.probes.http_pool import HTTPPoolProbe
from service.pools.http_counts import HTTPPoolStats, PoolCounts


class CountedPool:
    """Tells the counts a test sets."""

    def __init__(self) -> None:
        self.stats = HTTPPoolStats()
        self.now = 0.0

    def counts(self) -> PoolCounts:
        return self.stats.snapshot(4, 2, self.now)


@pytest.mark.parametrize(("waited", "success"), [(59.9, True), (60.0, False), (60.1, False)])
async def test_waiting_for_a_whole_interval_is_exhaustion(waited, success):
    """Requests that wait a moment are normal; for a whole interval without a break they are not."""
    pool = CountedPool()
    pool.stats.start_waiting(pool.stats.endpoint("a", 80), now=0.0)
    pool.now = waited

    result = await HTTPPoolProbe(pool, exhausted_after_s=60.0).run(1.0)
    assert result.success is success


@pytest.mark.parametrize(
    ("in_use", "setting"),
    [(4, "pools.http.max_connections is 4"), (2, "pools.http.max_connections_per_host is 2")],
)
async def test_exhaustion_names_the_setting_to_raise(in_use, setting):
    """Whether the pool or one host is full, the reason says which limit it was."""
    pool = CountedPool()
    pool.stats.in_use = in_use
    pool.stats.start_waiting(pool.stats.endpoint("a", 80), now=0.0)
    pool.now = 90.0

    result = await HTTPPoolProbe(pool, exhausted_after_s=60.0).run(1.0)
    assert result.error_type == "exhausted"
    assert result.reason == (
        f"requests have been waiting for a connection for 1m30s without a break, 1 now; {setting}"
    )


async def test_what_the_other_side_does_is_not_the_pools_failure():
    """A target that is down fails its own check; the pool serves its requests as it should."""
    pool = CountedPool()
    probe = HTTPPoolProbe(pool, exhausted_after_s=60.0)
    pool.stats.requests = 13
    pool.stats.errors = {"connect": 6, "timeout": 6}

    result = await probe.run(1.0)
    assert result.success
    assert (result.attributes["requests"], result.attributes["failed"]) == (13, 12)


async def test_requests_that_gave_up_waiting_are_exhaustion():
    """They failed here and not at the other side; those of earlier runs are not told again."""
    pool = CountedPool()
    probe = HTTPPoolProbe(pool, exhausted_after_s=60.0)
    pool.stats.requests, pool.stats.errors = 10, {"pool_wait": 3, "timeout": 1}

    first, second = await probe.run(1.0), await probe.run(1.0)
    assert (first.success, first.error_type) == (False, "exhausted")
    assert first.reason == (
        "requests that gave up waiting for a connection: 3; "
        "pools.http.max_connections is 4, max_connections_per_host 2"
    )
    assert second.success
