"""The server API that back ends call: ``POST /api/{method}``, JSON in and out.

Source: Centrifugo documentation, "Server API". Answers are 200 with ``result`` or ``error``,
unless the caller asks for the error mode ``transport``.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import resource
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy, istr
from pydantic import SecretStr

from alerts.clock import Clock
from service import __version__
from service.codec import JSONError, decode_exactly, encode
from service.config.gateway_settings import GatewaySettings
from service.gateway.api_clients import ClientMethods
from service.gateway.api_publishing import PublishingMethods, error_fields
from service.gateway.client import Client
from service.gateway.codes import ProtocolError, bad_request, method_not_found
from service.gateway.hub import Hub
from service.gateway.peers import Method, Peers, everywhere
from service.gateway.publish_stream import answer_stream
from service.gateway.requests import Request, flag
from service.gateway.stats import GatewayStats
from service.pools.websocket import WebSocketConnectionManager

_MAX_COMMANDS: Final = 1024
METHODS: Final = (
    "publish", "broadcast", "channels", "info", "subscribe", "unsubscribe", "disconnect", "refresh",
    "presence", "presence_stats", "history", "history_remove", "rpc", "batch",
)  # fmt: skip
"""The methods of the API; ``rpc`` answers "method not found" (104), because there is none."""
_ERROR_MODE_HEADER: Final = istr("X-Centrifugo-Error-Mode")
_KEY_HEADER: Final = istr("X-API-Key")
_JSON_HEADERS: Final = CIMultiDictProxy(CIMultiDict({hdrs.CONTENT_TYPE: "application/json"}))
_ERROR_STATUSES: Final = {100: 500, 102: 404, 104: 404, 107: 400, 108: 400, 112: 416, 113: 409}


class ServerAPI:
    """Answers the requests of back ends."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        hub: Hub,
        publishing: PublishingMethods,
        clients: ClientMethods,
        connections: WebSocketConnectionManager[Client],
        clock: Clock,
        stats: GatewayStats,
        peers: Peers,
    ) -> None:
        """Use the parts that requests act on; ``peers`` are told and asked as well."""
        self.use_key(settings.api_key)
        self._max_line_bytes = settings.max_queue_size
        self._error_mode = settings.api_error_mode
        self._hub = hub
        self._connections = connections
        self._clock = clock
        self._stats = stats
        self._started = clock.monotonic()
        self._publishing = publishing
        self._peers = peers
        acting = clients.table()
        telling = {"info": self._own_info, "channels": publishing.own_channels}
        peers.serve({**acting, **telling})
        self._methods: dict[str, Method] = {
            **publishing.table(),
            **{name: everywhere(name, method, peers) for name, method in acting.items()},
            "info": self._info,
            "channels": self._channels,
        }

    def use_key(self, key: SecretStr | None) -> None:
        """Let requests in with this key from now on; None: let none in."""
        self._key = key.get_secret_value().encode() if key is not None else b""
        self._no_entry = (
            "X-API-Key is missing or wrong"
            if self._key
            else "no API key is configured; set gateway.api_key"
        )

    def handler(self, method: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what answers requests for one of ``METHODS``."""
        return partial(self._handle, method)

    async def publish_stream(self, request: web.Request) -> web.StreamResponse:
        """Answer a stream of publish requests; see ``service.gateway.publish_stream``."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        return await answer_stream(
            request,
            self._publishing.publish,
            max_line_bytes=self._max_line_bytes,
            wait_for_stop=self._connections.wait_for_drain,
        )

    async def _handle(self, method: str, request: web.Request) -> web.Response:
        if not self._authorized(request):
            return self._no_key()
        key = self._key
        body = await _object(request)
        # The key may have been changed, and the stop have begun, while the body came.
        if key is not self._key or self._connections.draining:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
        try:
            if method == "batch":  # its replies stand beside "result", not in it
                return _json(await self._batch(body))
            return _json({"result": await self._method(method)(body)})
        except ProtocolError as error:
            return _error(error, request.headers.get(_ERROR_MODE_HEADER, self._error_mode))

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not self._authorized(request):
            return self._no_key()
        if self._connections.draining:
            # What is accepted now might find its subscribers gone already.
            return web.Response(status=503, text="shutting down\n", headers={"Retry-After": "1"})
        return None

    def _no_key(self) -> web.Response:
        self._stats.bad_keys += 1
        return web.Response(status=401, text=f"{self._no_entry}\n")

    def _method(self, name: str) -> Method:
        method = self._methods.get(name)
        if method is None:
            raise method_not_found()
        return method

    def _authorized(self, request: web.Request) -> bool:
        given = request.headers.get(_KEY_HEADER, "")
        if not given:
            scheme, _, value = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
            given = value.strip() if scheme.lower() == "apikey" else ""
        given = given or request.query.get("api_key", "")
        # Bytes that are not UTF-8 come as surrogates, which no key has.
        key = given.encode(errors="surrogatepass")
        return bool(self._key) and hmac.compare_digest(key, self._key)

    async def _batch(self, request: Request) -> dict[str, Any]:
        """Run several commands, one after the other or side by side; each has its own reply."""
        commands = request.get("commands")
        if not isinstance(commands, list) or len(commands) > _MAX_COMMANDS:
            raise bad_request(f"commands is a list of at most {_MAX_COMMANDS} commands")
        if not flag(request, "parallel"):
            return {"replies": [await self._reply(command) for command in commands]}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._reply(command)) for command in commands]
        return {"replies": [task.result() for task in tasks]}

    async def _reply(self, command: object) -> dict[str, Any]:
        try:
            if not isinstance(command, dict) or len(command) != 1:
                raise bad_request("a command is an object with one method in it")
            ((name, body),) = command.items()
            if not isinstance(body, dict):
                raise bad_request("the request of a command is an object")
            return {name: await self._method(name)(body)}
        except ProtocolError as error:
            return {"error": error_fields(error)}

    async def _info(self, request: Request) -> dict[str, Any]:
        own = await self._own_info(request)
        answers = [own, *await self._peers.ask("info", request)]
        return {"nodes": [node for answer in answers for node in answer["nodes"]]}

    async def _channels(self, request: Request) -> dict[str, Any]:
        """Return the channels of all processes, with the subscribers of all."""
        own = await self._publishing.own_channels(request)
        channels: dict[str, dict[str, int]] = own["channels"]
        for answer in await self._peers.ask("channels", request):
            for name, info in answer["channels"].items():
                here = channels.setdefault(name, {"num_clients": 0})
                here["num_clients"] += info["num_clients"]
        return {"channels": channels}

    async def _own_info(self, request: Request) -> dict[str, Any]:
        node = {
            "uid": self._peers.uid,
            "name": self._peers.name,
            "version": f"gatewatch {__version__}",
            "num_clients": len(self._connections),
            "num_users": len({client.user for client in self._connections}),
            "num_channels": len(self._hub),
            "num_subs": self._stats.subscriptions,
            "uptime": int(self._clock.monotonic() - self._started),
            "process": {
                "cpu": round(sum(os.times()[:2]), 3),
                "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            },
        }
        return {"nodes": [node]}


async def _body(request: web.Request) -> bytes:
    """Return the body; without the work of ``read`` when it came along with the head."""
    content = request.content
    if not content.is_eof():
        return await request.read()
    body = content.read_nowait()
    if len(body) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size, len(body))
    return body


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = decode_exactly(await _body(request))
    except (web.RequestPayloadError, ConnectionError) as error:
        raise web.HTTPBadRequest(text="the body cannot be read\n") from error
    except JSONError as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}\n") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object\n")
    return body


def _error(error: ProtocolError, mode: str) -> web.Response:
    if mode == "transport":
        return _json(error_fields(error), _ERROR_STATUSES.get(error.code, 500))
    return _json({"error": error_fields(error)})


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value), headers=_JSON_HEADERS)
