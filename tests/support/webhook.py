"""A webhook receiver on loopback that answers as told, and a plain HTTP transport to reach it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from aiohttp import web

from alerts.notify.transport import TransportError, TransportRequest, TransportResponse


@dataclass(frozen=True, slots=True)
class Received:
    """One request the receiver got."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """The Idempotency-Key."""
        return self.headers["Idempotency-Key"]


@dataclass(frozen=True, slots=True)
class Answer:
    """How to answer one request: with a status, not at all, or by closing the connection."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    how: Literal["answer", "hang", "close"] = "answer"


HANG = Answer(how="hang")
CLOSE = Answer(how="close")


class WebhookReceiver:
    """Keeps what it receives; answers 200 unless ``answers`` holds something else to say.

    ``always`` answers everything once ``answers`` is used up; ``accepted`` are those of the
    received it said yes to.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.accepted: list[Received] = []
        self.answers: deque[Answer] = deque()
        self.always = Answer()
        self.url = ""
        self._arrived = asyncio.Condition()
        self._released = asyncio.Event()

    async def wait_for(self, count: int) -> list[Received]:
        """Return the requests once there are at least ``count``."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)
        return self.received

    def release(self) -> None:
        """Let requests that hang end."""
        self._released.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one request."""
        body = json.loads(await request.read())
        answer = self.answers.popleft() if self.answers else self.always
        received = Received(request.path_qs, request.headers.copy(), body)
        async with self._arrived:
            self.received.append(received)
            if answer.how == "answer" and answer.status < 300:
                self.accepted.append(received)
            self._arrived.notify_all()
        if answer.how == "hang":
            await self._released.wait()
        if answer.how == "close" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, headers=answer.headers, text=answer.text)


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    """Run a receiver on a free port of loopback."""
    receiver = WebhookReceiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.release()
        await runner.cleanup()


class AiohttpTransport:
    """A ``Transport`` over a plain aiohttp session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, request: TransportRequest) -> TransportResponse:
        """Send a request."""
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=aiohttp.ClientTimeout(total=request.timeout_s),
                allow_redirects=False,
            ) as response:
                return TransportResponse(response.status, response.headers, await response.read())
        except TimeoutError as error:
            raise TransportError("it took too long", is_timeout=True) from error
        except aiohttp.ClientError as error:
            raise TransportError(f"{type(error).__name__} for {request.url}") from error


@asynccontextmanager
async def aiohttp_transport() -> AsyncIterator[AiohttpTransport]:
    """Open a transport."""
    async with aiohttp.ClientSession() as session:
        yield AiohttpTransport(session)
