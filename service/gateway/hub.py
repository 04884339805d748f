"""Channels and who is subscribed to them; turns publications into frames for all subscribers.

A publication is encoded once. Publications of one channel that fall into one batching window
become one frame, built once and written as the same bytes to every subscriber.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from alerts.clock import Clock
from service.gateway.batcher import (
    Batch,
    BatcherStats,
    BatchLimits,
    FlushReason,
    MessageBatcher,
)
from service.gateway.channels import ChannelRule
from service.gateway.frames import text_frame
from service.gateway.protocol import encode_publication, join
from service.gateway.stats import GatewayStats
from service.gateway.tracing import PublicationTracing
from service.telemetry.instruments import Instruments

_LOG: Final = logging.getLogger(__name__)

BATCHER_NAME: Final = "channel"
"""How the channels' batchers are called in metrics."""


class Subscriber(Protocol):
    """A connection, as the hub sees it."""

    def write(self, frame: bytes, messages: int) -> bool:
        """Hand a frame to the transport; False when the peer is too slow and was cut off."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A message on its way through a channel.

    Attributes:
        push: The encoded push.
        sequence: Number of the publication in its channel, from 1.
        accepted_ns: Unix nanoseconds of acceptance; 0 when it is not traced.
        trace: Its span, when it is traced.
    """

    push: bytes
    sequence: int
    accepted_ns: int = 0
    trace: SpanContext | None = None


class Channel:
    """One channel that has subscribers."""

    __slots__ = ("batcher", "joining", "name", "rule", "sequence", "subscribers")

    def __init__(self, name: str, rule: ChannelRule) -> None:
        """Make a channel without subscribers; the hub adds the batcher."""
        self.name = name
        self.rule = rule
        self.sequence = 0
        self.subscribers: dict[Subscriber, None] = {}
        # Subscribers that came while publications were waiting, with the last sequence they must
        # not see: a client never receives what was published before it subscribed.
        self.joining: dict[Subscriber, int] = {}
        self.batcher: MessageBatcher[Publication]

    def __len__(self) -> int:
        return len(self.subscribers) + len(self.joining)


