"""A back end on loopback that answers proxied events as a test tells it to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class BackEnd:
    """What it answers, and what it was asked.

    Attributes:
        port: Where it listens.
        answer: Returns the response to a request's body; by default an empty result.
        asked: The bodies of all requests, in order.
        headers: The headers of all requests, in order, by lower-case name.
    """

    port: int = 0
    answer: Callable[[Any], Awaitable[web.StreamResponse]] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def url(self, path: str = "/") -> str:
        """Return the URL of a path, all of which are answered alike."""
        return f"http://127.0.0.1:{self.port}{path}"

    def says(self, value: Any, *, status: int = 200) -> None:
        """Answer everything with a value as JSON, or with bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()

        async def answer(_asked: Any) -> web.StreamResponse:
            return web.Response(body=body, status=status)

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        body = json.loads(await request.read())
        self.asked.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.answer is None:
            return web.json_response({"result": {}})
        return await self.answer(body)


@asynccontextmanager
async def back_end(*, port: int = 0) -> AsyncIterator[BackEnd]:
    """Run a back end until the end of the block."""
    found = BackEnd()
    application = web.Application()
    application.router.add_post("/{path:.*}", found.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        found.port = runner.addresses[0][1]
        yield found
    finally:
        await runner.cleanup()
