"""One client connection: what it may receive, whether it is alive, and how it ends.

Commands are executed in ``service.gateway.commands``; reading the socket is the endpoint's part.
Writing goes straight to the transport, as whole frames, and never waits: what the peer does not
read stays in the transport's buffer, and past a bound in bytes the peer is cut off.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Any, Final

from opentelemetry.trace import SpanContext

from alerts.clock import Clock, Timer
from service.codec import Fragment
from service.config.gateway_settings import GatewaySettings
from service.gateway.channels import ChannelRule
from service.gateway.codes import (
    BAD_REQUEST,
    CONNECTION_EXPIRED,
    NO_PONG,
    SLOW,
    STALE,
    WRITE_ERROR,
    DisconnectError,
)
from service.gateway.frames import close_frame, text_frame
from service.gateway.protocol import MAX_ENVELOPE_BYTES, PING
from service.gateway.proxy_requests import ProxyClient
from service.gateway.rate_limit import RateLimit, Verdict
from service.gateway.tokens import Identity
from service.pools.websocket import CloseReason

_PING_FRAME: Final = text_frame(PING)
_CLOSE_TIMEOUT_S: Final = 5.0
"""How long a peer may take to answer a close frame."""
_SLOW_CLOSE_TIMEOUT_S: Final = 1.0
"""The same for a peer that already has let its buffer fill up."""
EXPIRY_GRACE_S: Final = 25.0
"""How long after its token expired a connection may still be refreshed."""


class State(Enum):
    """Where a connection is in its life."""

    OPEN = auto()
    CONNECTING = auto()
    """The one connect command came; a connection whose connect was refused stays here."""
    CONNECTED = auto()
    CLOSING = auto()


_CLOSING: Final = State.CLOSING
"""The member itself: an enumeration takes long to look one up, which counts in ``Client.write``."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of one connection, in seconds and bytes."""

    ping_interval_s: float
    pong_timeout_s: float
    stale_timeout_s: float
    max_queue_bytes: int
    write_timeout_s: float = 5.0
    max_commands_per_second: int = 0

    @classmethod
    def of(cls, settings: GatewaySettings) -> ClientLimits:
        """Take the bounds from the settings."""
        return cls(
            ping_interval_s=settings.ping_interval,
            pong_timeout_s=settings.pong_timeout,
            stale_timeout_s=settings.stale_timeout,
            max_queue_bytes=settings.max_queue_size,
            write_timeout_s=settings.write_timeout,
            max_commands_per_second=settings.max_commands_per_second,
        )


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one client has in one channel.

    Attributes:
        rule: The channel's rule.
        server_side: The back end subscribed the client, not the client itself.
        positioned: The client must miss nothing.
        recoverable: The client may recover what it missed when it comes back.
        info: What others may know of this subscription (``chan_info``), as JSON.
        shown: The ClientInfo that others have seen, as JSON; None while there is none.
        expiry: Ends the subscription when it is not renewed; None: it does not end.
    """

    rule: ChannelRule
    server_side: bool = False
    positioned: bool = False
    recoverable: bool = False
    info: bytes | None = None
    shown: bytes | None = None
    expiry: Timer | None = None


class Client:
    """A connection and its state; the manager's ``ManagedConnection`` and the hub's subscriber.

    Attributes:
        refresher: Told when the time of the identity is over; None: the client itself must bring a
            new token, and is disconnected if it does not.
        subscription_refresher: The same for subscriptions to channels whose options have a back end
            asked; told the channel.
        headers: Of the WebSocket request, those that back ends are to see.
        emulated_headers: Of the connect command, those that back ends are to see.
        upgrade: The span of the WebSocket request, when it is traced.
    """

    __slots__ = (
        "_clock",
        "_close_timer",
        "_commands",
        "_expiry_timer",
        "_limits",
        "_max_queue_bytes",
        "_on_close",
        "_on_connected",
        "_on_lost_position",
        "_ping_timer",
        "_pong_timer",
        "_stale_timer",
        "_transport",
        "_write_timer",
        "awaiting_pong_since",
        "bytes_in",
        "bytes_out",
        "channels",
        "close_reason",
        "emulated_headers",
        "ended_by_us",
        "headers",
        "id",
        "identity",
        "last_activity",
        "messages_in",
        "messages_out",
        "opened_at",
        "refresher",
        "state",
        "subscription_refresher",
        "upgrade",
    )

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        *,
        limits: ClientLimits,
        clock: Clock,
        on_close: Callable[[Client, CloseReason], None],
        on_connected: Callable[[Client], None],
        on_lost_position: Callable[[Client, str], None],
    ) -> None:
        """Take over the writing side of an open WebSocket.

        Args:
            transport: Where frames go.
            limits: Bounds of the connection.
            clock: Time and timers.
            on_close: Told once, when nothing can be written any more.
            on_connected: Told once, when it is known whose connection it is.
            on_lost_position: Told when a publication of a channel is missing.
        """
        self._transport = transport
        self._limits = limits
        self._max_queue_bytes = limits.max_queue_bytes
        self._clock = clock
        self._on_close = on_close
        self._on_connected = on_connected
        self._on_lost_position = on_lost_position
        self.id = str(uuid.uuid4())
        self.state = State.OPEN
        self.identity: Identity | None = None
        self.refresher: Callable[[Client], None] | None = None
        self.subscription_refresher: Callable[[Client, str], None] | None = None
        self.headers: Mapping[str, str] = {}
        self.upgrade: SpanContext | None = None
        self.emulated_headers: Mapping[str, str] = {}
        self.channels: dict[str, Subscription] = {}
        self.close_reason: CloseReason | None = None
        self.ended_by_us = False
        self.opened_at = self.last_activity = clock.monotonic()
        self.awaiting_pong_since: float | None = None
        self.bytes_in = self.bytes_out = self.messages_in = self.messages_out = 0
        self._ping_timer: Timer | None = None
        self._pong_timer: Timer | None = None
        self._expiry_timer: Timer | None = None
        self._close_timer: Timer | None = None
        self._write_timer: Timer | None = None
        self._commands = RateLimit(limits.max_commands_per_second, self.opened_at)
        self._stale_timer: Timer | None = clock.call_later(
            limits.stale_timeout_s, lambda: self.close(STALE)
        )

    @property
    def user(self) -> str:
        """The user's id; empty for an anonymous client."""
        return self.identity.user if self.identity is not None else ""

    @property
    def queued_bytes(self) -> int:
        """Bytes the peer has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def capacity(self) -> int:
        """Bytes of publications that one frame to this client may hold."""
        return self._limits.max_queue_bytes - MAX_ENVELOPE_BYTES

    @property
    def room(self) -> int:
        """How many of them fit now, beside what the peer has not taken yet."""
        return self.capacity - self.queued_bytes

    def info(self, channel: str = "") -> dict[str, Any]:
        """Return the ClientInfo that others see of this client, in one of its channels."""
        info: dict[str, Any] = {"user": self.user, "client": self.id}
        if self.identity is not None and self.identity.info is not None:
            info["conn_info"] = Fragment(self.identity.info)
        subscription = self.channels.get(channel)
        if subscription is not None and subscription.info is not None:
            info["chan_info"] = Fragment(subscription.info)
        return info

    def for_back_ends(self) -> ProxyClient:
        """Return what back ends are told of this connection."""
        return ProxyClient(
            id=self.id,
            user=self.user,
            headers=self.headers,
            emulated_headers=self.emulated_headers,
            meta=self.identity.meta if self.identity is not None else None,
        )

    def received(self, size: int) -> None:
        """Count a frame from the peer; any traffic shows that it is there."""
        self.bytes_in += size
        self.messages_in += 1
        self.last_activity = self._clock.monotonic()

    def count_command(self) -> Verdict:
        """Count one more command, and say whether it may be executed."""
        return self._commands.take(self._clock.monotonic())

    def write(self, frame: bytes, messages: int) -> bool:
        """Hand a frame to the transport; False when the peer is too slow and was cut off."""
        # Once for each frame and client: names that are looked up once, and calls that are needed.
        if self.state is _CLOSING:
            return False
        transport = self._transport
        if transport.is_closing():
            return True  # lost, which the endpoint learns in a moment: as if written just before
        size = len(frame)
        waiting = transport.get_write_buffer_size()
        if waiting + size > self._max_queue_bytes:
            self.close(SLOW)
            return False
        if waiting and self._write_timer is None:
            self._watch_writes(self.bytes_out - waiting)
        transport.write(frame)
        self.bytes_out += size
        self.messages_out += messages
        self.last_activity = self._clock.monotonic()
        return True

    def lose_position(self, channel: str) -> None:
        """Learn that a publication is missing, and end the subscription so that it is recovered."""
        self._on_lost_position(self, channel)

    def connected(self, identity: Identity, random: Random) -> None:
        """Start the connected part of the life: pings, and the expiry of the token.

        The first ping comes at a random point of the interval's second half, so that clients
        which came back together are not pinged together for ever.
        """
        self.state = State.CONNECTED
        _cancel(self._stale_timer)
        self.renew(identity)
        self._on_connected(self)
        interval = self._limits.ping_interval_s
        self._ping_timer = self._clock.call_later(
            random.uniform(interval / 2, interval), self._ping_periodically
        )

    def renew(self, identity: Identity) -> None:
        """Take a token's identity and the time it lasts."""
        self.identity = identity
        _cancel(self._expiry_timer)
        self._expiry_timer = None
        if identity.expires_at is not None:
            left_s = identity.expires_at - self._clock.time()
            if self.refresher is None:
                left_s += EXPIRY_GRACE_S
            self._expiry_timer = self._clock.call_later(left_s, self._expire)

    def _expire(self) -> None:
        if self.refresher is None:
            self.close(CONNECTION_EXPIRED)
        else:
            self.refresher(self)

    def ping(self) -> None:
        """Ask for a sign of life, unless one is awaited already."""
        if self.state is not State.CONNECTED or self.awaiting_pong_since is not None:
            return
        if self.write(_PING_FRAME, 0):
            self.awaiting_pong_since = self._clock.monotonic()
            self._pong_timer = self._clock.call_later(
                self._limits.pong_timeout_s, lambda: self.close(NO_PONG)
            )

    def pong(self) -> None:
        """Take the answer to a ping.

        Raises:
            DisconnectError: There was no ping to answer (3501).
        """
        if self.awaiting_pong_since is None:
            raise DisconnectError(BAD_REQUEST, "a pong without a ping")
        self.awaiting_pong_since = None
        _cancel(self._pong_timer)

    def close(self, reason: CloseReason) -> None:
        """Say goodbye and cut the connection if the peer does not answer; harmless when repeated.

        The close frame queues behind what was written before. A slow peer gets a short time to
        take it, because what it has not read by then it would rather recover than wait for.
        """
        if self.state is State.CLOSING:
            return
        self.ended(reason, by_us=True)
        if not self._transport.is_closing():  # uvloop's raise when they are written to later
            self._transport.write(close_frame(reason))
        stuck = reason is SLOW or reason is WRITE_ERROR
        timeout_s = _SLOW_CLOSE_TIMEOUT_S if stuck else _CLOSE_TIMEOUT_S
        self._close_timer = self._clock.call_later(timeout_s, self.abort)

    def ended(self, reason: CloseReason, *, by_us: bool = False) -> None:
        """Leave the connected life for good: nothing is written any more, timers stop."""
        if self.state is State.CLOSING:
            return
        self.state = State.CLOSING
        self.close_reason = reason
        self.ended_by_us = by_us
        for timer in (
            self._stale_timer,
            self._ping_timer,
            self._pong_timer,
            self._expiry_timer,
            self._write_timer,
        ):
            _cancel(timer)
        self._on_close(self, reason)

    def hang_up(self) -> None:
        """Close the transport, as nothing more will be read.

        What the peer has not taken by now is thrown away: it would keep the socket open for as
        long as the peer does not read, and nobody would count it.
        """
        _cancel(self._close_timer)
        if self.queued_bytes:
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    def _watch_writes(self, taken: int) -> None:
        """See after a while whether the peer took more than so many bytes of what it was sent."""

        def look() -> None:
            self._write_timer = None
            waiting = self.queued_bytes
            if waiting and self.bytes_out - waiting <= taken:
                self.close(WRITE_ERROR)
            elif waiting:
                self._watch_writes(self.bytes_out - waiting)

        self._write_timer = self._clock.call_later(self._limits.write_timeout_s, look)

    def _ping_periodically(self) -> None:
        self._ping_timer = self._clock.call_later(
            self._limits.ping_interval_s, self._ping_periodically
        )
        self.ping()


def _cancel(timer: Timer | None) -> None:
    if timer is not None:
        timer.cancel()