class Hub:
    """All channels of the process; belongs to one event loop and never awaits."""

    def __init__(
        self,
        *,
        limits: BatchLimits,
        clock: Clock,
        instruments: Instruments,
        tracing: PublicationTracing,
        stats: GatewayStats,
    ) -> None:
        """Start without channels."""
        self._limits = limits
        self._clock = clock
        name = {"gateway.batcher.name": BATCHER_NAME}
        self._batch_size = {
            reason: instruments.batch_size.series(name | {"gateway.flush.reason": reason.value})
            for reason in FlushReason
        }
        self._batch_body_size = instruments.batch_body_size.series(name)
        self._batch_wait = instruments.batch_wait.series(name)
        self._message_latency = instruments.message_latency.series()
        self._tracing = tracing
        self._stats = stats
        self._channels: dict[str, Channel] = {}
        self.batcher_stats = BatcherStats()

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(tuple(self._channels.values()))

    def subscribe(self, name: str, rule: ChannelRule, subscriber: Subscriber) -> None:
        """Deliver what is published to a channel from now on to a subscriber."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = self._open(name, rule)
        if channel.batcher.pending:
            channel.joining[subscriber] = channel.sequence
        else:
            channel.subscribers[subscriber] = None
        self._stats.subscriptions += 1

    def unsubscribe(self, name: str, subscriber: Subscriber) -> None:
        """End a subscription; unknown ones are ignored."""
        channel = self._channels.get(name)
        if channel is None:
            return
        if subscriber in channel.subscribers:
            del channel.subscribers[subscriber]
        elif subscriber in channel.joining:
            del channel.joining[subscriber]
        else:
            return
        self._stats.subscriptions -= 1
        if not channel:
            del self._channels[name]
            channel.batcher.flush_nowait()  # to nobody: it only stops the timer

    def publish(
        self,
        name: str,
        data: bytes,
        *,
        rule: ChannelRule,
        source: str,
        info: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        parent: Context | None = None,
    ) -> None:
        """Accept a publication and send it to the channel's subscribers, now or batched.

        Args:
            name: The channel.
            data: JSON, passed on as it is.
            rule: The channel's rule.
            source: ``api`` or ``client``, for the metrics.
            info: The client that publishes.
            tags: Passed on to subscribers.
            parent: Where the publication's span belongs; None: it is not traced.
        """
        self._stats.received[source] += 1
        if parent is None:
            channel = self._channels.get(name)
            if channel is not None:
                push = encode_publication(name, data, info=info, tags=tags)
                self._accept(channel, push, 0, None)
            return
        with self._tracing.publish(rule.template, len(data), parent) as span:
            channel = self._channels.get(name)
            if channel is not None:
                carried = self._tracing.carry(tags, span)
                push = encode_publication(name, data, info=info, tags=carried)
                self._accept(channel, push, int(self._clock.time() * 1e9), span)

    def flush(self) -> None:
        """Send what waits in any channel."""
        for channel in self:
            channel.batcher.flush_nowait()

    def _open(self, name: str, rule: ChannelRule) -> Channel:
        channel = Channel(name, rule)
        channel.batcher = MessageBatcher(
            lambda batch: self._fan_out(channel, batch),
            size_of=_push_size,
            on_error=self._on_error,
            clock=self._clock,
            limits=self._limits,
            stats=self.batcher_stats,
        )
        return channel

    def _accept(
        self, channel: Channel, push: bytes, accepted_ns: int, trace: SpanContext | None
    ) -> None:
        channel.sequence += 1
        # The sink never waits, so nothing is ever pending beyond one batch and there is room.
        channel.batcher.add_nowait(Publication(push, channel.sequence, accepted_ns, trace))

    def _fan_out(self, channel: Channel, batch: Batch[Publication]) -> None:
        """Write a batch to all subscribers. The sink of the channel's batcher."""
        started = self._clock.monotonic()
        traced = [item for item in batch.items if item.trace is not None]
        if traced:
            with self._tracing.send(channel.rule.template, batch, traced, len(channel)) as span:
                delivered = self._write(channel, batch)
            self._tracing.delivered(channel.rule.template, traced, span, delivered)
        else:
            delivered = self._write(channel, batch)
        self._stats.delivered += delivered * len(batch.items)
        self._record(batch, self._clock.monotonic() - started)

    def _write(self, channel: Channel, batch: Batch[Publication]) -> int:
        count = len(batch.items)
        payload = join([item.push for item in batch.items])
        frame = text_frame(payload)
        delivered = 0
        subscribers = tuple(channel.subscribers)  # a slow one leaves while we iterate
        for subscriber in subscribers:
            delivered += subscriber.write(frame, count)
        self._stats.bytes_out += delivered * len(payload)
        if delivered < len(subscribers):
            self._stats.dropped["slow_consumer"] += (len(subscribers) - delivered) * count
        if channel.joining:
            self._write_to_joining(channel, batch)
        return delivered

    def _write_to_joining(self, channel: Channel, batch: Batch[Publication]) -> None:
        """Give new subscribers what was published after they came; from now on they are equal."""
        last = batch.items[-1].sequence
        for subscriber, seen in tuple(channel.joining.items()):
            pushes = [item.push for item in batch.items if item.sequence > seen]
            if pushes:
                payload = join(pushes)
                if subscriber.write(text_frame(payload), len(pushes)):
                    self._stats.delivered += len(pushes)
                    self._stats.bytes_out += len(payload)
                else:
                    self._stats.dropped["slow_consumer"] += len(pushes)
            if last >= seen and channel.joining.pop(subscriber, None) is not None:
                channel.subscribers[subscriber] = None

    def _record(self, batch: Batch[Publication], fan_out_s: float) -> None:
        self._batch_size[batch.reason].record(len(batch.items))
        self._batch_body_size.record(batch.size_bytes)
        self._batch_wait.record(batch.waited_s)
        self._message_latency.record(batch.waited_s + fan_out_s)

    def _on_error(self, batch: Batch[Publication], error: Exception) -> None:
        _LOG.error("a batch of %d messages was not sent", len(batch.items), exc_info=error)


def _push_size(publication: Publication) -> int:
    return len(publication.push) + 1  # the newline between pushes
