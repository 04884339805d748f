"""The probe of the HTTP pool, on counts."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest
from yarl import URL

from service.health.probes.http_pool import MOST_HOSTS, HTTPPoolProbe
from service.pools.http import HTTPResponse
from service.pools.http_counts import HTTPPoolStats, PoolCounts
from tests.support.http import raw_server
from tests.support.probes import probe_parts


class CountedPool:
    """Tells the counts a test sets; nothing can be requested."""

    def __init__(self) -> None:
        self.stats = HTTPPoolStats()
        self.now = 0.0

    def counts(self) -> PoolCounts:
        return self.stats.snapshot(4, 2, self.now)

    def request(
        self,
        method: str,
        url: str | URL,
        *,
        timeout_s: float | None = None,
        allow_redirects: bool = True,
    ) -> AbstractAsyncContextManager[HTTPResponse]:
        raise NotImplementedError


@pytest.mark.parametrize(("waited", "success"), [(59.9, True), (60.0, False), (60.1, False)])
async def test_waiting_for_a_whole_interval_is_exhaustion(waited, success):
    """Requests that wait a moment are normal; for a whole interval without a break they are not."""
    pool = CountedPool()
    pool.stats.start_waiting(pool.stats.endpoint("a", 80), now=0.0)
    pool.now = waited

    result = await HTTPPoolProbe(pool, exhausted_after_s=lambda: 60.0).run(1.0)
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

    result = await HTTPPoolProbe(pool, exhausted_after_s=lambda: 60.0).run(1.0)
    assert result.error_type == "exhausted"
    assert result.reason == (
        f"requests have been waiting for a connection for 1m30s without a break, 1 now; {setting}"
    )


async def test_what_the_other_side_does_is_not_the_pools_failure():
    """A target that is down fails its own check; the pool serves its requests as it should."""
    pool = CountedPool()
    probe = HTTPPoolProbe(pool, exhausted_after_s=lambda: 60.0)
    pool.stats.requests = 13
    pool.stats.errors = {"connect": 6, "timeout": 6}

    result = await probe.run(1.0)
    assert result.success
    assert (result.attributes["requests"], result.attributes["failed"]) == (13, 12)


async def test_requests_that_gave_up_waiting_are_exhaustion():
    """They failed here and not at the other side; those of earlier runs are not told again."""
    pool = CountedPool()
    probe = HTTPPoolProbe(pool, exhausted_after_s=lambda: 60.0)
    pool.stats.requests, pool.stats.errors = 10, {"pool_wait": 3, "timeout": 1}

    first, second = await probe.run(1.0), await probe.run(1.0)
    assert (first.success, first.error_type) == (False, "exhausted")
    assert first.reason == (
        "requests that gave up waiting for a connection: 3; "
        "pools.http.max_connections is 4, max_connections_per_host 2"
    )
    assert second.success


async def test_the_busiest_hosts_are_told_one_by_one():
    """What is in use, waiting and failed since the last run; hosts without any are left out."""
    pool = CountedPool()
    probe = HTTPPoolProbe(pool, exhausted_after_s=lambda: 60.0)
    pool.stats.endpoint("a", 80).errors = 3
    await probe.run(1.0)
    pool.stats.endpoint("a", 80).errors = 5
    pool.stats.endpoint("b", 443).in_use = 2
    pool.stats.start_waiting(pool.stats.endpoint("b", 443), now=0.0)
    pool.stats.endpoint("idle", 80).open = 1

    result = await probe.run(1.0)
    assert {key: value for key, value in result.attributes.items() if key.startswith("host.")} == {
        "host.a:80.in_use": 0,
        "host.a:80.waiting": 0,
        "host.a:80.errors": 2,
        "host.b:443.in_use": 2,
        "host.b:443.waiting": 1,
        "host.b:443.errors": 0,
    }


async def test_only_so_many_hosts_are_told():
    """A result stays small, however many hosts there are; those that wait come first."""
    pool = CountedPool()
    for number in range(30):
        pool.stats.endpoint(f"h{number}", 80).in_use = 1
    pool.stats.start_waiting(pool.stats.endpoint("h7", 80), now=0.0)

    result = await HTTPPoolProbe(pool, exhausted_after_s=lambda: 60.0).run(1.0)
    told = [key for key in result.attributes if key.endswith(":80.in_use")]
    assert (len(told), told[0]) == (MOST_HOSTS, "host.h7:80.in_use")


async def test_marked_hosts_have_to_answer(unused_tcp_port):
    """Any status is an answer; who gives none is named, without what else stands in the URL."""
    closed = URL(f"http://me:hush@127.0.0.1:{unused_tcp_port}/secret")
    async with probe_parts() as parts, raw_server(b"HTTP/1.1 500 Broken\r\n\r\n") as port:
        there = URL(f"http://127.0.0.1:{port}/")
        good = await HTTPPoolProbe(parts.pool, exhausted_after_s=lambda: 60.0, hosts=[there]).run(
            5.0
        )
        bad = await HTTPPoolProbe(
            parts.pool, exhausted_after_s=lambda: 60.0, hosts=[there, closed]
        ).run(5.0)

    assert good.success, good.reason
    assert (bad.success, bad.error_type) == (False, "unreachable")
    assert bad.reason.startswith(f"no answer from 127.0.0.1:{unused_tcp_port} (no connection: ")
    assert "hush" not in bad.reason
    assert "secret" not in bad.reason
