"""What the HTTP pool says about its connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from alerts.clock import SystemClock
from service.config.settings import HTTPPoolSettings
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http import HTTPConnectionPool
from service.pools.http_counts import MAX_ENDPOINTS, EndpointCounts, HTTPPoolStats
from tests.support.http import LoopbackServer, RecordedTelemetry, loopback_server, raw_server, until


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as running:
        yield running


@pytest.fixture
def telemetry() -> RecordedTelemetry:
    return RecordedTelemetry()


def make_pool(telemetry: RecordedTelemetry, **settings: str | int) -> HTTPConnectionPool:
    return HTTPConnectionPool(
        HTTPPoolSettings.model_validate(settings),
        instruments=telemetry.instruments,
        tracer_provider=telemetry.tracer_provider,
        clock=SystemClock(),
    )


def endpoint(pool: HTTPConnectionPool, host: str = "127.0.0.1") -> EndpointCounts:
    nothing_yet = EndpointCounts(host, 0, 0, 0, 0, 0, 0, 0, 0)
    return next((each for each in pool.counts().endpoints if each.host == host), nothing_yet)


async def check_life_of_a_connection() -> None:
    async with loopback_server() as server, make_pool(RecordedTelemetry()) as pool:
        async with pool.request("GET", server.url("/hops/1")) as response:
            await response.read()
        await pool.fetch("GET", server.url("/ok"))
        kept = endpoint(pool)
        async with pool.request("GET", server.url("/endless")):
            held = endpoint(pool)
        await until(lambda: endpoint(pool).idle == 0)

        assert (kept.created, kept.reused, kept.idle, kept.in_use) == (1, 2, 1, 0)
        assert (held.created, held.reused, held.idle, held.in_use) == (1, 3, 0, 1)
        assert endpoint(pool).in_use == 0


async def test_a_connection_is_counted_from_its_opening_to_its_end():
    """Created, reused, held, given back and dropped each change exactly their count."""
    await check_life_of_a_connection()


def test_uvloop_closes_sockets_its_own_way_and_is_counted_too():
    """uvloop detaches sockets instead of closing them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check_life_of_a_connection())


