"""Channels and who is subscribed to them; turns publications into frames for all subscribers.

A publication is encoded once. Publications of one channel that fall into one batching window
become one frame, built once and written as the same bytes to every subscriber.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from alerts.clock import Clock
from service.config.channel_settings import ChannelOptions
from service.gateway.batcher import (
    Batch,
    BatcherStats,
    BatchLimits,
    FlushReason,
    MessageBatcher,
)
from service.gateway.channel import (
    Channel,
    Held,
    Joining,
    Keeper,
    Publication,
    Subscriber,
    push_size,
)
from service.gateway.channels import ChannelRule
from service.gateway.codes import INSUFFICIENT_STATE, DisconnectError
from service.gateway.frames import text_frame
from service.gateway.protocol import encode_body, encode_publication, encode_push, join
from service.gateway.stats import GatewayStats
from service.gateway.streams import StreamItem, StreamPosition
from service.gateway.tracing import PublicationTracing
from service.telemetry.instruments import Instruments
from service.telemetry.local_histograms import HistogramSeries

_LOG: Final = logging.getLogger(__name__)

BATCHER_NAME: Final = "channel"
"""How the channels' batchers are called in metrics."""


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
        self.limits = limits
        self._clock = clock
        name = {"gateway.batcher.name": BATCHER_NAME}
        self._batch_size = {
            reason: instruments.batch_size.series(name | {"gateway.flush.reason": reason.value})
            for reason in FlushReason
        }
        self._batch_body_size = instruments.batch_body_size.series(name)
        self._batch_wait = instruments.batch_wait.series(name)
        self._message_latency = instruments.message_latency
        self._latencies: dict[str, HistogramSeries] = {}
        self.tracing = tracing
        self._stats = stats
        self._channels: dict[str, Channel] = {}
        self.batcher_stats = BatcherStats()

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(tuple(self._channels.values()))

    def subscribe(self, name: str, rule: ChannelRule, subscriber: Subscriber) -> None:
        """Deliver what is published to a channel from now on to a subscriber."""
        channel = self._get(name, rule)
        if channel.batcher.pending:
            channel.joining[subscriber] = Joining(channel.sequence, 0, channel.sequence)
        else:
            channel.subscribers[subscriber] = None
        self._stats.subscriptions += 1

    def hold(self, name: str, rule: ChannelRule, subscriber: Subscriber) -> None:
        """Subscribe, but set aside what is published until ``release``."""
        channel = self._get(name, rule)
        channel.held[subscriber] = Held(channel.sequence, channel.position, [])
        self._stats.subscriptions += 1

    def release(self, name: str, subscriber: Subscriber, top: StreamPosition) -> list[StreamItem]:
        """Deliver what lies behind a position to a held subscriber, from now on without a gap.

        Args:
            name: The channel.
            subscriber: Who is held; one that left meanwhile is ignored.
            top: Up to where the subscriber has everything.

        Returns:
            What was set aside behind that position; it will not be delivered again.

        Raises:
            DisconnectError: Something between is missing (3010).
        """
        channel = self._channels.get(name)
        held = channel.held.get(subscriber) if channel is not None else None
        if channel is None or held is None:
            return []
        position = channel.position
        if position is None or position.epoch != top.epoch:
            if position != held.position:
                # Of two epochs, the one that came by itself is the newer.
                raise DisconnectError(INSUFFICIENT_STATE, "history of an epoch that has ended")
            self._go_on_from(channel, top)
        elif position == held.position and position.offset > top.offset:
            self._go_on_from(channel, top)  # the stream lost its newest publications
        later = held.behind(top)
        offset = later[-1].offset if later else top.offset
        del channel.held[subscriber]
        channel.positioned[subscriber] = None
        if channel.batcher.pending or (channel.position or top).offset < offset:
            channel.joining[subscriber] = Joining(held.seen, offset, channel.sequence)
        else:
            channel.subscribers[subscriber] = None
        return later

    def listen(self, name: str, subscriber: Subscriber) -> None:
        """Tell a subscriber of a channel who comes and goes."""
        channel = self._channels.get(name)
        if channel is not None:
            channel.listeners[subscriber] = None

    def announce(self, name: str, push: bytes) -> None:
        """Send a push to those subscribers that are told who comes and goes."""
        channel = self._channels.get(name)
        if channel is not None and channel.listeners:
            channel.sequence += 1
            channel.has_events = True
            channel.batcher.add_nowait(Publication(push, channel.sequence, event=True))

    def unsubscribe(self, name: str, subscriber: Subscriber) -> None:
        """End a subscription; unknown ones are ignored."""
        channel = self._channels.get(name)
        if channel is None:
            return
        for group in (channel.subscribers, channel.joining, channel.held):
            if subscriber in group:
                del group[subscriber]
                break
        else:
            return
        channel.positioned.pop(subscriber, None)
        channel.listeners.pop(subscriber, None)
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
        keep: Keeper | None = None,
    ) -> StreamPosition | None:
        """Accept a publication and send it to the channel's subscribers, now or batched.

        Args:
            name: The channel.
            data: JSON, passed on as it is.
            rule: The channel's rule.
            source: ``api`` or ``client``, for the metrics.
            info: The client that publishes.
            tags: Passed on to subscribers.
            parent: Where the publication's span belongs; None: it is not traced.
            keep: Keeps it, before anybody gets it; None: it is not kept.

        Returns:
            Its position; None when it is not kept.
        """
        self._stats.received[source] += 1
        if parent is None:
            return self._publish(name, data, info, tags, keep, None)
        with self.tracing.publish(rule.template, len(data), parent) as span:
            trace = span.get_span_context()
            carried = self.tracing.carry(tags, trace)
            return self._publish(name, data, info, carried, keep, trace)

    def deliver(
        self,
        name: str,
        body: bytes,
        position: StreamPosition | None,
        trace: SpanContext | None = None,
    ) -> None:
        """Send a publication that has its place to the subscribers there are in this process."""
        channel = self._channels.get(name)
        if channel is None or (position is not None and not self._advance(channel, position)):
            return
        if channel:  # those whose position was lost may have been all
            self._accept(channel, encode_push(name, body), trace, position, body)

    def lose_positions(self, name: str) -> None:
        """Have all who must miss nothing subscribe again, because something is missing."""
        channel = self._channels.get(name)
        if channel is not None:
            self._lose_positions(channel)

    def rewind(self, name: str, position: StreamPosition) -> None:
        """Go on from a position before the one a channel had, because its stream lost some."""
        channel = self._channels.get(name)
        if channel is not None:
            self._go_on_from(channel, position)

    def flush(self) -> None:
        """Send what waits in any channel."""
        for channel in self:
            channel.batcher.flush_nowait()

    def _get(self, name: str, rule: ChannelRule) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = self._open(name, rule)
        return channel

    def _open(self, name: str, rule: ChannelRule) -> Channel:
        channel = Channel(name, rule)
        # Not the channel itself: a circle would stay until a collection of garbage finds it. Nor by
        # its name: that of a channel whose subscribers left may be another's by now.
        channel_of_batches = weakref.ref(channel)

        def fan_out(batch: Batch[Publication]) -> None:
            found = channel_of_batches()
            if found is not None:
                self._fan_out(found, batch)

        channel.batcher = MessageBatcher(
            fan_out,
            size_of=push_size,
            on_error=self._on_error,
            clock=self._clock,
            limits=_limits_of(rule.options, self.limits),
            stats=self.batcher_stats,
        )
        return channel

    def _publish(
        self,
        name: str,
        data: bytes,
        info: Mapping[str, Any] | None,
        tags: Mapping[str, str] | None,
        keep: Keeper | None,
        trace: SpanContext | None,
    ) -> StreamPosition | None:
        if keep is None:
            channel = self._channels.get(name)
            if channel is not None:
                push = encode_publication(name, data, info=info, tags=tags)
                self._accept(channel, push, trace)
            return None
        position, body = keep(encode_body(data, info=info, tags=tags))
        self.deliver(name, body, position, trace)
        return position

    def _accept(
        self,
        channel: Channel,
        push: bytes,
        trace: SpanContext | None,
        position: StreamPosition | None = None,
        body: bytes = b"",
    ) -> None:
        channel.sequence += 1
        accepted_ns = 0 if trace is None else int(self._clock.time() * 1e9)
        publication = Publication(push, channel.sequence, accepted_ns, trace, position, body)
        if channel.rule.options.conflate and self._conflate(channel, publication):
            return
        # The sink never waits, so nothing is ever pending beyond one batch and there is room.
        channel.batcher.add_nowait(publication)

    def _conflate(self, channel: Channel, publication: Publication) -> bool:
        """Put a publication in the place of one that waits; False when none does."""
        for held in channel.held.values():  # they recover, and so need them all
            held.items.append(publication)
        if not channel.waiting:
            channel.waiting = True
            return False
        channel.latest = publication
        self._stats.conflated += 1
        return True

    def _advance(self, channel: Channel, position: StreamPosition) -> bool:
        """Move a channel on to a publication; False when it had been there before."""
        last, brought = channel.position, channel.brought
        channel.brought = position.offset
        if last is not None and last.epoch == position.epoch:
            if brought < position.offset <= last.offset:
                return False
            # What comes a second time is another publication: the stream lost some of its newest.
            if position.offset != last.offset + 1:
                self._lose_positions(channel)
        elif last is not None:
            self._lose_positions(channel)
        channel.position = position
        return True

    def _go_on_from(self, channel: Channel, position: StreamPosition) -> None:
        """Have a channel be where its stream was found, which was not where it had got to."""
        self._lose_positions(channel)
        channel.position, channel.brought = position, 0

    def _lose_positions(self, channel: Channel) -> None:
        lost = tuple(channel.positioned)
        self._stats.positions_lost += len(lost)
        channel.positioned.clear()
        for subscriber in lost:
            subscriber.lose_position(channel.name)

    def _fan_out(self, channel: Channel, batch: Batch[Publication]) -> None:
        """Write a batch to all subscribers. The sink of the channel's batcher."""
        started = self._clock.monotonic()
        if channel.waiting:
            batch = channel.take_latest(batch)
        traced = [item for item in batch.items if item.trace is not None]
        if traced:
            with self.tracing.send(channel.rule.template, batch, traced, len(channel)) as span:
                # As it was decided at first: one that ends late may be recorded nevertheless.
                context = span.get_span_context()
                delivered = self._write(channel, batch)
            self.tracing.delivered(channel.rule.template, traced, context, delivered)
        else:
            delivered = self._write(channel, batch)
        self._record(channel.rule.template, batch, self._clock.monotonic() - started, traced)

    def _write(self, channel: Channel, batch: Batch[Publication]) -> int:
        # Copies, because a slow one leaves while we iterate.
        if channel.has_events:
            delivered = self._write_apart(channel, batch.items)
        else:
            delivered = self._write_to(tuple(channel.subscribers), batch.items)
        if channel.joining:
            self._write_to_joining(channel, batch)
        if not channel.rule.options.conflate:
            for held in channel.held.values():
                held.items.extend(batch.items)
        return delivered

    def _write_apart(self, channel: Channel, items: tuple[Publication, ...]) -> int:
        """Write a batch with news of comers and goers, whole to those who listen to them only."""
        channel.has_events = False
        listeners: list[Subscriber] = []
        others: list[Subscriber] = []
        for subscriber in channel.subscribers:
            (listeners if subscriber in channel.listeners else others).append(subscriber)
        publications = tuple(item for item in items if not item.event)
        return self._write_to(listeners, items) + self._write_to(others, publications)

    def _write_to(self, subscribers: Sequence[Subscriber], items: Sequence[Publication]) -> int:
        """Write the same frame to all, and return how many took it."""
        if not items or not subscribers:
            return 0
        count = len(items)
        payload = join([item.push for item in items])
        frame = text_frame(payload)
        delivered = 0
        for subscriber in subscribers:
            delivered += subscriber.write(frame, count)
        self._stats.delivered += delivered * count
        self._stats.bytes_out += delivered * len(payload)
        if delivered < len(subscribers):
            self._stats.dropped["slow_consumer"] += (len(subscribers) - delivered) * count
        return delivered

    def _write_to_joining(self, channel: Channel, batch: Batch[Publication]) -> None:
        """Give new subscribers what was published after they came; from now on they are equal."""
        last = batch.items[-1].sequence
        for subscriber, joining in tuple(channel.joining.items()):
            listens = subscriber in channel.listeners
            self._write_to(
                (subscriber,),
                [
                    item
                    for item in batch.items
                    if (listens or not item.event) and joining.lets(item)
                ],
            )
            behind = channel.position is not None and channel.position.offset < joining.offset
            if last >= joining.until and not behind and subscriber in channel.joining:
                del channel.joining[subscriber]
                channel.subscribers[subscriber] = None

    def _record(
        self,
        template: str,
        batch: Batch[Publication],
        fan_out_s: float,
        traced: Sequence[Publication],
    ) -> None:
        size, body_size = self._batch_size[batch.reason], self._batch_body_size
        latency = self._latency_of(template)
        latency_s = batch.waited_s + fan_out_s
        size.record(len(batch.items))
        body_size.record(batch.size_bytes)
        self._batch_wait.record(batch.waited_s)
        latency.record(latency_s)
        if traced and (trace := traced[0].trace) is not None:
            time_ns = int(self._clock.time() * 1e9)
            size.point_to(trace, len(batch.items), time_ns)
            body_size.point_to(trace, batch.size_bytes, time_ns)
            self._batch_wait.point_to(trace, batch.waited_s, time_ns)
            latency.point_to(trace, latency_s, time_ns)

    def _latency_of(self, template: str) -> HistogramSeries:
        series = self._latencies.get(template)
        if series is None:
            attributes = {"messaging.destination.template": template}
            series = self._latencies[template] = self._message_latency.series(attributes)
        return series

    def _on_error(self, batch: Batch[Publication], error: Exception) -> None:
        _LOG.error("a batch of %d messages was not sent", len(batch.items), exc_info=error)


def _limits_of(options: ChannelOptions, limits: BatchLimits) -> BatchLimits:
    """Return the limits of a channel's batches: its own, or those of all."""
    delay_s = options.batch_max_delay
    return replace(
        limits,
        max_messages=options.batch_max_messages or limits.max_messages,
        max_bytes=options.batch_max_bytes or limits.max_bytes,
        max_delay_s=limits.max_delay_s if delay_s is None else delay_s,
    )
