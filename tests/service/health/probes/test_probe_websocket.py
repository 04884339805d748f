"""The WebSocket probe against servers that answer in every way."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from tests.support.app import running_app
from tests.support.certificates import Certificates
from tests.support.probes import run_once


@asynccontextmanager
async def server(context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("chat",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data == "close":
                await socket.close(code=4001, message=b"go away")
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(f"you said {message.data}")
        return socket

    async def forbidden(_request: web.Request) -> web.Response:
        return web.Response(status=403)

    application = web.Application()
    application.router.add_get("/", echo)
    application.router.add_get("/forbidden", forbidden)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
    try:
        yield f"ws{'s' if context else ''}://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_socket_that_opens_works():
    """Who answered is told, and the protocol that was agreed on."""
    async with server() as url:
        result = await run_once("websocket", {"url": url, "subprotocols": ["chat"]})

    assert (result.success, result.reason) == (True, "open, chat")
    assert result.attributes["http.response.status_code"] == 101
    assert result.attributes["network.peer.address"] in ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("settings", "error_type", "reason"),
    [
        ({"send": "hello", "expect": "said hello"}, "", "open"),
        (
            {"send": "hello", "expect": "bye"},
            "answer",
            "'bye' is not in the message 'you said hello'",
        ),
        ({"send": "close", "expect": "x"}, "closed", "closed with code 4001: go away"),
        (
            {"centrifuge": True},
            "protocol",
            "the answer is not one of the Centrifuge protocol",
        ),
    ],
    ids=["right", "wrong", "closed", "other"],
)
async def test_what_comes_back_is_looked_at(settings, error_type, reason):
    """The first message decides."""
    async with server() as url:
        result = await run_once("websocket", {"url": url, **settings})

    assert (result.error_type, result.reason) == (error_type, reason)


async def test_a_path_that_is_no_socket_is_a_failure():
    """The status stands in the reason, and a condition may want it."""
    async with server() as url:
        probe: dict[str, object] = {"url": f"{url}/forbidden"}
        failed = await run_once("websocket", probe)
        wanted = await run_once("websocket", probe, conditions=["[STATUS] == 403"])

    assert failed.error_type == "handshake"
    assert failed.reason.startswith("status 403 instead of 101")
    assert wanted.success, wanted.reason


async def test_tls_is_looked_at(tmp_path):
    """A certificate nobody trusts is refused; of a trusted one the end is known."""
    certificates = Certificates.make(tmp_path)
    async with server(certificates.server) as url:
        refused = await run_once("websocket", {"url": url})
        taken = await run_once(
            "websocket",
            {"url": url, "tls": {"ca_file": certificates.ca_file}},
            conditions=["[CERTIFICATE_EXPIRATION] > 7d"],
        )

    assert refused.error_type == "tls"
    assert taken.success, taken.reason


@pytest.mark.parametrize(
    ("url", "error_type"),
    [("ws://gatewatch.invalid/", "dns"), ("ws://127.0.0.1:{port}/", "connect")],
)
async def test_nobody_there_is_a_failure(unused_tcp_port, url, error_type):
    """Names that do not resolve and ports that are closed are told apart."""
    result = await run_once("websocket", {"url": url.format(port=unused_tcp_port)})

    assert result.error_type == error_type
    assert "Errno" not in result.reason


async def test_a_gateway_lets_its_client_in(tmp_path):
    """The probe speaks the client protocol of this process and of Centrifugo."""
    async with running_app(tmp_path) as app:
        address = app.gateway_url.removeprefix("http")
        probe: dict[str, object] = {"url": f"ws{address}/connection/websocket", "centrifuge": True}
        taken = await run_once("websocket", probe)
        refused = await run_once("websocket", {**probe, "centrifuge_token": "hush"})

    assert taken.success, taken.reason
    assert taken.reason.startswith("connected to ")
    assert not refused.success
    assert "hush" not in refused.reason
