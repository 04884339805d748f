"""A loopback server that is as strict with a request as the service it stands for."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web


class Refused(Exception):  # noqa: N818 - what a service says, no error of ours
    """A request that breaks a rule of the service."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        method: HTTP method.
        path: Path of the URL.
        query: Its parameters.
        headers: Header fields, names in lower case.
        raw: The body.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, refused when it is none or not said to be."""
        need(self.headers.get("content-type", "").startswith("application/json"), "content type")
        try:
            return json.loads(self.raw)
        except ValueError as error:
            raise Refused("no JSON") from error

    @property
    def form(self) -> dict[str, str]:
        """The body as a form, refused when it is not said to be one."""
        kind = self.headers.get("content-type", "")
        need(kind == "application/x-www-form-urlencoded", "content type")
        return dict(parse_qsl(self.raw.decode(), strict_parsing=True))


def need(condition: object, rule: str) -> None:
    """Refuse a request that does not keep a rule."""
    if not condition:
        raise Refused(rule)


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: a status, and JSON or text; or no answer at all."""

    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    how: str = "answer"

    @property
    def text(self) -> str:
        """The body as it is sent."""
        return self.body if isinstance(self.body, str) else json.dumps(self.body)


Rules = Callable[[Asked], Said]
"""Checks a request; returns the service's yes or raises Refused."""


@dataclass
class StrictServer:
    """Keeps what it was asked; answers by the rules unless ``next`` holds something to say.

    Attributes:
        rules: The rules of the service.
        refuse: How the service says no.
    """

    rules: Rules
    refuse: Callable[[str], Said]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    next: deque[Said] = field(default_factory=deque)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(
            request.method, request.path, dict(request.query), headers, await request.read()
        )
        self.asked.append(asked)
        said = self.next.popleft() if self.next else self._by_the_rules(asked)
        if said.how == "hang":
            await self.released.wait()
        if said.how == "reset" and request.transport is not None:
            request.transport.abort()
        kind = "text/plain" if isinstance(said.body, str) else "application/json"
        return web.Response(
            status=said.status, text=said.text, content_type=kind, headers=said.headers
        )

    def _by_the_rules(self, asked: Asked) -> Said:
        try:
            return self.rules(asked)
        except Refused as error:
            self.refused.append(str(error))
            return self.refuse(str(error))
        except (KeyError, TypeError, IndexError) as error:
            self.refused.append(f"{type(error).__name__}: {error}")
            return self.refuse(f"a field is missing: {error}")


@asynccontextmanager
async def strict_server(
    rules: Rules, refuse: Callable[[str], Said] = lambda rule: Said(400, rule)
) -> AsyncIterator[StrictServer]:
    """Run a server on a free port of loopback."""
    server = StrictServer(rules, refuse)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    # Its access log would show the secrets that ours must not.
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.released.set()
        await runner.cleanup()
