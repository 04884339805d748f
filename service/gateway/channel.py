"""One channel: who is subscribed to it, from where on, and what is on its way to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from opentelemetry.trace import SpanContext

from service.gateway.batcher import Batch, MessageBatcher
from service.gateway.channels import ChannelRule
from service.gateway.codes import INSUFFICIENT_STATE, DisconnectError
from service.gateway.streams import StreamItem, StreamPosition


class Subscriber(Protocol):
    """A connection, as the hub sees it."""

    def write(self, frame: bytes, messages: int) -> bool:
        """Hand a frame to the transport; False when the peer is too slow and was cut off."""

    def lose_position(self, channel: str) -> None:
        """Learn that a publication is missing, and end the subscription so that it is recovered."""


class Publication(NamedTuple):
    """A message on its way through a channel; a tuple, as one is made for each.

    Attributes:
        push: The encoded push.
        sequence: Number of the publication in its channel in this process, from 1.
        accepted_ns: Unix nanoseconds of acceptance; 0 when it is not traced.
        trace: Its span, when it is traced.
        position: Its place in the channel's stream; None when it is not kept.
        body: The publication without the push around it, when it is kept.
        event: Whether it is no publication but tells of a client that came or went.
    """

    push: bytes
    sequence: int
    accepted_ns: int = 0
    trace: SpanContext | None = None
    position: StreamPosition | None = None
    body: bytes = b""
    event: bool = False


def push_size(publication: Publication) -> int:
    """Return what a publication adds to a frame: its push and the newline before the next."""
    return len(publication.push) + 1


Keeper = Callable[[bytes], tuple[StreamPosition, bytes]]
"""Keeps the body of a publication; returns its position, and the body with the offset in it."""


class Joining(NamedTuple):
    """What a new subscriber must not see: it has it, or it was published before it came.

    Attributes:
        seen: Sequence up to which nothing is delivered.
        offset: Offset up to which nothing is delivered.
        until: Sequence after which the subscriber is like all others.
    """

    seen: int
    offset: int
    until: int

    def lets(self, item: Publication) -> bool:
        """Whether the subscriber is to get a publication."""
        if item.position is not None and item.position.offset <= self.offset:
            return False
        return item.sequence > self.seen


class Held(NamedTuple):
    """What was written to others while a new subscriber's history was read.

    Attributes:
        seen: Sequence of the channel when the reading began.
        position: Its position then.
        items: What was written since.
    """

    seen: int
    position: StreamPosition | None
    items: list[Publication]

    def behind(self, top: StreamPosition) -> list[StreamItem]:
        """Return what lies behind a position, which must follow it without a gap.

        Raises:
            DisconnectError: It does not (3010).
        """
        found: list[StreamItem] = []
        for item in self.items:
            position = item.position
            if position is None or (position.epoch == top.epoch and position.offset <= top.offset):
                continue
            if position != StreamPosition(top.offset + len(found) + 1, top.epoch):
                detail = "publications are missing between history and what came while it was read"
                raise DisconnectError(INSUFFICIENT_STATE, detail)
            found.append(StreamItem(position.offset, item.body))
        return found


class Channel:
    """One channel that has subscribers."""

    __slots__ = (
        "__weakref__",
        "batcher",
        "brought",
        "has_events",
        "held",
        "joining",
        "latest",
        "listeners",
        "name",
        "position",
        "positioned",
        "rule",
        "sequence",
        "subscribers",
        "waiting",
    )

    def __init__(self, name: str, rule: ChannelRule) -> None:
        """Make a channel without subscribers; the hub adds the batcher."""
        self.name = name
        self.rule = rule
        self.sequence = 0
        self.subscribers: dict[Subscriber, None] = {}
        # Subscribers that came while publications were waiting: a client never receives what was
        # published before it subscribed, nor what it recovered.
        self.joining: dict[Subscriber, Joining] = {}
        # Subscribers whose history is being read.
        self.held: dict[Subscriber, Held] = {}
        # Subscribers that must miss nothing. All of them are at the position of the channel, so
        # that one comparison for each publication is enough.
        self.positioned: dict[Subscriber, None] = {}
        self.position: StreamPosition | None = None
        # Offset of the last publication that came by itself, 0 while the position was only read:
        # what was on its way then comes still, and must be told from numbers that are given again.
        self.brought = 0
        # Subscribers that are told who comes and goes, and whether such news wait in the batch.
        self.listeners: dict[Subscriber, None] = {}
        self.has_events = False
        # Of a channel that conflates: whether a publication waits, and what took its place.
        self.waiting = False
        self.latest: Publication | None = None
        self.batcher: MessageBatcher[Publication]

    def take_latest(self, batch: Batch[Publication]) -> Batch[Publication]:
        """Return a batch with what took the place of the publication that waited."""
        latest, self.latest, self.waiting = self.latest, None, False
        if latest is None:
            return batch
        items = (*(item for item in batch.items if item.event), latest)
        return batch._replace(items=items, size_bytes=sum(map(push_size, items)))

    def __len__(self) -> int:
        return len(self.subscribers) + len(self.joining) + len(self.held)
