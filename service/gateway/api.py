"""The server API that back ends call: ``POST /api/{method}``, JSON in and out.

Source: Centrifugo documentation, "Server API". Answers are 200 with ``result`` or ``error``,
unless the caller asks for the error mode ``transport``.
"""

from __future__ import annotations

import hmac
import os
import resource
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from aiohttp import web
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from alerts.clock import Clock
from service import __version__
from service.codec import JSONError, decode_exactly, encode
from service.config.settings import GatewaySettings
from service.gateway.broker import Broker, Message
from service.gateway.channels import MAX_CHANNEL_LENGTH, ChannelRules
from service.gateway.client import Client
from service.gateway.codes import ProtocolError, bad_request, not_available
from service.gateway.history import History
from service.gateway.hub import Hub
from service.gateway.presence import presence_result, presence_stats_result
from service.gateway.protocol import MAX_ENVELOPE_BYTES, encode_data
from service.gateway.stats import GatewayStats
from service.pools.websocket import WebSocketConnectionManager

_MAX_CHANNELS: Final = 1024
METHODS: Final = (
    "publish", "broadcast", "channels", "info", "subscribe", "unsubscribe", "disconnect", "refresh",
    "presence", "presence_stats", "history", "history_remove", "rpc", "batch",
)  # fmt: skip
"""The methods of the API; those that are not built yet answer "not available" (108)."""
_ERROR_MODE_HEADER: Final = "X-Centrifugo-Error-Mode"
_ERROR_STATUSES: Final = {100: 500, 102: 404, 104: 404, 107: 400, 108: 400, 112: 416, 113: 409}


