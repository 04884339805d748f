"""The listener that clients and back ends use: the section ``gateway``."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import model_validator

from service.config.addresses import is_loopback
from service.config.channel_settings import ChannelOptions, NamespaceOptions
from service.config.proxy_settings import ProxySettings
from service.config.section import Section, repeated
from service.config.token_settings import TokenSettings
from service.config.types import (
    Amount,
    Count,
    Duration,
    Port,
    PositiveDuration,
    QueueSize,
    Secret,
    Size,
    contradiction,
)

EXAMPLE_API_KEY: Final = "dev-key"
"""The key in the shipped gatewatch.yaml: everyone knows it, so it is good on loopback only."""


class GatewaySettings(Section):
    """The listener that clients and back ends use."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8000
    """Port to listen on; 0 picks a free one."""
    api_key: Secret | None = None
    """Key of the server API (header X-API-Key); without it the API refuses every request."""
    api_error_mode: Literal["", "transport"] = ""
    """transport: errors of the server API have an HTTP status of their own, without 200."""
    allow_anonymous: bool = False
    """Let clients connect without a token."""
    token: TokenSettings = TokenSettings()
    """Connection tokens, and subscription tokens where `subscription_token` has no key."""
    subscription_token: TokenSettings = TokenSettings()
    """Subscription tokens, where they are signed with other keys than connection tokens."""
    max_connections: Count = 1000
    """Open WebSocket connections at most; the next one is answered 503."""
    idle_timeout: PositiveDuration = 300.0
    """A connection with no traffic in either direction for so long is closed."""
    ping_interval: PositiveDuration = 25.0
    """How often each client is pinged."""
    pong_timeout: PositiveDuration = 8.0
    """How long a client may take to answer a ping; shorter than ping_interval."""
    stale_timeout: PositiveDuration = 10.0
    """How long a connection may stay open without a successful connect command."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of browser pages that may connect, such as https://*.example.com; a client that
    sends no Origin header is always allowed."""
    max_message_size: Size = 65536
    """Largest frame a client may send."""
    max_api_body_size: Size = 8 * 1024 * 1024
    """Largest request body of the server API."""
    max_queue_size: QueueSize = 1024 * 1024
    """Bytes waiting for one slow client at most; past it the client is disconnected. Publications
    that do not fit, with 4KiB to spare, are refused."""
    max_channels_per_connection: Count = 128
    """Channels one connection may be subscribed to."""
    max_commands_per_second: Amount = 500
    """Commands of one connection that are executed in a second, with as many at once; past it they
    are answered with error 111, and past twice as many the connection ends. 0: no limit."""
    max_connections_per_second: Amount = 0
    """Connections taken in a second, with as many at once; the next one is answered 503 before it
    costs anything. 0: no limit."""
    write_timeout: PositiveDuration = 5.0
    """A client that takes nothing of what waits for it for so long is disconnected."""
    history_memory: Size = 64 * 1024 * 1024
    """Memory of what is kept of all channels; past it the oldest publications are dropped."""
    history_meta_ttl: PositiveDuration = 30 * 86_400.0
    """How long the position of an unused channel is remembered."""
    history_limit: Count = 300
    """Publications one client may ask for at once, and may have missed and still recover."""
    position_check_interval: PositiveDuration = 40.0
    """How often it is checked that subscribers that can recover missed nothing."""
    drain_timeout: PositiveDuration = 10.0
    """How long a stop waits for clients to take what is queued for them."""
    drain_window: Duration = 3.0
    """Over how long a stop spreads its goodbyes, so that clients do not come back all at once; up
    to 100 connections need none, and no more than half of drain_timeout is used."""
    publication_traceparent: bool = True
    """Whether a publication that is traced carries `traceparent` in its tags to subscribers."""
    channels: ChannelOptions = ChannelOptions()
    """Options of channels without a namespace."""
    namespaces: tuple[NamespaceOptions, ...] = ()
    """Options of channels in a namespace."""
    proxy: ProxySettings = ProxySettings()
    """Back ends that what clients ask is forwarded to."""

    @model_validator(mode="after")
    def _channels_have_their_back_ends(self) -> Self:
        self._check_back_ends(self.channels, "channels")
        for index, namespace in enumerate(self.namespaces):
            self._check_back_ends(namespace, "namespaces", index)
        return self

    def _check_back_ends(self, options: ChannelOptions, *path: str | int) -> None:
        known, usual = {each.name for each in self.proxy.proxies}, self.proxy.usual()
        for event in ("subscribe", "publish", "sub_refresh"):
            enabled = getattr(options, f"{event}_proxy_enabled")
            name = getattr(options, f"{event}_proxy_name")
            if name and name not in known:
                raise contradiction(self.proxy.unknown(name), (*path, f"{event}_proxy_name"))
            if enabled and not name and event not in usual:
                raise contradiction(
                    f"there is no back end to ask: set {event}_proxy_name, or "
                    f"gateway.proxy.{event}.endpoint",
                    (*path, f"{event}_proxy_enabled"),
                )
            if name and not enabled:
                raise contradiction(
                    f"{name} is not asked unless {event}_proxy_enabled is set",
                    (*path, f"{event}_proxy_name"),
                )

    @model_validator(mode="after")
    def _back_ends_in_time(self) -> Self:
        for path, upstream in self.proxy.upstreams():
            if upstream.timeout >= self.pong_timeout:
                raise contradiction(
                    "while a client waits for a back end its pong is not read, and it would be "
                    "cut off: timeout must be shorter than gateway.pong_timeout",
                    ("proxy", *path, "timeout"),
                    ("pong_timeout",),
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pong_timeout >= self.ping_interval:
            raise contradiction(
                "a client must have answered a ping before the next one: "
                "pong_timeout must be shorter than ping_interval",
                ("pong_timeout",),
                ("ping_interval",),
            )
        twice = repeated([namespace.name for namespace in self.namespaces])
        if twice is not None:
            raise contradiction(
                f"the namespace {self.namespaces[twice].name} stands there twice; "
                "put its options in one place",
                ("namespaces", twice, "name"),
            )
        return self

    @model_validator(mode="after")
    def _claims_have_keys(self) -> Self:
        token = self.subscription_token
        if not token.has_keys and token != TokenSettings():
            raise contradiction(
                "there is no key to go with what is required of subscription tokens: set one "
                "here, or leave the section out and gateway.token is used for both",
                ("subscription_token",),
            )
        return self

    @model_validator(mode="after")
    def _key_is_secret(self) -> Self:
        key = self.api_key.get_secret_value() if self.api_key else ""
        if key == EXAMPLE_API_KEY and not is_loopback(self.host):
            raise contradiction(
                f"the key of the shipped example is known to everyone, and {self.host} is open "
                "to the network: choose a key of your own, or listen on 127.0.0.1",
                ("api_key",),
                ("host",),
            )
        return self
