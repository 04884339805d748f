"""Streams of channels with history, in the memory of this process. No I/O.

A stream numbers the publications of its channel with offsets from 1, without gaps. Its epoch names
this incarnation: whoever knows an offset of another epoch knows nothing. Publications are dropped
by count, by age, and over all streams by a bound in bytes, the oldest first; what is left of a
stream without publications is its position.

Source: Centrifugo documentation, "History and recovery". History lives ``history_ttl`` from the
newest publication, the position ``history_meta_ttl`` from the last use.
"""

from __future__ import annotations

import heapq
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Final

from alerts.clock import Clock, Timer

STREAM_BYTES: Final = 1000
"""What a stream costs beside its publications and its name, about."""
ITEM_BYTES: Final = 200
"""What a publication costs beside its body, about."""
_SWEEP_S: Final = 1.0
"""Expired streams are let go in steps of this length; nobody sees them meanwhile."""


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """A place in a stream.

    Attributes:
        offset: Number of a publication; 0 is before the first.
        epoch: Which incarnation of the stream the number belongs to.
    """

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a channel is kept.

    Attributes:
        size: Publications at most.
        ttl_s: Seconds after the newest publication at which all are dropped.
    """

    size: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class StreamItem:
    """A publication that is kept.

    Attributes:
        offset: Its number in the stream.
        body: The publication as JSON, offset included.
    """

    offset: int
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """Which publications are asked for.

    Attributes:
        limit: Publications at most, 0 for the position alone; None: all.
        after: Those behind this offset, or before it when ``reverse``; None: from the end.
        reverse: Newest first.
    """

    limit: int | None = None
    after: int | None = None
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class StreamPage:
    """What was found.

    Attributes:
        items: In the order asked for.
        top: The newest position of the stream.
    """

    items: tuple[StreamItem, ...]
    top: StreamPosition


@dataclass(slots=True)
class StreamStats:
    """Levels and counts of all streams.

    Attributes:
        streams: Streams that are known.
        items: Publications that are kept.
        bytes: What they cost, about.
        evicted: Publications dropped early because of the bound in bytes.
    """

    streams: int = 0
    items: int = 0
    bytes: int = 0
    evicted: int = 0


@dataclass(slots=True, eq=False)
class _Stream:
    """One stream. ``keys`` are its places in the order of eviction, one for each item."""

    name: str
    epoch: str
    offset: int = 0
    items: deque[StreamItem] = field(default_factory=deque)
    keys: deque[int] = field(default_factory=deque)
    empty_key: int | None = None
    expires_at: float = 0.0
    forgotten_at: float = 0.0
    due_at: float = float("inf")


class MemoryStreams:
    """All streams of the process; belongs to one event loop and never awaits."""

    def __init__(self, *, max_bytes: int, meta_ttl_s: float, clock: Clock) -> None:
        """Start without streams.

        Args:
            max_bytes: Bound of all streams together.
            meta_ttl_s: How long an unused stream's position is remembered.
            clock: Time and timers.
        """
        self.max_bytes = max_bytes
        self._meta_ttl_s = meta_ttl_s
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        # Oldest first: a key of each publication, and one of each stream without any.
        self._order: OrderedDict[int, _Stream] = OrderedDict()
        self._numbers = count()
        self._due: list[tuple[float, int, _Stream]] = []
        self._timer: Timer | None = None
        self.stats = StreamStats()

    def append(self, name: str, body: bytes, retention: Retention) -> tuple[StreamPosition, bytes]:
        """Keep a publication.

        Args:
            name: The channel.
            body: The publication as a JSON object with at least one field.
            retention: How much of the channel is kept.

        Returns:
            Where it stands, and the body with its offset.
        """
        stream = self._find(name)
        stream.offset += 1
        numbered = b'%s,"offset":%d}' % (body[:-1], stream.offset)
        self._unmark_empty(stream)
        key = next(self._numbers)
        stream.items.append(StreamItem(stream.offset, numbered))
        stream.keys.append(key)
        self._order[key] = stream
        self.stats.items += 1
        self.stats.bytes += len(numbered) + ITEM_BYTES
        while len(stream.items) > retention.size:
            self._drop_oldest(stream)
        stream.expires_at = self._clock.monotonic() + retention.ttl_s
        self._schedule(stream)
        position = StreamPosition(stream.offset, stream.epoch)
        self._bound()
        return position, numbered

    def read(self, name: str, query: StreamQuery) -> StreamPage:
        """Return publications and the position; a stream that is not there begins with this."""
        stream = self._find(name)
        page = StreamPage(_select(stream.items, query), StreamPosition(stream.offset, stream.epoch))
        self._schedule(stream)
        self._bound()
        return page

    def clear(self, name: str) -> None:
        """Drop the publications of a stream; its position stays."""
        stream = self._streams.get(name)
        if stream is not None:
            self._clear(stream)

    def _find(self, name: str) -> _Stream:
        now = self._clock.monotonic()
        stream = self._streams.get(name)
        if stream is not None and now >= stream.forgotten_at and now >= stream.expires_at:
            self._forget(stream)
            stream = None
        if stream is None:
            stream = self._streams[name] = _Stream(name, uuid.uuid4().hex[:8])
            self.stats.streams += 1
            self.stats.bytes += STREAM_BYTES + len(name)
            self._mark_empty(stream)
        elif stream.items and now >= stream.expires_at:
            self._clear(stream)
        stream.forgotten_at = now + self._meta_ttl_s
        return stream

    def _clear(self, stream: _Stream) -> None:
        while stream.items:
            self._drop_oldest(stream)
        self._unmark_empty(stream)  # what was emptied now is younger than it was
        self._mark_empty(stream)

    def _drop_oldest(self, stream: _Stream) -> None:
        item = stream.items.popleft()
        del self._order[stream.keys.popleft()]
        self.stats.items -= 1
        self.stats.bytes -= len(item.body) + ITEM_BYTES

    def _mark_empty(self, stream: _Stream) -> None:
        stream.empty_key = next(self._numbers)
        self._order[stream.empty_key] = stream

    def _unmark_empty(self, stream: _Stream) -> None:
        if stream.empty_key is not None:
            del self._order[stream.empty_key]
            stream.empty_key = None

    def _forget(self, stream: _Stream) -> None:
        while stream.items:
            self._drop_oldest(stream)
        self._unmark_empty(stream)
        stream.due_at = float("inf")
        del self._streams[stream.name]
        self.stats.streams -= 1
        self.stats.bytes -= STREAM_BYTES + len(stream.name)

    def _bound(self) -> None:
        """Drop the oldest of all until the rest fits."""
        while self.stats.bytes > self.max_bytes and self._order:
            stream = next(iter(self._order.values()))
            if stream.items:
                self._drop_oldest(stream)
                self.stats.evicted += 1
                if not stream.items:
                    self._mark_empty(stream)
            else:
                self._forget(stream)

    def _schedule(self, stream: _Stream) -> None:
        """See to it that a stream is looked at when something of it is over."""
        due_at = stream.expires_at if stream.items else stream.forgotten_at
        if due_at < stream.due_at and stream.name in self._streams:
            stream.due_at = due_at
            heapq.heappush(self._due, (due_at, next(self._numbers), stream))
            self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._due:
            left_s = self._due[0][0] - self._clock.monotonic()
            # Never asleep for long, so that a stream which is due earlier need not wake anybody.
            self._timer = self._clock.call_later(min(max(left_s, _SWEEP_S), 60.0), self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            due_at, _, stream = heapq.heappop(self._due)
            if due_at != stream.due_at:
                continue  # looked at earlier, or gone
            stream.due_at = float("inf")
            if stream.items and now >= stream.expires_at:
                self._clear(stream)
            if not stream.items and now >= stream.forgotten_at:
                self._forget(stream)
            else:
                self._schedule(stream)
        self._arm()


def _select(items: deque[StreamItem], query: StreamQuery) -> tuple[StreamItem, ...]:
    if query.limit == 0 or not items:
        return ()
    first, last = items[0].offset, items[-1].offset
    if query.reverse:
        skipped = 0 if query.after is None else max(0, last - query.after + 1)
        return tuple(islice(reversed(items), skipped, _stop(skipped, query.limit)))
    skipped = 0 if query.after is None else max(0, query.after - first + 1)
    return tuple(islice(items, skipped, _stop(skipped, query.limit)))


def _stop(skipped: int, limit: int | None) -> int | None:
    return None if limit is None else skipped + limit
