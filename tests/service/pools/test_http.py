"""Requests through the HTTP pool, on real servers."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web
from opentelemetry.baggage import set_baggage
from opentelemetry.context import attach, detach
from opentelemetry.trace import SpanKind

from alerts.clock import SystemClock
from service.config.settings import HTTPPoolSettings
from service.pools.errors import HTTPFailure, HTTPRequestError, PoolError
from service.pools.http import MAX_REDIRECTS, HTTPConnectionPool
from service.pools.http_tracing import Disclosure
from tests.support.http import LoopbackServer, RecordedTelemetry, loopback_server, raw_server


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as running:
        yield running


@pytest.fixture
def telemetry() -> RecordedTelemetry:
    return RecordedTelemetry()


@pytest.fixture
async def pool(telemetry: RecordedTelemetry) -> AsyncIterator[HTTPConnectionPool]:
    async with make_pool(telemetry) as opened:
        yield opened


def make_pool(telemetry: RecordedTelemetry, **settings: str | int) -> HTTPConnectionPool:
    return HTTPConnectionPool(
        HTTPPoolSettings.model_validate(settings),
        instruments=telemetry.instruments,
        tracer_provider=telemetry.tracer_provider,
        clock=SystemClock(),
    )


async def test_fetch_returns_status_headers_and_body(server, pool):
    """A whole answer comes back, and header names match in any case."""
    answer = await pool.fetch("POST", server.url("/echo"), data=b"hello", headers={"X-A": "1"})

    assert (answer.status, answer.body, answer.headers["x-method"]) == (200, b"hello", "POST")
    assert server.requests[0][2]["X-A"] == "1"


async def test_nothing_opens_before_the_first_request(pool):
    """A pool nobody uses has no session and no connection."""
    assert repr(pool) == (
        "<HTTPConnectionPool http not opened yet: 0 in use, 0 idle, 0 waiting, limit 100>"
    )


async def test_closing_twice_closes_once_and_forever(server, pool):
    """A closed pool refuses requests, and closing again does nothing."""
    await pool.fetch("GET", server.url("/ok"))
    await pool.aclose()
    await pool.aclose()

    with pytest.raises(HTTPRequestError, match="the http pool is closed") as caught:
        await pool.fetch("GET", server.url("/ok"))
    assert caught.value.reason is HTTPFailure.CLOSED
    assert pool.counts().idle == 0


async def test_closing_fails_the_requests_in_progress(server, pool):
    """Whoever waits for an answer when the pool closes gets an error of the pool."""
    request = asyncio.create_task(pool.fetch("GET", server.url("/hang")))
    await server.arrived.wait()
    await pool.aclose()

    with pytest.raises(PoolError, match="the http pool was closed"):
        await request
    assert (pool.counts().in_use, pool.counts().idle) == (0, 0)


@pytest.mark.parametrize("url", ["no url", "/path", "ftp://127.0.0.1/", "http://", "http://a:b/"])
async def test_a_text_that_is_no_http_url_is_refused(pool, url):
    """The error says what would be right, and nothing is sent."""
    with pytest.raises(HTTPRequestError, match="URL") as caught:
        await pool.fetch("GET", url)

    assert caught.value.reason is HTTPFailure.INVALID_URL


async def test_a_refused_connection_is_reported_as_such(pool, unused_tcp_port):
    """Nobody listens there: the reason is `connect`, and the pool counts it."""
    with pytest.raises(HTTPRequestError, match=r"no connection: Connection refused$") as caught:
        await pool.fetch("GET", f"http://127.0.0.1:{unused_tcp_port}/")

    assert caught.value.reason is HTTPFailure.CONNECT
    assert pool.counts().errors == {"connect": 1}
    assert pool.counts().endpoints[0].errors == 1


async def test_a_name_that_does_not_resolve_is_reported_as_dns(pool):
    """Names under .invalid never exist."""
    with pytest.raises(HTTPRequestError) as caught:
        await pool.fetch("GET", "http://gatewatch.invalid/", timeout_s=5)

    assert caught.value.reason is HTTPFailure.DNS


async def test_a_server_that_hangs_costs_the_timeout(server, pool):
    """A request ends when its own time is over, whatever the server does."""
    with pytest.raises(HTTPRequestError, match="no complete answer in time") as caught:
        await pool.fetch("GET", server.url("/hang"), timeout_s=0.05)

    assert caught.value.reason is HTTPFailure.TIMEOUT
    assert pool.counts().in_use == 0


async def test_a_body_that_stalls_costs_the_timeout(pool):
    """The timeout covers the body, not only the headers."""
    async with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", hold=True) as port:
        with pytest.raises(HTTPRequestError) as caught:
            await pool.fetch("GET", f"http://127.0.0.1:{port}/", timeout_s=0.1)

    assert caught.value.reason is HTTPFailure.TIMEOUT


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", HTTPFailure.DISCONNECTED),
        (b"what is this?\r\n\r\n", HTTPFailure.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", HTTPFailure.BODY),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", HTTPFailure.PROTOCOL),
    ],
    ids=["nothing", "not HTTP", "half a body", "a huge header"],
)
async def test_a_broken_answer_has_its_reason(pool, sent, reason):
    """Each way to answer badly is told apart, and costs only its own connection."""
    async with raw_server(sent) as port:
        with pytest.raises(HTTPRequestError) as caught:
            await pool.fetch("GET", f"http://127.0.0.1:{port}/", timeout_s=5)

    assert caught.value.reason is reason
    assert pool.counts().in_use == 0


async def test_endless_headers_end_with_an_error(pool):
    """Header after header is refused at a limit instead of filling the memory."""
    async with raw_server(b"HTTP/1.1 200 OK\r\n", repeat=b"X-Again: 1\r\n" * 100) as port:
        with pytest.raises(HTTPRequestError) as caught:
            await pool.fetch("GET", f"http://127.0.0.1:{port}/", timeout_s=5)

    assert caught.value.reason is HTTPFailure.PROTOCOL


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
async def test_a_body_may_be_as_large_as_asked_for(server, pool, size, fits):
    """The limit itself is allowed, one byte more is an error that names the limit."""
    fetch = pool.fetch("GET", server.url(f"/large/{size}"), max_bytes=100)

    if fits:
        assert len((await fetch).body) == size
    else:
        with pytest.raises(HTTPRequestError, match="larger than 100 bytes"):
            await fetch


async def test_an_endless_body_is_cut_off(server, pool):
    """Reading stops at the limit and the connection is closed, not kept."""
    with pytest.raises(HTTPRequestError) as caught:
        await pool.fetch("GET", server.url("/endless"), timeout_s=5)

    assert caught.value.reason is HTTPFailure.BODY_SIZE
    assert pool.counts().in_use == 0


@pytest.mark.parametrize("hops", [MAX_REDIRECTS - 1, MAX_REDIRECTS, MAX_REDIRECTS + 1])
async def test_ten_redirects_are_followed_and_no_more(server, pool, hops):
    """The last one allowed is followed, the next one is an error."""
    fetch = pool.fetch("GET", server.url(f"/hops/{hops}"))

    if hops <= MAX_REDIRECTS:
        assert (await fetch).body == b"ok"
    else:
        with pytest.raises(HTTPRequestError, match="too many redirects"):
            await fetch


async def test_redirects_are_left_alone_on_request(server, pool):
    """Without allow_redirects the redirect itself is the answer."""
    answer = await pool.fetch("GET", server.url("/loop"), allow_redirects=False)

    assert (answer.status, answer.headers["Location"]) == (302, "/loop")


async def test_a_request_is_a_client_span_and_carries_its_trace(server, pool, telemetry):
    """The server is told the span, which shows neither password nor query."""
    await pool.fetch("GET", server.url("/ok?key=secret").replace("//", "//user:pass@"))

    (span,) = telemetry.spans("GET")
    attributes = dict(span.attributes or {})
    assert span.kind is SpanKind.CLIENT
    assert attributes["url.full"] == server.url("/ok")
    assert attributes["http.response.status_code"] == 200
    assert attributes["server.port"] == server.port
    assert format(span.context.span_id, "016x") in server.requests[0][2]["traceparent"]


async def test_a_secret_path_is_not_shown(server, pool, telemetry):
    """Webhook paths are secrets: not in the span, not in the error."""
    with pytest.raises(HTTPRequestError) as caught:
        await pool.fetch(
            "GET", server.url("/hang"), timeout_s=0.05, disclosure=Disclosure(secret_path=True)
        )

    shown = server.url("/...")
    assert caught.value.url == shown
    assert telemetry.spans("GET")[0].attributes["url.full"] == shown
    assert "hang" not in str(caught.value)


async def test_each_request_is_timed_once_with_its_outcome(server, pool, telemetry):
    """Status and error type are attributes of the duration, as the conventions ask."""
    await pool.fetch("GET", server.url("/status/503"))
    with pytest.raises(HTTPRequestError):
        await pool.fetch("LOCK", server.url("/hang"), timeout_s=0.05)

    points = telemetry.points("http.client.request.duration")
    seen = {
        (p.attributes["http.request.method"], p.attributes["error.type"]): p.count for p in points
    }
    assert seen == {("GET", "503"): 1, ("_OTHER", "timeout"): 1}


async def test_the_beginning_of_a_body_can_be_enough(server, pool):
    """Reading stops where the caller is satisfied, even if the server never does."""
    async with pool.request("GET", server.url("/endless")) as response:
        beginning = await response.read_up_to(10)

    assert beginning == b"x" * 10
    assert pool.counts().in_use == 0


async def test_a_header_that_cannot_be_sent_is_an_error_of_the_request(server, pool):
    """A line break in a header is refused before anything is sent."""
    with pytest.raises(HTTPRequestError):
        await pool.fetch("GET", server.url("/ok"), headers={"X-A": "1\r\nX-B: 2"})

    assert server.requests == []


async def test_an_error_of_the_caller_is_no_error_of_the_pool(server, pool):
    """What the caller raises while it holds a response passes through, uncounted."""
    with pytest.raises(ZeroDivisionError):
        async with pool.request("GET", server.url("/ok")) as response:
            print(1 // (response.status - 200))  # noqa: T201 - the value does not matter

    assert pool.counts().errors == {}
    assert pool.counts().in_use == 0


async def test_a_request_keeps_its_trace_to_itself_if_told_to(server, pool, telemetry):
    """It has a span, and no trace context in its headers; nor has one of a caller's baggage."""
    with attached_baggage():
        await pool.fetch("GET", server.url("/ok"), disclosure=Disclosure(sends_trace=False))
        await pool.fetch("GET", server.url("/ok"))

    silent, open_ = ({name.lower() for name in request[2]} for request in server.requests)
    assert not silent & {"traceparent", "tracestate", "baggage"}
    assert "traceparent" in open_
    assert "baggage" not in open_
    assert len(telemetry.spans("GET")) == 2