class ServerAPI:
    """Answers the requests of back ends."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        hub: Hub,
        broker: Broker,
        connections: WebSocketConnectionManager[Client],
        rules: ChannelRules,
        clock: Clock,
        stats: GatewayStats,
        node: str,
    ) -> None:
        """Use the parts that requests act on; ``node`` is this process's name in ``info``."""
        key = settings.api_key
        self._key = key.get_secret_value().encode() if key is not None else b""
        self._no_entry = (
            "X-API-Key is missing or wrong"
            if self._key
            else "no API key is configured; set gateway.api_key"
        )
        self._max_payload_bytes = settings.max_queue_size - MAX_ENVELOPE_BYTES
        self._hub = hub
        self._broker = broker
        self._past = History(broker, client_limit=settings.history_limit)
        self._connections = connections
        self._rules = rules
        self._clock = clock
        self._stats = stats
        self._node = node
        self._started = clock.monotonic()
        self._methods: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
            "publish": self._publish,
            "broadcast": self._broadcast,
            "channels": self._channels,
            "info": self._info,
            "presence": self._presence,
            "presence_stats": self._presence_stats,
            "history": self._history,
            "history_remove": self._history_remove,
        }

    def handler(self, method: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what answers requests for one of ``METHODS``."""

        async def handle(request: web.Request) -> web.Response:
            return await self._handle(method, request)

        return handle

    async def _handle(self, method: str, request: web.Request) -> web.Response:
        if not self._authorized(request):
            self._stats.bad_keys += 1
            return web.Response(status=401, text=f"{self._no_entry}\n")
        body = await _object(request)
        if self._connections.draining:
            # What is accepted now might find its subscribers gone already.
            return web.Response(status=503, text="shutting down\n", headers={"Retry-After": "1"})
        try:
            return _json({"result": await self._call(method, body)})
        except ProtocolError as error:
            return _error(error, request.headers.get(_ERROR_MODE_HEADER, ""))

    async def _call(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        method = self._methods.get(name)
        if method is None:
            raise not_available()
        return await method(body)

    def _authorized(self, request: web.Request) -> bool:
        given = request.headers.get("X-API-Key", "")
        if not given:
            scheme, _, value = request.headers.get("Authorization", "").partition(" ")
            given = value.strip() if scheme.lower() == "apikey" else ""
        given = given or request.query.get("api_key", "")
        # Bytes that are not UTF-8 come as surrogates, which no key has.
        key = given.encode(errors="surrogatepass")
        return bool(self._key) and hmac.compare_digest(key, self._key)

    async def _publish(self, request: Mapping[str, Any]) -> dict[str, Any]:
        channel = _text(request, "channel")
        data, tags = self._payload(request)
        skip = _flag(request, "skip_history")
        return await self._publish_to(channel, data, tags, _current_trace(), skip)

    async def _broadcast(self, request: Mapping[str, Any]) -> dict[str, Any]:
        channels = request.get("channels")
        if not isinstance(channels, list) or not channels:
            raise bad_request("channels is a list of at least one channel")
        if len(channels) > _MAX_CHANNELS:
            raise bad_request(f"channels has more than {_MAX_CHANNELS} entries")
        if not all(isinstance(channel, str) for channel in channels):
            raise bad_request("channels has an entry that is not a string")
        data, tags = self._payload(request)
        parent = _current_trace()
        skip = _flag(request, "skip_history")
        responses: list[dict[str, Any]] = []
        for channel in channels:
            try:
                result = await self._publish_to(channel, data, tags, parent, skip)
            except ProtocolError as error:
                responses.append({"error": _error_fields(error)})
            else:
                responses.append({"result": result})
        return {"responses": responses}

    async def _publish_to(
        self,
        channel: str,
        data: bytes,
        tags: dict[str, str] | None,
        parent: Context | None,
        skip_history: bool,
    ) -> dict[str, Any]:
        message = Message(
            channel,
            data,
            self._rules.rule(channel),
            source="api",
            tags=tags,
            parent=parent,
            skip_history=skip_history,
        )
        position = await self._broker.publish(message)
        return {} if position is None else {"offset": position.offset, "epoch": position.epoch}

    async def _history(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return await self._past.of_back_end(self._kept(request), request)

    async def _history_remove(self, request: Mapping[str, Any]) -> dict[str, Any]:
        await self._broker.clear(self._kept(request))
        return {}

    async def _presence(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return presence_result(await self._broker.presence(self._shown(request)))

    async def _presence_stats(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return presence_stats_result(await self._broker.presence(self._shown(request)))

    def _shown(self, request: Mapping[str, Any]) -> str:
        """Return the channel of a request, which must have presence."""
        channel = _text(request, "channel")
        if not self._rules.rule(channel).options.presence:
            raise not_available()
        return channel

    def _kept(self, request: Mapping[str, Any]) -> str:
        """Return the channel of a request, which must have history."""
        channel = _text(request, "channel")
        if not self._rules.rule(channel).options.history:
            raise not_available()
        return channel

    def _payload(self, request: Mapping[str, Any]) -> tuple[bytes, dict[str, str] | None]:
        """Return the data of a publication as JSON, and its tags."""
        if "b64data" in request:
            raise bad_request("b64data is for binary protocols; send data")
        if "data" not in request:
            raise bad_request("data is required")
        tags = request.get("tags")
        if tags is not None and not (
            isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values())
        ):
            raise bad_request("tags is an object of strings")
        size = len(encode(tags)) if tags else 0
        data = encode_data(request["data"], max_bytes=self._max_payload_bytes - size)
        return data, tags

    async def _channels(self, request: Mapping[str, Any]) -> dict[str, Any]:
        pattern = request.get("pattern", "")
        if not isinstance(pattern, str) or len(pattern) > MAX_CHANNEL_LENGTH:
            raise bad_request(f"pattern is a string of at most {MAX_CHANNEL_LENGTH} characters")
        return {
            "channels": {
                channel.name: {"num_clients": len(channel)}
                for channel in self._hub
                if not pattern or fnmatchcase(channel.name, pattern)
            }
        }

    async def _info(self, request: Mapping[str, Any]) -> dict[str, Any]:
        node = {
            "uid": self._node,
            "name": self._node,
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


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name, "")
    if not isinstance(value, str):
        raise bad_request(f"{name} is not a string")
    return value


def _flag(request: Mapping[str, Any], name: str) -> bool:
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise bad_request(f"{name} is neither true nor false")
    return value


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = decode_exactly(await request.read())
    except (web.RequestPayloadError, ConnectionError) as error:
        raise web.HTTPBadRequest(text="the body cannot be read\n") from error
    except JSONError as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}\n") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object\n")
    return body


def _current_trace() -> Context | None:
    """Return where publications of this request belong, if the request is being traced."""
    if trace.get_current_span().is_recording():
        return otel_context.get_current()
    return None


def _error_fields(error: ProtocolError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def _error(error: ProtocolError, mode: str) -> web.Response:
    if mode == "transport":
        return _json(_error_fields(error), _ERROR_STATUSES.get(error.code, 500))
    return _json({"error": _error_fields(error)})


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value), content_type="application/json")
