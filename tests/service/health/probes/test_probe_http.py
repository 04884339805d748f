"""The HTTP probe against servers that answer in every way."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import SystemClock
from service.config.probe_settings import HTTPProbeSettings
from service.config.settings import HTTPPoolSettings
from service.health.checks import Check, run_check
from service.health.probes.http import HTTPProbe
from service.health.state import ProbeResult
from service.pools.http import MAX_BODY_BYTES, HTTPConnectionPool
from service.telemetry.instruments import Instruments
from tests.support.http import LoopbackServer, loopback_server, raw_server


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[HTTPConnectionPool]:
    async with HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=SystemClock(),
    ) as opened:
        yield opened


async def probe(
    pool: HTTPConnectionPool, url: str, *, timeout_s: float = 5.0, **settings: object
) -> ProbeResult:
    made = HTTPProbe(HTTPProbeSettings.model_validate({"url": url, **settings}), pool)
    return await run_check(Check("web", made, timeout_s=timeout_s), SystemClock())


@pytest.mark.parametrize(
    ("status", "expected", "success"),
    [
        (200, [], True),
        (204, [], True),
        (299, [], True),
        (304, [], False),
        (500, [], False),
        (401, [401, 403], True),
        (200, [401, 403], False),
    ],
)
async def test_the_status_decides(server, pool, status, expected, success):
    """Every 2xx will do, unless the settings name others."""
    result = await probe(pool, server.url(f"/status/{status}"), expected_status=expected)

    assert result.success is success
    assert result.attributes["http.response.status_code"] == status


async def test_an_unexpected_status_says_what_was_expected(server, pool):
    """The reason is what a person wants to read in an alert."""
    url = server.url("/status/500")

    assert (await probe(pool, url)).reason == "status 500, expected 2xx"
    result = await probe(pool, url, expected_status=[200, 404])
    assert result.reason == "status 500, expected 200 or 404"


async def test_method_headers_and_body_are_sent(server, pool):
    """The request is the one the settings describe."""
    await probe(pool, server.url("/echo"), method="POST", headers={"X-Key": "1"}, body="hi")

    (method, path, headers, body) = server.requests[0]
    assert (method, path, headers["X-Key"], body) == ("POST", "/echo", "1", b"hi")


async def test_redirects_are_judged_as_they_are_if_not_followed(server, pool):
    """Without following, the redirect's own status counts."""
    result = await probe(pool, server.url("/hops/1"), follow_redirects=False, expected_status=[302])

    assert result.success
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("path", "error_type"),
    [("/hang", "timeout"), ("/loop", "redirects"), ("/endless", "body_size")],
)
async def test_a_server_that_misbehaves_is_a_failure_in_time(server, pool, path, error_type):
    """Hanging, redirecting in circles and answering without end each have a reason."""
    result = await probe(pool, server.url(path), timeout_s=0.3)

    assert (result.success, result.error_type) == (False, error_type)
    assert result.duration_s < 0.35
    assert result.reason


@pytest.mark.parametrize(("extra", "success"), [(-1, True), (0, True), (1, False)])
async def test_a_body_may_be_a_mebibyte(server, pool, extra, success):
    """Larger bodies are a failure that names the limit."""
    result = await probe(pool, server.url(f"/large/{MAX_BODY_BYTES + extra}"))

    assert result.success is success


async def test_endless_headers_are_a_failure(pool):
    """A server that never comes to the body costs nothing but its own check."""
    async with raw_server(b"HTTP/1.1 200 OK\r\n", repeat=b"X-Again: 1\r\n" * 100) as port:
        result = await probe(pool, f"http://127.0.0.1:{port}/", timeout_s=2.0)

    assert (result.success, result.error_type) == (False, "protocol")


async def test_headers_that_trickle_cost_the_timeout(pool):
    """Half a header and then nothing ends when the time is over."""
    async with raw_server(b"HTTP/1.1 200 OK\r\nX-Slow", hold=True) as port:
        result = await probe(pool, f"http://127.0.0.1:{port}/", timeout_s=0.2)

    assert result.error_type == "timeout"


async def test_nobody_listening_is_a_failure(pool, unused_tcp_port):
    """A refused connection says so."""
    result = await probe(pool, f"http://127.0.0.1:{unused_tcp_port}/")

    assert result.error_type == "connect"
    assert "no connection" in result.reason


async def test_an_unknown_name_is_a_failure(pool):
    """A host that does not resolve is told apart from one that is down."""
    result = await probe(pool, "http://gatewatch.invalid/")

    assert result.error_type == "dns"
