"""A gateway on loopback, and a client that speaks raw frames to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from alerts.clock import Clock, SystemClock
from service.codec import decode, encode
from service.config.gateway_settings import GatewaySettings
from service.config.settings import BatchingSettings, HTTPPoolSettings
from service.gateway.gateway import Gateway
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments
from service.telemetry.sampling import MessageSampling

API_KEY = "key-of-the-tests"
OPEN = {
    "allow_anonymous": True,
    "api_key": API_KEY,
    "channels": {"allow_publish_for_subscriber": True},
}
"""Settings that let anonymous clients in."""


@dataclass
class RunningGateway:
    """A gateway that listens, and ways to reach it."""

    gateway: Gateway
    clock: Clock
    port: int
    http: aiohttp.ClientSession

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    def api_url(self, method: str) -> str:
        return f"http://127.0.0.1:{self.port}/api/{method}"

    async def api(self, method: str, body: Any) -> Any:
        """Call the server API and return its answer."""
        headers = {"X-API-Key": API_KEY}
        async with self.http.post(self.api_url(method), json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def publish(self, channel: str, data: Any) -> None:
        """Publish as a back end does."""
        assert "result" in await self.api("publish", {"channel": channel, "data": data})

    @asynccontextmanager
    async def client(self, *, connect: bool = True, **options: Any) -> AsyncIterator[RawClient]:
        """Open a WebSocket, connected by protocol unless told otherwise."""
        async with self.http.ws_connect(self.websocket_url, **options) as socket:
            client = RawClient(socket)
            if connect:
                client.connect_result = (await client.call(connect={}))["connect"]
            yield client


class RawClient:
    """A client that shows frames as they are."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.socket = socket
        self.connect_result: dict[str, Any] = {}
        self._number = 0
        self._replies: list[dict[str, Any]] = []

    async def send(self, text: str | bytes) -> None:
        """Send a text frame."""
        await self.socket.send_str(text if isinstance(text, str) else text.decode())

    async def reply(self) -> dict[str, Any]:
        """Return the next reply or push."""
        while not self._replies:
            message = await self.socket.receive(timeout=10)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            self._replies += [decode(line) for line in message.data.split("\n")]
        return self._replies.pop(0)

    async def frame(self) -> list[dict[str, Any]]:
        """Return all replies of the next frame."""
        message = await self.socket.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return [decode(line) for line in message.data.split("\n")]

    async def call(self, **command: Any) -> dict[str, Any]:
        """Send one command and return its reply, pushes before it aside."""
        self._number += 1
        await self.send(encode({"id": self._number, **command}))
        skipped: list[dict[str, Any]] = []
        while True:
            reply = await self.reply()
            if reply.get("id") == self._number:
                self._replies = skipped + self._replies
                return reply
            skipped.append(reply)

    async def subscribe(self, channel: str) -> None:
        """Subscribe and expect to be let in."""
        assert "subscribe" in await self.call(subscribe={"channel": channel})

    async def published(self) -> Any:
        """Return the data of the next publication."""
        return (await self.reply())["push"]["pub"]["data"]

    def stop_reading(self) -> None:
        """Leave what comes in the buffers on the way, until they are full."""
        self._transport().pause_reading()

    def vanish(self) -> None:
        """Drop the connection without a goodbye."""
        self._transport().abort()

    def _transport(self) -> asyncio.Transport:
        connection = self.socket._conn
        assert connection is not None and connection.transport is not None
        return connection.transport

    async def closed(self) -> tuple[int | None, str]:
        """Wait for the end and return its code and reason."""
        while True:
            message = await self.socket.receive(timeout=10)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}:
                return self.socket.close_code, ""


@asynccontextmanager
async def running_gateway(
    *,
    clock: Clock | None = None,
    batching: dict[str, Any] | None = None,
    instruments: Instruments | None = None,
    tracer_provider: TracerProvider | None = None,
    sampling_ratio: float = 0.0,
    sampling: MessageSampling | None = None,
    **settings: Any,
) -> AsyncIterator[RunningGateway]:
    """Run a gateway on a free port."""
    used = clock or SystemClock()
    telemetry = instruments or Instruments.disabled()
    pool = HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=telemetry,
        tracer_provider=tracer_provider or NoOpTracerProvider(),
        clock=used,
    )
    gateway = Gateway(
        GatewaySettings.model_validate({**OPEN, **settings}),
        BatchingSettings.model_validate(batching or {}),
        node="test-node",
        clock=used,
        random=Random(1),
        instruments=telemetry,
        sampling=sampling or MessageSampling(sampling_ratio),
        pool=pool,
    )
    runner = web.AppRunner(gateway.application(), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as http:
            yield RunningGateway(gateway, used, port, http)
    finally:
        for client in gateway.connections:
            client.abort()
        await runner.cleanup()
        await pool.aclose()


async def lose_a_slow_client(
    client: RawClient,
    publish: Callable[[str, Any], Awaitable[None]],
    is_lost: Callable[[], Awaitable[bool]],
) -> None:
    """Let a subscriber of ``news`` stop reading, and publish until it was cut off as slow."""
    client.stop_reading()
    for _ in range(2000):
        await publish("news", "x" * 60_000)
        if await is_lost():
            client.vanish()
            return
    raise AssertionError("2000 publications were not enough to fill its queue")


async def until(condition: Any, *, what: str = "the condition") -> None:
    """Give the loop turns until a condition holds that needs real sockets to make progress."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - sockets offer no event to wait for
            await asyncio.sleep(0.001)
    assert condition(), what
