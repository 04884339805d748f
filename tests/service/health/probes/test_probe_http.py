"""The HTTP probe against servers that answer in every way."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiohttp import web
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import SystemClock
from service.config.health_settings import CheckSettings
from service.config.settings import HTTPPoolSettings
from service.health.checks import Check, run_check
from service.health.probes.factory import ProbeParts, make_probe
from service.health.pushes import PushInbox
from service.health.state import ProbeResult
from service.pools.http import MAX_BODY_BYTES, HTTPConnectionPool
from service.telemetry.instruments import Instruments
from tests.support.certificates import Certificates
from tests.support.http import LoopbackServer, loopback_server, raw_server
from tests.support.probes import run_once


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
    pool: HTTPConnectionPool,
    url: str,
    *,
    timeout_s: float = 5.0,
    conditions: Sequence[str] = (),
    **settings: object,
) -> ProbeResult:
    check = CheckSettings.model_validate(
        {"name": "web", "http": {"url": url, **settings}, "conditions": conditions}
    )
    clock = SystemClock()
    made = make_probe(check, ProbeParts(pool, clock, PushInbox(clock)), interval_s=60.0)
    return await run_check(Check("web", made, timeout_s=timeout_s), clock)


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


async def test_keys_do_not_follow_redirects_to_another_host(server, pool):
    """The target alone gets headers and credentials of the check, and where it leads works."""
    moved = f"HTTP/1.1 302 Found\r\nLocation: {server.url('/ok')}\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(moved.encode()) as port:
        url = f"http://127.0.0.1:{port}/"
        keys = {"X-API-Key": "secret", "Cookie": "a=secret"}
        result = await probe(pool, url, headers=keys, bearer_token="secret")

    assert result.success
    assert "secret" not in str(server.requests)


@pytest.mark.parametrize(
    ("path", "timeout_s", "error_type"),
    [("/hang", 0.3, "timeout"), ("/loop", 10, "redirects"), ("/endless", 10, "body_size")],
)
async def test_a_server_that_misbehaves_is_a_failure_in_time(
    server, pool, path, timeout_s, error_type
):
    """Hanging, redirecting in circles and answering without end each have a reason."""
    result = await probe(pool, server.url(path), timeout_s=timeout_s)

    assert (result.success, result.error_type) == (False, error_type)
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
    assert result.reason.startswith("the name does not resolve: ")
    assert "Errno" not in result.reason


async def test_the_phases_of_a_request_are_told(server, pool):
    """Each run has a connection of its own, looks the name up and says where the time went."""
    first = await probe(pool, server.url("/ok", host="localhost"))
    second = await probe(pool, server.url("/hops/2", host="localhost"))

    phases = {
        "dns.lookup.duration",
        "tcp.connect.duration",
        "http.processing.duration",
        "http.transfer.duration",
    }
    assert phases <= set(first.attributes)
    assert all(float(second.attributes[phase]) > 0 for phase in phases)
    assert first.attributes["network.peer.address"] == "127.0.0.1"
    assert first.attributes["network.protocol.version"] == "1.1"
    assert second.attributes["http.request.redirect_count"] == 2
    assert (pool.counts().created, pool.counts().reused) == (4, 0)


async def test_conditions_judge_the_answer(server, pool):
    """They come after the probe's own rules, and one on the status in place of the 2xx."""
    url = server.url("/status/503")
    wanted = await probe(pool, url, conditions=["[STATUS] == 503", "[BODY] == as you wish"])
    failed = await probe(pool, url, conditions=["[STATUS] < 300", "[BODY] == pat(no*)"])
    neither = await probe(pool, url, conditions=["[BODY] == as you wish"])

    assert wanted.success, wanted.reason
    assert (failed.error_type, failed.reason) == (
        "condition",
        "[STATUS] (503) < 300; [BODY] (as you wish) == pat(no*)",
    )
    assert neither.reason == "status 503, expected 2xx"


async def test_a_condition_may_want_nobody_to_answer(pool, unused_tcp_port):
    """What is closed off is checked by the same means."""
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    result = await probe(pool, url, conditions=["[CONNECTED] == false", "[STATUS] == 0"])

    assert result.success, result.reason


async def test_a_secret_that_comes_back_is_not_shown(server, pool):
    """A server that repeats credentials in its answer does not get them into alerts."""
    result = await probe(
        pool,
        server.url("/echo"),
        bearer_token="hush-hush",
        headers={"X-Api-Key": "x-y-z"},
        conditions=["[BODY].token == a", "[BODY].key == b", "[BODY] == pat(c)"],
        method="POST",
        body='{"token": "hush-hush", "key": "x-y-z"}',
    )

    assert server.requests[0][2]["Authorization"] == "Bearer hush-hush"
    assert "hush" not in result.reason
    assert "x-y-z" not in result.reason


