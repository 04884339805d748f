"""The broker of several processes: channels live in Redis, and each process delivers to its own.

Every publication takes the same way, also to subscribers of the process that sends it: a script
gives it its place and hands it to pub/sub, and what pub/sub brings goes to the hub. So there is one
order, that of the offsets.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType
from typing import Final, Self

from opentelemetry.trace import SpanContext

from alerts.clock import Clock
from service.config.broker_settings import RedisSettings
from service.gateway.broker import Message
from service.gateway.codes import internal_error
from service.gateway.hub import Hub
from service.gateway.idempotency import TTL_S
from service.gateway.presence import PresentClient
from service.gateway.protocol import encode_body
from service.gateway.redis.connection import Argument, Reply
from service.gateway.redis.envelope import (
    EnvelopeError,
    place_of,
    seal_event,
    seal_publication,
    trace_text,
    unseal,
)
from service.gateway.redis.link import CommandError, LinkOptions
from service.gateway.redis.peers import RedisPeers
from service.gateway.redis.presence import SharedPresence
from service.gateway.redis.reception import Reception
from service.gateway.redis.router import Router
from service.gateway.redis.scripts import PUBLISH, READ, Keys, Script
from service.gateway.redis.stats import RedisStats
from service.gateway.redis.topology import partition_of, topology_of
from service.gateway.stats import GatewayStats
from service.gateway.streams import StreamItem, StreamPage, StreamPosition, StreamQuery
from service.telemetry.instruments import Instruments

_LOG: Final = logging.getLogger(__name__)


class RedisBroker:
    """Channels in Redis; an async context manager.

    Attributes:
        address: Where Redis is, without secrets.
        redis_stats: What became of connections and commands.
        peers: The other processes on this Redis.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        hub: Hub,
        position_ttl_s: float,
        clock: Clock,
        random: Random,
        instruments: Instruments,
        stats: GatewayStats,
        node: str,
    ) -> None:
        """Prepare connections.

        Args:
            settings: Where Redis is and how it is used.
            hub: Gets what is published to channels that are open.
            position_ttl_s: How long the position of an unused channel is remembered.
            clock: Time and timers.
            random: Spreads attempts to reconnect.
            instruments: The histogram of round trips.
            stats: Where publications are counted.
            node: Name of this process.
        """
        self.address: Final = str(settings.address)
        self.redis_stats = RedisStats()
        self._hub = hub
        self._position_ttl_ms = round(position_ttl_s * 1000)
        self._tracing = hub.tracing
        self._stats = stats
        self._keys = Keys(settings.prefix)
        topology = topology_of(settings.address, timeout_s=settings.timeout, clock=clock)
        options = LinkOptions(settings.timeout, settings.ping_interval, settings.max_backoff)
        self._router = Router(
            topology,
            options,
            max_waiting=settings.max_queue,
            clock=clock,
            random=random,
            stats=self.redis_stats,
            roundtrip=instruments.broker_roundtrip.series(),
            on_change=self._on_change,
        )
        self._reception = Reception(
            topology,
            self,
            options,
            sharded=settings.sharded_pubsub,
            clock=clock,
            random=random,
            stats=self.redis_stats,
        )
        self._presence = SharedPresence(
            self._router, self._keys, ttl_s=settings.presence_ttl, clock=clock
        )
        self.peers = RedisPeers(
            node,
            self._router,
            self._keys,
            publish=self._reception.verbs.publish,
            clock=clock,
            stats=self.redis_stats,
        )
        self._opened: dict[str, int] = {}
        self._channels: dict[bytes, str] = {}
        self._on_gap: list[Callable[[], None]] = []
        self._relocation: asyncio.Task[None] | None = None
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin to connect; does not wait for it, and goes on until it succeeds."""
        for part in (self._reception, self._router, self._presence, self.peers):
            await self._parts.enter_async_context(part)
        for topic in self.peers.topics:
            self._reception.want(topic, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send what is waiting, and close the connections."""
        await self._parts.aclose()
        if self._relocation is not None:
            await asyncio.wait([self._relocation])

    @property
    def away(self) -> str:
        """Why channels cannot be used now; empty when they can."""
        fault = self._router.fault or self._reception.fault
        return f"the broker is away: {fault}" if fault else ""

    @property
    def waiting(self) -> int:
        """How many commands wait for their answers."""
        return len(self._router)

    async def ping(self) -> None:
        """Return once Redis has answered to commands, and messages come as well.

        Raises:
            CommandError: It did not, or they do not; says why.
        """
        await self._router.ping()
        if fault := self._reception.fault:
            raise CommandError("away", f"no messages come from the broker: {fault}")

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Call back whenever publications may have been missed, once they come again."""
        self._on_gap.append(callback)

    async def open(self, channel: str) -> None:
        """Have what is published to a channel delivered to the hub, as often as it is closed.

        Raises:
            ProtocolError: It cannot be done now (100); it must be closed all the same.
        """
        self._opened[channel] = self._opened.get(channel, 0) + 1
        topic_name = self._keys.topic(channel)
        self._channels[topic_name] = channel
        topic = self._reception.want(topic_name, partition_of(channel))
        try:
            await self._reception.arrived(topic)
        except CommandError as error:
            raise internal_error() from error

    def close(self, channel: str) -> None:
        """Undo one ``open``."""
        self._opened[channel] -= 1
        if not self._opened[channel]:
            del self._opened[channel]
            topic_name = self._keys.topic(channel)
            del self._channels[topic_name]
            self._reception.drop(topic_name)

    async def publish(self, message: Message) -> StreamPosition | None:
        """Have Redis keep a publication and send it to all processes.

        Raises:
            ProtocolError: It is not known that it was done (100).
        """
        if message.parent is None:
            return await self._publish(message, message.tags, None)
        template = message.rule.template
        with self._tracing.publish(template, len(message.data), message.parent) as span:
            trace = span.get_span_context()
            tags = self._tracing.carry(message.tags, trace)
            return await self._publish(message, tags, trace)

    async def _publish(
        self, message: Message, tags: Mapping[str, str] | None, trace: SpanContext | None
    ) -> StreamPosition | None:
        body = encode_body(message.data, info=message.info, tags=tags)
        retention = None if message.skip_history else message.rule.retention
        channel, verb = message.channel, self._reception.verbs.publish
        topic = self._keys.topic(channel)
        if retention is None and not message.idempotency_key:
            await self._call(channel, verb, topic, seal_publication(body, trace))
            self._stats.received[message.source] += 1
            return None
        ttl_ms = 0 if retention is None else max(1, round(retention.ttl_s * 1000))
        known, place = await self._call(
            channel,
            3,
            self._keys.of("position", channel),
            self._keys.of("stream", channel),
            self._keys.result(channel, message.idempotency_key),
            body,
            0 if retention is None else retention.size,
            ttl_ms,
            max(self._position_ttl_ms, ttl_ms),
            _new_epoch(),
            round(TTL_S * 1000) if message.idempotency_key else 0,
            verb,
            topic,
            trace_text(trace),
            script=PUBLISH,
        )
        if not known:
            self._stats.received[message.source] += 1
        return place_of(place)

    async def read(self, channel: str, query: StreamQuery) -> StreamPage:
        """Return what is kept of a channel with history, and its position.

        Raises:
            ProtocolError: Redis did not say (100).
        """
        verb, first, last = _range(query)
        offset, epoch, items = await self._call(
            channel,
            2,
            self._keys.of("position", channel),
            self._keys.of("stream", channel),
            _new_epoch(),
            self._position_ttl_ms,
            verb,
            first,
            last,
            "" if query.limit is None else query.limit,
            script=READ,
        )
        return StreamPage(
            tuple(StreamItem(int(name.partition(b"-")[0]), fields[1]) for name, fields in items),
            StreamPosition(int(offset), epoch.decode()),
        )

    async def clear(self, channel: str) -> None:
        """Drop what is kept of a channel; its position stays.

        Raises:
            ProtocolError: It is not known that it was done (100).
        """
        await self._call(channel, "DEL", self._keys.of("stream", channel))

    async def presence(self, channel: str) -> Mapping[str, PresentClient]:
        """Return who is in a channel, by client id.

        Raises:
            ProtocolError: Redis did not say (100).
        """
        try:
            return await self._presence.of(channel)
        except CommandError as error:
            raise internal_error() from error

    def enter(self, channel: str, client_id: str, client: PresentClient) -> None:
        """Note that a client of this process is in a channel."""
        self._presence.enter(channel, client_id, client)

    def leave(self, channel: str, client_id: str) -> None:
        """Note that a client of this process left a channel."""
        self._presence.leave(channel, client_id)

    def announce(self, channel: str, push: bytes) -> None:
        """Send a join or leave push to the subscribers that listen to them, in all processes."""
        self._router.post(
            partition_of(channel),
            self._reception.verbs.publish,
            self._keys.topic(channel),
            seal_event(push),
        )

    def received(self, topic: bytes, message: bytes) -> None:
        """Take a message from Redis."""
        channel = self._channels.get(topic)
        if topic in self.peers.topics:
            self.peers.received(message)
            return
        if channel is None:
            return  # the last subscriber left while it was on its way
        try:
            envelope = unseal(message)
        except EnvelopeError as error:
            self.redis_stats.unreadable += 1
            _LOG.warning("a message from Redis was left out: %s", error)
            return
        if envelope.event:
            self._hub.announce(channel, envelope.body)
        else:
            self._hub.deliver(channel, envelope.body, envelope.position, envelope.trace)

    def restored(self) -> None:
        """Learn that messages come again, and have it looked at what was missed."""
        self._presence.renew_soon()
        for callback in self._on_gap:
            callback()

    def lost(self) -> None:
        """Learn that messages do not come; ``away`` says why."""

    def moved(self) -> None:
        """Learn that a server does not have all partitions that it was thought to have."""
        if self._relocation is None or self._relocation.done():
            self._relocation = asyncio.create_task(self._router.refresh(), name="redis relocation")

    def _on_change(self) -> None:
        self._reception.reassign()
        self._presence.renew_soon()  # what nobody waits for may have been lost with a connection

    async def _call(
        self, channel: str, *arguments: Argument, script: Script | None = None
    ) -> Reply:
        try:
            return await self._router.call(partition_of(channel), *arguments, script=script)
        except CommandError as error:
            raise internal_error() from error


def _new_epoch() -> str:
    return uuid.uuid4().hex[:8]


def _range(query: StreamQuery) -> tuple[str, str, str]:
    """Return command and bounds of what is asked for; no command for the position alone."""
    nothing = query.reverse and query.after is not None and query.after < 1
    if query.limit == 0 or nothing:
        return "", "", ""
    if query.reverse:
        return "XREVRANGE", "+" if query.after is None else f"({query.after}-0", "-"
    return "XRANGE", "-" if query.after is None else f"({query.after}-0", "+"