async def test_headers_of_the_caller_are_sent(server, pool):
    """What was asked for is sent, also where it is called as what is left out."""
    with attached_baggage():
        await pool.fetch(
            "GET",
            server.url("/ok"),
            headers={"Baggage": "mine=1"},
            disclosure=Disclosure(sends_trace=False),
        )

    headers = {name.lower(): value for name, value in server.requests[0][2].items()}
    assert headers["baggage"] == "mine=1"


async def test_a_repetition_says_how_many_there_were(server, pool, telemetry):
    """The first request does not say that it is the first."""
    for count in (0, 2):
        await pool.fetch("GET", server.url("/ok"), disclosure=Disclosure(resend_count=count))

    first, third = telemetry.spans("GET")
    assert "http.request.resend_count" not in (first.attributes or {})
    assert (third.attributes or {})["http.request.resend_count"] == 2


@contextmanager
def attached_baggage() -> Iterator[None]:
    """Have baggage in the context, as a peer's would be if anybody read it."""
    token = attach(set_baggage("peer", "secret"))
    try:
        yield
    finally:
        detach(token)


def redirect_to(url: str, status: int = 302) -> bytes:
    """Return an answer that leads elsewhere."""
    return f"HTTP/1.1 {status} Moved\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()


SECRETS = {
    "X-Api-Key": "secret",
    "Authorization": "Bearer secret",
    "Cookie": "session=secret",
    "Host": "inside.example",
}