async def test_basic_credentials_are_sent(server, pool):
    """As RFC 7617 says."""
    await probe(pool, server.url("/ok"), basic_auth={"username": "me", "password": "hush"})

    assert server.requests[0][2]["Authorization"] == "Basic bWU6aHVzaA=="


async def test_a_token_is_asked_for_and_kept(server, pool):
    """OAuth2's client credentials are exchanged for a token, which serves several runs."""
    grants = []

    async def grant(request: web.Request) -> web.Response:
        grants.append(await request.post())
        return web.json_response({"access_token": "granted", "expires_in": 3600})

    application = web.Application()
    application.router.add_post("/token", grant)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        oauth2 = {
            "token_url": f"http://127.0.0.1:{runner.addresses[0][1]}/token",
            "client_id": "me",
            "client_secret": "hush",
            "scopes": ["health"],
        }
        check = CheckSettings.model_validate(
            {"name": "web", "http": {"url": server.url("/ok"), "oauth2": oauth2}}
        )
        made = make_probe(
            check, ProbeParts(pool, SystemClock(), PushInbox(SystemClock())), interval_s=60.0
        )
        results = [await made.run(5.0) for _ in range(2)]
    finally:
        await runner.cleanup()

    assert all(result.success for result in results)
    assert [dict(each) for each in grants] == [
        {"grant_type": "client_credentials", "scope": "health"}
    ]
    assert server.requests[1][2]["Authorization"] == "Bearer granted"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def secure_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def ok(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/", ok)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_the_certificate_is_looked_at(pool, certificates):
    """Over TLS the handshake is timed, and conditions may be about the certificate."""
    async with secure_server(certificates.server) as port:
        result = await probe(
            pool,
            f"https://localhost:{port}/",
            tls={"ca_file": certificates.ca_file},
            conditions=["[CERTIFICATE_EXPIRATION] > 7d"],
        )

    assert result.success, result.reason
    assert float(result.attributes["tls.handshake.duration"]) > 0
    assert float(result.attributes["tls.server.certificate.not_after"]) > 1.7e9
    assert result.attributes["tls.protocol.version"] == "TLSv1.3"


def test_the_certificate_is_looked_at_on_uvloop(certificates):
    """The loop that the command runs on tells the same."""

    async def work() -> ProbeResult:
        async with secure_server(certificates.server) as port:
            url = f"https://localhost:{port}/"
            return await run_once("http", {"url": url, "tls": {"ca_file": certificates.ca_file}})

    result = uvloop.run(work())

    assert result.success, result.reason
    assert float(result.attributes["tls.handshake.duration"]) > 0
    assert float(result.attributes["tcp.connect.duration"]) > 0
    assert "tls.server.certificate.not_after" in result.attributes


@pytest.mark.parametrize(
    ("name", "days", "reason"),
    [("localhost", -1, "certificate has expired"), ("example.org", 30, "Hostname mismatch")],
)
async def test_a_refused_certificate_is_a_failure(pool, certificates, name, days, reason):
    """Why the certificate is refused stands in the reason."""
    context = certificates.server_for(name, days)
    async with secure_server(context) as port:
        url = f"https://localhost:{port}/"
        result = await probe(pool, url, tls={"ca_file": certificates.ca_file})

    assert (result.success, result.error_type) == (False, "tls")
    assert reason in result.reason


async def test_a_client_may_show_a_certificate(pool, certificates):
    """A server that asks for one gets it."""
    shown = {"cert_file": certificates.client_cert, "key_file": certificates.client_key}
    async with secure_server(certificates.strict_server()) as port:
        url = f"https://localhost:{port}/"
        without = await probe(pool, url, tls={"ca_file": certificates.ca_file})
        result = await probe(pool, url, tls={"ca_file": certificates.ca_file, **shown})

    assert not without.success
    assert result.success, result.reason


@pytest.mark.parametrize(
    ("sent", "error_type"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "body"),
        (b"", "disconnected"),
        (b"SSH-2.0-OpenSSH\r\n", "protocol"),
    ],
    ids=["cut", "empty", "other"],
)
async def test_a_connection_that_ends_early_is_a_failure(pool, sent, error_type):
    """Half an answer, none, and one of another protocol each have a reason."""
    async with raw_server(sent) as port:
        result = await probe(pool, f"http://127.0.0.1:{port}/")

    assert (result.success, result.error_type) == (False, error_type)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"status": "\xff"}', "[BODY].status (the body is not JSON) == up"),
        (b"<html>\xe9", "[BODY].status (the body is not JSON) == up"),
    ],
)
async def test_a_body_that_is_no_json_fails_its_condition(pool, body, shown):
    """Text that is not UTF-8, or no JSON, is a failure with a reason and not an error."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with raw_server(head + body, hold=True) as port:
        url = f"http://127.0.0.1:{port}/"
        result = await probe(pool, url, conditions=["[BODY].status == up"])

    assert (result.error_type, result.reason) == ("condition", shown)
