"""The server API's methods about connected clients: subscribe, unsubscribe, disconnect, refresh.

They act on all connections of a user, or on one by its client id. Sessions belong to transports
that are not there, so a session selects nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from alerts.clock import Clock
from service.codec import JSONError, decode, encode
from service.config.gateway_settings import GatewaySettings
from service.gateway.channels import ChannelRule, ChannelRules
from service.gateway.client import Client
from service.gateway.codes import (
    CHANNEL_LIMIT,
    CONNECTION_EXPIRED,
    FORCE_DISCONNECT,
    UNSUBSCRIBED,
    DisconnectError,
    bad_request,
)
from service.gateway.requests import Request, flag, section, text, texts, value_of, whole
from service.gateway.sessions import Sessions
from service.gateway.streams import StreamPosition
from service.gateway.subscriptions import Grant, Subscriptions, Wish
from service.gateway.tokens import MAX_LIFETIME_S
from service.pools.websocket import CloseReason

Result = dict[str, Any]

_MAX_REASON_BYTES: Final = 123
_OVERRIDES: Final = (
    "presence",
    "join_leave",
    "force_recovery",
    "force_positioning",
    "force_push_join_leave",
)


class ClientMethods:
    """What back ends do with the clients of a user."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        sessions: Sessions,
        subscriptions: Subscriptions,
        rules: ChannelRules,
        clock: Clock,
    ) -> None:
        """Use the parts that the methods act on."""
        self._max_channels = settings.max_channels_per_connection
        self._sessions = sessions
        self._subscriptions = subscriptions
        self._rules = rules
        self._clock = clock

    def table(self) -> dict[str, Callable[[Request], Awaitable[Result]]]:
        """Return the methods by name."""
        return {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "disconnect": self._disconnect,
            "refresh": self._refresh,
        }

    async def _subscribe(self, request: Request) -> Result:
        channel = text(request, "channel")
        rule = overridden(self._rules.rule(channel), section(request, "override"))
        since = section(request, "recover_since")
        recover = None
        if since is not None:
            recover = StreamPosition(whole(since, "offset"), text(since, "epoch"))
        expires_at = whole(request, "expire_at")
        grant = Grant(
            rule,
            server_side=True,
            info=_json(request, "info"),
            data=_json(request, "data"),
            expires_at=float(expires_at) if expires_at else None,
        )
        wish = Wish(recoverable=recover is not None, recover=recover)
        for client in self._selected(request):
            if channel not in client.channels and self._has_room(client):
                await self._subscribe_one(client, channel, grant, wish)
        return {}

    def _has_room(self, client: Client) -> bool:
        if len(client.channels) < self._max_channels:
            return True
        client.close(CHANNEL_LIMIT)
        return False

    async def _subscribe_one(self, client: Client, channel: str, grant: Grant, wish: Wish) -> None:
        try:
            await self._subscriptions.subscribe_at_run_time(client, channel, grant, wish)
        except DisconnectError as error:
            client.close(error.close)

    async def _unsubscribe(self, request: Request) -> Result:
        channel = text(request, "channel")
        if channel:
            self._rules.rule(channel)
        for client in self._selected(request):
            for name in [channel] if channel else list(client.channels):
                self._subscriptions.unsubscribe(client, name, UNSUBSCRIBED)
        return {}

    async def _disconnect(self, request: Request) -> Result:
        reason = _close_reason(section(request, "disconnect"))
        spared = set(texts(request, "whitelist"))
        for client in self._selected(request):
            if client.id not in spared:
                client.close(reason)
        return {}

    async def _refresh(self, request: Request) -> Result:
        expired = flag(request, "expired")
        expires_at = whole(request, "expire_at")
        info = _json(request, "info")
        now = self._clock.time()
        for client in self._selected(request):
            if client.identity is None:
                continue
            if expired or (expires_at and expires_at <= now):
                client.close(CONNECTION_EXPIRED)
                continue
            limit = min(float(expires_at), now + MAX_LIFETIME_S) if expires_at else None
            identity = replace(
                client.identity,
                expires_at=limit,
                info=client.identity.info if info is None else info,
            )
            self._subscriptions.refresh(client, identity)
        return {}

    def _selected(self, request: Request) -> list[Client]:
        client_id = text(request, "client")
        if "user" not in request:  # a slip of the pen must not reach every anonymous client
            raise bad_request("user is required; an empty one stands for anonymous clients")
        if text(request, "session"):
            return []
        return self._sessions.of(text(request, "user"), client_id)


def overridden(rule: ChannelRule, override: Request | None) -> ChannelRule:
    """Return a rule with some options as one subscription has them.

    Args:
        rule: The channel's rule.
        override: ``{"presence": {"value": true}, ...}``; None: as it is.

    Raises:
        ProtocolError: It is not of this form, or recovery lacks history (107).
    """
    if override is None:
        return rule
    changes: dict[str, bool] = {}
    for name in override:
        if name not in _OVERRIDES:
            raise bad_request(f"override.{name[:32]} is none of {', '.join(_OVERRIDES)}")
        change = section(override, name)
        if change is not None:
            changes[name] = flag(change, "value")
    return rule.overridden(changes)


def _json(request: Request, name: str) -> bytes | None:
    try:
        value = value_of(request, name)
    except KeyError:
        return None
    try:
        return None if value is None else encode(value)
    except JSONError as error:
        raise bad_request(f"{name} cannot be passed on: {error}") from error


def _close_reason(given: Request | None) -> CloseReason:
    if given is None:
        return FORCE_DISCONNECT
    code, reason = whole(given, "code"), text(given, "reason")
    if not 3000 <= code <= 4999:
        raise bad_request("disconnect.code is 3000 to 4999")
    if len(reason.encode(errors="replace")) > _MAX_REASON_BYTES:
        raise bad_request(f"disconnect.reason is longer than {_MAX_REASON_BYTES} bytes")
    if _is_json(reason):
        raise bad_request("disconnect.reason is JSON, which clients would take for orders")
    return CloseReason(code, reason)


def _is_json(reason: str) -> bool:
    try:
        decode(reason)
    except JSONError:
        return False
    return True