async def test_headers_do_not_follow_to_another_origin(server, pool):
    """What a caller wrote for one host is for that host; what it understands is for every host."""
    kept = {"Accept": "text/plain", "User-Agent": "mine"}
    async with raw_server(redirect_to(server.url("/ok"))) as port:
        await pool.fetch("GET", f"http://127.0.0.1:{port}/", headers={**SECRETS, **kept})

    ((_, _, headers, _),) = server.requests
    assert "secret" not in str(headers)
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert (headers["Accept"], headers["User-Agent"]) == ("text/plain", "mine")


async def test_headers_left_behind_stay_there(server, pool):
    """They do not come again on the way, although the later hops are of one origin."""
    async with raw_server(redirect_to(server.url("/hops/2"))) as port:
        await pool.fetch("GET", f"http://127.0.0.1:{port}/", headers=SECRETS)

    assert [path for _, path, _, _ in server.requests] == ["/hops/2", "/hops/1", "/ok"]
    assert "secret" not in str(server.requests)


async def test_headers_follow_within_an_origin(server, pool):
    """A redirect to another path of the same host gets what the first request had."""
    await pool.fetch("GET", server.url("/hops/1"), headers={"X-Api-Key": "1"})

    assert [headers["X-Api-Key"] for _, _, headers, _ in server.requests] == ["1", "1"]


