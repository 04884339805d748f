"""Notifications through the pool where connections are not as usual: TLS, proxies, addresses."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from alerts.clock import SystemClock
from alerts.notify.secret import Secret
from alerts.notify.transport import (
    ConnectionOptions,
    ProxyOptions,
    TLSOptions,
    TransportError,
    TransportRequest,
)
from service.config.settings import HTTPPoolSettings
from service.pools.http import HTTPConnectionPool
from service.pools.http_counts import is_public
from service.pools.proxies import chosen_proxy
from service.pools.transport import PoolTransport
from tests.support.certificates import Certificates
from tests.support.http import LoopbackServer, RecordedTelemetry, loopback_server


@asynccontextmanager
async def pool_transport(
    telemetry: RecordedTelemetry | None = None,
) -> AsyncIterator[PoolTransport]:
    """Open a transport over a pool of its own."""
    recorded = telemetry or RecordedTelemetry()
    async with HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=recorded.instruments,
        tracer_provider=recorded.tracer_provider,
        clock=SystemClock(),
    ) as pool:
        yield PoolTransport(pool, environment={})


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("pki"))


@asynccontextmanager
async def tls_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Serve 200 over TLS on a free port."""

    async def ok(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/", ok)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def pem(file: str) -> str:
    """Return what is in a file."""
    return Path(file).read_text("ascii")


async def posted(port: int, tls: TLSOptions, host: str = "localhost") -> int:
    """Return the status of a request over TLS."""
    async with pool_transport() as transport:
        request = TransportRequest(
            "POST", f"https://{host}:{port}/", connection=ConnectionOptions(tls)
        )
        return (await transport.send(request)).status


async def test_certificate_authority(certificates: Certificates) -> None:
    """A certificate is taken when what it is signed with is trusted, as a file or a text."""
    text = pem(certificates.ca_file)
    async with tls_server(certificates.server) as port:
        assert await posted(port, TLSOptions(ca_file=certificates.ca_file)) == 200
        assert await posted(port, TLSOptions(ca=text)) == 200
        assert await posted(port, TLSOptions(insecure_skip_verify=True)) == 200
        with pytest.raises(TransportError):
            await posted(port, TLSOptions())


async def test_server_name(certificates: Certificates) -> None:
    """The name in the certificate is the host's, or the one that is given."""
    trusted = TLSOptions(ca_file=certificates.ca_file)
    named = TLSOptions(ca_file=certificates.ca_file, server_name="localhost")
    async with tls_server(certificates.server) as port:
        assert await posted(port, named, "127.0.0.1") == 200
        with pytest.raises(TransportError):
            await posted(port, trusted, "127.0.0.1")


async def test_client_certificate(certificates: Certificates) -> None:
    """A server that asks for a certificate is shown one, from files or texts."""
    cert, key = pem(certificates.client_cert), pem(certificates.client_key)
    async with tls_server(certificates.strict_server()) as port:
        files = TLSOptions(
            ca_file=certificates.ca_file,
            cert_file=certificates.client_cert,
            key_file=certificates.client_key,
        )
        texts = TLSOptions(ca_file=certificates.ca_file, cert=cert, key=Secret(key))
        assert await posted(port, files) == 200
        assert await posted(port, texts) == 200
        with pytest.raises(TransportError):
            await posted(port, TLSOptions(ca_file=certificates.ca_file))


@pytest.mark.parametrize(
    "options",
    [
        TLSOptions(ca_file="/nowhere.pem"),
        TLSOptions(ca="nonsense"),
        TLSOptions(cert="nonsense", key=Secret("S3CR3TKEY")),
    ],
)
async def test_unusable_tls(options: TLSOptions) -> None:
    """What cannot be used is named, and the key does not show."""
    with pytest.raises(TransportError, match="TLS: cannot use") as caught:
        await posted(1, options)

    assert "S3CR3TKEY" not in str(caught.value)


async def test_tls_versions(certificates: Certificates) -> None:
    """A server that speaks only an older version than is wanted is refused."""
    context = certificates.another_server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with tls_server(context) as port:
        assert await posted(port, TLSOptions(ca_file=certificates.ca_file)) == 200
        with pytest.raises(TransportError):
            await posted(port, TLSOptions(ca_file=certificates.ca_file, min_version="TLS13"))


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Run a proxy for plain HTTP."""
    seen: list[web.Request] = []

    async def forward(request: web.Request) -> web.Response:
        seen.append(request)
        async with (
            ClientSession() as session,
            session.request(request.method, request.url, data=await request.read()) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read())

    runner = web.ServerRunner(web.Server(forward), shutdown_timeout=0.1)  # type: ignore[arg-type]  # takes base requests
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


async def test_proxy(server: LoopbackServer) -> None:
    """A request goes through the proxy it is told to, unless its host is excepted."""
    async with proxy() as (url, seen), pool_transport() as transport:
        for no_proxy in ("", "127.0.0.1"):
            options = ProxyOptions(Secret(url), no_proxy)
            request = TransportRequest(
                "POST",
                server.url("/ok"),
                body=b"x",
                connection=ConnectionOptions(proxy=options),
            )
            assert (await transport.send(request)).status == 200

    assert len(seen) == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("url", "environment", "proxy_url"),
    [
        ("http://a.example/", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example/", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://a.example/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://localhost/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://127.0.0.9/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://a.example/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "b.c, example"}, ""),
        ("http://a.example/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": ".example"}, ""),
        ("http://a.example/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "ample"}, "http://p:1"),
        (
            "http://a.example/",
            {"HTTP_PROXY": "http://p:1", "NO_PROXY": "a.example:81"},
            "http://p:1",
        ),
        ("http://a.example:81/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "a.example:81"}, ""),
        ("http://10.1.2.3/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, ""),
        ("http://[2001:db8::1]/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "2001:db8::/32"}, ""),
        ("http://a.example/", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, ""),
        ("http://a.example/", {}, ""),
    ],
)
def test_proxy_of_the_environment(url: str, environment: dict[str, str], proxy_url: str) -> None:
    """The variables mean what they mean to Go's programs."""
    assert chosen_proxy(url, ProxyOptions(from_environment=True), environment) == proxy_url
    assert chosen_proxy(url, ProxyOptions(), environment) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_only_public_addresses(server: LoopbackServer, host: str) -> None:
    """Refused when the connection is made, whatever the name, and also when one is open."""
    url = server.url("/ok", host)
    async with pool_transport() as transport:
        assert (await transport.send(TransportRequest("POST", url))).status == 200
        with pytest.raises(TransportError, match="is not a public address") as caught:
            await transport.send(
                TransportRequest("POST", url, connection=ConnectionOptions(public_only=True))
            )

    assert caught.value.is_address_refused
    assert len(server.requests) == 1


async def test_no_proxy_for_addresses_of_data() -> None:
    """Through a proxy it could not be told where the request ends up."""
    connection = ConnectionOptions(proxy=ProxyOptions(Secret("http://p:1")), public_only=True)
    async with pool_transport() as transport:
        with pytest.raises(TransportError, match="through a proxy") as caught:
            await transport.send(TransportRequest("POST", "http://h/", connection=connection))

    assert caught.value.is_address_refused


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("nonsense", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    """Only addresses anybody can have on the internet are public, in whatever disguise."""
    assert is_public(address) == public


async def test_traceparent(server: LoopbackServer) -> None:
    """The receiver is told which trace a notification belongs to, once and without secrets."""
    telemetry = RecordedTelemetry()
    async with pool_transport(telemetry) as transport:
        await transport.send(TransportRequest("POST", f"{server.url('/ok')}?token=T0K3N"))

    (span,) = telemetry.spans()
    trace_id = f"{span.context.trace_id:032x}"
    assert server.requests[0][2]["traceparent"].split("-")[1] == trace_id
    assert "T0K3N" not in str(dict(span.attributes or {}))
    assert "/ok" not in str(dict(span.attributes or {}))
