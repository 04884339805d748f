"""``/connection/websocket``: from the upgrade to the end of a client connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Final

from aiohttp import WebSocketError, WSMsgType, hdrs, web

from alerts.clock import Clock
from service.codec import encode
from service.config.gateway_settings import GatewaySettings
from service.frames import let_go_of_frames
from service.gateway.client import Client, ClientLimits
from service.gateway.codes import BAD_REQUEST, DisconnectError
from service.gateway.commands import Commands
from service.gateway.frames import text_frame
from service.gateway.protocol import decode_frame
from service.gateway.rate_limit import RateLimit, Verdict
from service.gateway.sessions import Sessions
from service.gateway.stats import GatewayStats
from service.gateway.subscriptions import Subscriptions
from service.pools.websocket import (
    AdmissionError,
    CloseReason,
    WebSocketConnectionManager,
)
from service.telemetry.http_server import UPGRADE_SPAN
from service.telemetry.instruments import Instruments

_LOG: Final = logging.getLogger(__name__)

PATH: Final = "/connection/websocket"
SUBPROTOCOL: Final = "centrifuge-json"
"""What clients may call the protocol in the handshake; those that offer no name mean it too."""


class WebSocketEndpoint:
    """Upgrades requests, reads frames and runs their commands, one connection per call."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        connections: WebSocketConnectionManager[Client],
        commands: Commands,
        subscriptions: Subscriptions,
        sessions: Sessions,
        clock: Clock,
        stats: GatewayStats,
        instruments: Instruments,
    ) -> None:
        """Use the parts that connections are made of."""
        self._settings = settings
        self._limits = ClientLimits.of(settings)
        self._connections = connections
        self._commands = commands
        self._subscriptions = subscriptions
        self._sessions = sessions
        self._clock = clock
        self._stats = stats
        lifetimes = instruments.connection_duration
        self._lifetimes = {
            close_class: lifetimes.series({"gateway.close.class": close_class})
            for close_class in ("server", "client")
        }
        self._rate = RateLimit(settings.max_connections_per_second, clock.monotonic())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        if not self._origin_allowed(request):
            reason = "this origin is not allowed; see gateway.allowed_origins"
            return self._refuse(request, 403, reason)
        if not _subprotocol_spoken(request):
            return self._refuse(request, 400, f"the subprotocol here is {SUBPROTOCOL}, or none")
        if self._rate.take(self._clock.monotonic()) is not Verdict.TAKEN:
            self._connections.count_refusal("rate")
            limit = self._settings.max_connections_per_second
            reason = f"more than {limit} connections a second"
            return self._refuse(request, 503, reason, {"Retry-After": "1"})
        try:
            with self._connections.admit() as register:
                return await self._serve(request, register)
        except AdmissionError as refused:
            return self._refuse(request, 503, str(refused), {"Retry-After": "5"})

    def _refuse(
        self,
        request: web.Request,
        status: int,
        reason: str,
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        message = "a connection from %s was refused: %s"
        _LOG.info(message, request.remote, reason)
        return _refusal(status, reason, headers)

    async def _serve(
        self, request: web.Request, register: Callable[[Client], None]
    ) -> web.StreamResponse:
        # Compression is declined: a frame is built once and written to everybody as it is.
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            compress=False,
            max_msg_size=self._settings.max_message_size,
            decode_text=False,
            autoclose=False,
        )
        if not socket.can_prepare(request).ok:
            return _refusal(426, "this address speaks WebSocket", {"Upgrade": "websocket"})
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        client = Client(
            transport,
            limits=self._limits,
            clock=self._clock,
            on_close=self._on_close,
            on_connected=self._sessions.add,
            on_lost_position=self._subscriptions.lose_position,
        )
        client.upgrade = request.get(UPGRADE_SPAN)
        self._commands.opened(client, request.headers)
        register(client)
        try:
            with suppress(ConnectionError):  # a pong to a peer that is gone
                await self._read(socket, client, request.remote)
        finally:
            client.ended(CloseReason(1006, "lost"))
            client.hang_up()
            # Otherwise all there was of the connection stays, as the socket keeps its error.
            let_go_of_frames(socket.exception())
            self._report_end(client)
        return socket

    async def _read(
        self, socket: web.WebSocketResponse[bool], client: Client, address: str | None
    ) -> None:
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.TEXT:
                if client.close_reason is None:
                    await self._on_frame(client, message.data, address)
            elif message.type is WSMsgType.BINARY:
                if client.close_reason is None:
                    fault = "a binary frame, where the protocol is JSON text"
                    self._report_fault(client, address, fault)
                client.close(BAD_REQUEST)
            elif message.type is WSMsgType.CLOSE:
                if not client.ended_by_us:
                    client.ended(CloseReason(message.data or 1005, "closed by the client"))
                    await socket.close(drain=False)
                return
            else:
                if isinstance(message.data, WebSocketError):  # the library has told the peer
                    client.ended(CloseReason(int(message.data.code), "not WebSocket"), by_us=True)
                return

    async def _on_frame(self, client: Client, frame: bytes, address: str | None) -> None:
        client.received(len(frame))
        self._stats.bytes_in += len(frame)
        try:
            for command in decode_frame(frame):
                if client.close_reason is not None:
                    return
                reply = await self._commands.execute(client, command)
                if reply is not None and client.reply(text_frame(reply)):
                    self._stats.bytes_out += len(reply)
        except DisconnectError as error:
            self._report_fault(client, address, error)
            client.close(error.close)

    def _report_fault(self, client: Client, address: str | None, fault: object) -> None:
        """Log why a client is disconnected; it learns the protocol's code and reason only."""
        # Cut, because some details quote what the client sent.
        _LOG.info(
            "client %s at %s disconnected: %.200s",
            client.id,
            address,
            fault,
            extra={"user": client.user, "client.address": address},
        )

    def _on_close(self, client: Client, reason: CloseReason) -> None:
        """Take the client out of its channels before anything else learns that it is gone."""
        self._subscriptions.end_all(client)
        self._sessions.remove(client)
        if client.ended_by_us:  # the codes of clients are any number they like
            self._connections.count_close(reason.code)

    def _report_end(self, client: Client) -> None:
        reason = client.close_reason or CloseReason(1006, "lost")
        duration = self._clock.monotonic() - client.opened_at
        close_class = "server" if client.ended_by_us else "client"
        self._lifetimes[close_class].record(duration)
        _LOG.debug(
            "connection closed",
            extra={
                "event.name": "gateway.connection.closed",
                "gateway.connection.id": client.id,
                "gateway.close.code": reason.code,
                "gateway.close.reason": reason.reason,
                "duration_s": round(duration, 3),
                "messages_in": client.messages_in,
                "messages_out": client.messages_out,
            },
        )

    def _origin_allowed(self, request: web.Request) -> bool:
        """Decide on browsers; other clients send no Origin and are judged by their token."""
        origin = request.headers.get("Origin")
        if origin is None:
            return True
        origin = origin.lower()
        if origin.partition("://")[2] == request.host.lower():
            return True
        return any(
            origin == pattern or fnmatchcase(origin, pattern)
            for pattern in map(str.lower, self._settings.allowed_origins)
        )


def _subprotocol_spoken(request: web.Request) -> bool:
    """Decide on the names a client offers; browsers give up when none of theirs is taken."""
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL)
    return offered is None or SUBPROTOCOL in map(str.strip, offered.split(","))


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=encode({"error": message}) + b"\n",
        content_type="application/json",
        headers=headers,
    )