@pytest.mark.parametrize(
    ("status", "method"), [(307, "POST"), (308, "PUT"), (302, "PUT"), (303, "HEAD")]
)
async def test_a_body_does_not_follow_to_another_origin(server, pool, status, method):
    """Where it would be sent again the request ends, and says why."""
    async with raw_server(redirect_to(server.url("/echo"), status)) as port:
        with pytest.raises(HTTPRequestError, match="does not get the body") as caught:
            await pool.fetch(method, f"http://127.0.0.1:{port}/", data=b"secret")

    assert caught.value.reason is HTTPFailure.REDIRECTS
    assert server.requests == []
    assert pool.counts().in_use == 0


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_post_that_goes_on_as_a_get_is_followed(server, pool, status):
    """It has no body any more, and no header of its own."""
    async with raw_server(redirect_to(server.url("/ok"), status)) as port:
        await pool.fetch("POST", f"http://127.0.0.1:{port}/", data=b"secret", headers=SECRETS)

    ((method, _, headers, body),) = server.requests
    assert (method, body) == ("GET", b"")
    assert "secret" not in str(headers)


async def test_a_body_that_was_dropped_on_the_way_is_not_missed(server, pool):
    """What goes on as a GET within an origin may leave it then."""
    async with raw_server(redirect_to(server.url("/ok"), 302)) as port:
        elsewhere = f"http://127.0.0.1:{port}/"
        async with raw_server(redirect_to(elsewhere, 303)) as first:
            await pool.fetch("POST", f"http://127.0.0.1:{first}/", data=b"secret")

    ((method, _, _, body),) = server.requests
    assert (method, body) == ("GET", b"")


async def test_a_body_follows_within_an_origin(pool):
    """As the status asks for."""
    requests: list[tuple[str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append((request.path, await request.read()))
        if request.path == "/first":
            return web.Response(status=307, headers={"Location": "/second"})
        return web.Response()

    application = web.Application()
    application.router.add_post("/{name}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        await pool.fetch("POST", f"http://127.0.0.1:{runner.addresses[0][1]}/first", data=b"x")
    finally:
        await runner.cleanup()

    assert requests == [("/first", b"x"), ("/second", b"x")]


@pytest.mark.parametrize("kind", ["refused", "hangs"])
async def test_a_request_that_fails_goes_at_once(server, pool, unused_tcp_port, kind):
    """No circle of errors and frames keeps it until somebody collects garbage."""
    url = f"http://127.0.0.1:{unused_tcp_port}/" if kind == "refused" else server.url("/hang")
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(HTTPRequestError) as caught:
            await pool.fetch("GET", url, timeout_s=0.05)
        failed = weakref.ref(caught.value)
        del caught
        left = failed()
    finally:
        gc.enable()

    assert left is None