async def test_a_connection_the_server_closes_is_not_idle_any_more(telemetry):
    """The pool knows at once that the other side hung up, without a request finding out."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with raw_server(answer) as port, make_pool(telemetry) as pool:
        await pool.fetch("GET", f"http://127.0.0.1:{port}/")

        await until(lambda: pool.counts().idle == 0)


async def test_an_idle_connection_is_closed_after_its_keepalive_time(server, telemetry):
    """What nobody uses does not stay open."""
    async with make_pool(telemetry, keepalive_timeout="50ms") as pool:
        await pool.fetch("GET", server.url("/ok"))
        idle = pool.counts().idle

        await until(lambda: pool.counts().idle == 0)
        assert idle == 1


@pytest.mark.parametrize(("requests", "waiting"), [(1, 0), (2, 0), (3, 1)])
async def test_requests_past_the_limit_of_a_host_wait(server, telemetry, requests, waiting):
    """With two connections to a host, a third request waits and another host is unaffected."""
    async with (
        make_pool(telemetry, max_connections_per_host=2) as pool,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(requests):
            group.create_task(pool.fetch("GET", server.url("/hang")))
        await until(lambda: endpoint(pool).in_use + endpoint(pool).waiting == requests)
        crowded = endpoint(pool)
        await pool.fetch("GET", server.url("/ok", host="localhost"))
        server.release.set()

    assert (crowded.waiting, crowded.in_use) == (waiting, min(requests, 2))
    assert endpoint(pool, "localhost").created == 1
    assert (pool.counts().waiting, pool.counts().in_use) == (0, 0)


@pytest.mark.parametrize(("requests", "waiting"), [(2, 0), (3, 0), (4, 1)])
async def test_requests_past_the_limit_of_the_pool_wait(server, telemetry, requests, waiting):
    """The total limit holds over unlike hosts."""
    async with make_pool(telemetry, max_connections=3) as pool, asyncio.TaskGroup() as group:
        for number in range(requests):
            host = ("127.0.0.1", "localhost")[number % 2]
            group.create_task(pool.fetch("GET", server.url("/hang", host=host)))
        await until(lambda: pool.counts().in_use + pool.counts().waiting == requests)

        assert (pool.counts().waiting, pool.counts().in_use) == (waiting, min(requests, 3))
        server.release.set()


async def test_a_request_that_gives_up_waiting_says_so(server, telemetry):
    """Running out of connections has its own reason, and the wait is recorded."""
    async with make_pool(telemetry, max_connections=1) as pool:
        holder = asyncio.create_task(pool.fetch("GET", server.url("/hang")))
        await server.arrived.wait()
        with pytest.raises(HTTPRequestError, match="max_connections") as caught:
            await pool.fetch("GET", server.url("/ok"), timeout_s=0.5)
        server.release.set()
        await holder

        assert caught.value.reason is HTTPFailure.POOL_WAIT
        assert pool.counts().waiting == 0
    (point,) = telemetry.points("gateway.pool.wait")
    assert point.count == 2
    assert point.sum >= 0.3  # of 0.5 s, less what came before the waiting


async def test_waiting_without_a_break_is_timed(server, telemetry):
    """The pool knows for how long requests have been waiting."""
    async with make_pool(telemetry, max_connections=1) as pool, asyncio.TaskGroup() as group:
        group.create_task(pool.fetch("GET", server.url("/hang")))
        await server.arrived.wait()
        assert pool.counts().waiting_for_s == 0.0
        group.create_task(pool.fetch("GET", server.url("/ok")))
        await until(lambda: pool.counts().waiting == 1)
        await until(lambda: pool.counts().waiting_for_s > 0)
        server.release.set()
    assert pool.counts().waiting_for_s == 0.0


@pytest.mark.parametrize("state", ["connecting", "waiting", "answering", "reading"])
async def test_a_cancelled_request_leaves_nothing_behind(server, telemetry, state):
    """Whatever a request was waiting for when it was cancelled, its connection is free again."""
    async with make_pool(telemetry, max_connections=1) as pool:
        others = []
        if state == "waiting":
            others.append(asyncio.create_task(pool.fetch("GET", server.url("/hang"))))
            await server.arrived.wait()
        path = "/endless" if state == "reading" else "/hang"
        request = asyncio.create_task(pool.fetch("GET", server.url(path), max_bytes=2**40))
        await {
            "connecting": lambda: until(lambda: pool.counts().requests == 1),
            "waiting": lambda: until(lambda: pool.counts().waiting == 1),
            "answering": server.arrived.wait,
            "reading": lambda: until(lambda: pool.counts().in_use == 1),
        }[state]()
        request.cancel()
        await asyncio.wait([request])
        server.release.set()
        await asyncio.gather(*others)

        assert request.cancelled()
        assert (await pool.fetch("GET", server.url("/ok"))).status == 200
        counts = pool.counts()
        assert (counts.in_use, counts.waiting, counts.errors) == (0, 0, {})
        assert all(each.active == 0 for each in counts.endpoints)


async def test_waiting_requests_get_their_turn(server, telemetry):
    """Many requests over few connections all succeed and reuse what is open."""
    async with make_pool(telemetry, max_connections_per_host=2) as pool:
        answers = await asyncio.gather(*(pool.fetch("GET", server.url("/ok")) for _ in range(50)))
        counts = endpoint(pool)

    assert {answer.status for answer in answers} == {200}
    assert (counts.created, counts.reused, counts.idle) == (2, 48, 2)


def test_hosts_are_forgotten_in_the_order_they_were_used_last():
    """Only hosts with nothing going on are forgotten, and totals do not change."""
    stats = HTTPPoolStats()
    stats.endpoint("busy", 80).in_use = 1
    for number in range(MAX_ENDPOINTS):
        stats.endpoint(f"host{number}", 80)

    assert len(stats.endpoints) == MAX_ENDPOINTS
    assert ("busy", 80) in stats.endpoints
    assert ("host0", 80) not in stats.endpoints
