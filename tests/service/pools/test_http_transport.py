"""Notifications through the HTTP pool."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import SystemClock
from alerts.notify.transport import Transport, TransportError, TransportRequest
from service.config.settings import HTTPPoolSettings
from service.pools.http import HTTPConnectionPool
from service.pools.transport import MAX_ANSWER_BYTES, PoolTransport
from service.telemetry.instruments import Instruments
from tests.support.http import LoopbackServer, loopback_server, raw_server


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as running:
        yield running


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=SystemClock(),
    ) as pool:
        yield PoolTransport(pool)


async def test_a_post_comes_back_with_its_answer(server, transport):
    """Body and headers go out; status, headers and body come back, whatever the status."""
    answer = await transport.send(
        TransportRequest("POST", server.url("/status/503"), {"X-A": "1"}, b"{}", timeout_s=5.0)
    )

    assert (answer.status, answer.body) == (503, b"as you wish")
    assert answer.header("content-type").startswith("text/plain")
    assert server.requests[0][3] == b"{}"


async def test_redirects_are_not_followed(transport):
    """A redirect is an answer like any other."""
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(redirect) as port:
        answer = await transport.send(
            TransportRequest("POST", f"http://127.0.0.1:{port}/", {}, b"", timeout_s=5.0)
        )

    assert (answer.status, answer.header("location")) == (302, "/elsewhere")


async def test_of_a_huge_answer_the_beginning_is_read(transport):
    """A receiver that answers at length has accepted all the same."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    async with raw_server(head, repeat=b"y" * 65536) as port:
        answer = await transport.send(
            TransportRequest("POST", f"http://127.0.0.1:{port}/", {}, b"", timeout_s=5.0)
        )

    assert (answer.status, len(answer.body)) == (200, MAX_ANSWER_BYTES)


async def test_a_timeout_is_told_apart(server, transport):
    """Whoever retries wants to know whether time ran out."""
    with pytest.raises(TransportError) as caught:
        await transport.send(TransportRequest("POST", server.url("/hang"), {}, b"", timeout_s=0.05))

    assert caught.value.is_timeout


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/s3cret", "http://[s3cret", "ftp://a/s3cret"])
async def test_no_error_shows_the_path_of_a_url(transport, url):
    """The token in a webhook's path is in no message and in no traceback."""
    with pytest.raises(TransportError) as caught:
        await transport.send(TransportRequest("POST", url, {}, b"", timeout_s=5.0))

    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown
    assert not caught.value.is_timeout
