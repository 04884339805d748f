"""Where publications, history and presence go: one process here, several behind one interface.

A ``Broker`` orders the publications of a channel, keeps what the channel keeps, and hands them to
the hub of every process that has subscribers. ``MemoryBroker`` is the one of a single process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from opentelemetry.context import Context

from service.gateway.channel import Keeper
from service.gateway.channels import ChannelRule
from service.gateway.hub import Hub
from service.gateway.idempotency import IdempotencyCache
from service.gateway.peers import NoPeers, Peers
from service.gateway.presence import MemoryPresence, PresentClient
from service.gateway.streams import (
    MemoryStreams,
    StreamPage,
    StreamPosition,
    StreamQuery,
)


class Message(NamedTuple):
    """A publication before it has a place in its channel; a tuple, as one is made for each.

    Attributes:
        channel: Where to.
        data: JSON, passed on as it is.
        rule: The channel's rule.
        source: ``api`` or ``client``, for the metrics.
        info: The client that publishes.
        tags: Passed on to subscribers.
        parent: Where the publication's span belongs; None: it is not traced.
        skip_history: Send it to those who are there and keep nothing.
        idempotency_key: A repetition with the same key is answered as the first; empty: none.
    """

    channel: str
    data: bytes
    rule: ChannelRule
    source: str
    info: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None
    parent: Context | None = None
    skip_history: bool = False
    idempotency_key: str = ""


class Broker(Protocol):
    """What the gateway needs of the place where channels live; an async context manager.

    A broker that cannot be reached raises ``ProtocolError`` 100 from whatever waits for it.
    """

    @property
    def peers(self) -> Peers:
        """The other processes that serve the same channels."""

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send what is waiting, and end."""

    @property
    def away(self) -> str:
        """Why channels cannot be used now; empty when they can."""

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Call back whenever publications may have been missed, once they come again."""

    async def open(self, channel: str) -> None:
        """Have what is published to a channel delivered to the hub, from when this returns on.

        Each call is undone by one ``close``, also a call that failed.
        """

    def close(self, channel: str) -> None:
        """Undo one ``open``; does not wait."""

    async def publish(self, message: Message) -> StreamPosition | None:
        """Send a publication to all subscribers, and keep it first where the channel has history.

        Returns:
            Its position; None when it is not kept.
        """

    async def read(self, channel: str, query: StreamQuery) -> StreamPage:
        """Return what is kept of a channel with history, and its position."""

    async def clear(self, channel: str) -> None:
        """Drop what is kept of a channel; its position stays."""

    async def presence(self, channel: str) -> Mapping[str, PresentClient]:
        """Return who is in a channel, by client id."""

    def enter(self, channel: str, client_id: str, client: PresentClient) -> None:
        """Note that a client is in a channel; does not wait until others can see it."""

    def leave(self, channel: str, client_id: str) -> None:
        """Note that a client left a channel; does not wait until others can see it."""

    def announce(self, channel: str, push: bytes) -> None:
        """Send a join or leave push to the subscribers that listen to them; does not wait."""


class MemoryBroker:
    """The broker of a single process: nothing here ever waits.

    Attributes:
        peers: There are none.
    """

    def __init__(
        self, hub: Hub, streams: MemoryStreams, results: IdempotencyCache, node: str = ""
    ) -> None:
        """Deliver to a hub, keep in streams, and remember results, in a process of a name."""
        self._hub = hub
        self._streams = streams
        self._results = results
        self._presence = MemoryPresence()
        self.peers = NoPeers(node)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""

    @property
    def away(self) -> str:
        """Why channels cannot be used now: they always can."""
        return ""

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Do nothing: nothing is ever missed."""

    async def open(self, channel: str) -> None:
        """Do nothing: all that is published goes to the hub."""

    def close(self, channel: str) -> None:
        """Do nothing."""

    async def publish(self, message: Message) -> StreamPosition | None:
        """Keep a publication and hand it to the hub, in one step of the event loop."""
        if not message.idempotency_key:
            return self._publish(message)
        key = (message.channel, message.idempotency_key)
        if key not in self._results:
            self._results[key] = self._publish(message)
        return self._results[key]

    def _publish(self, message: Message) -> StreamPosition | None:
        retention = None if message.skip_history else message.rule.retention
        keep: Keeper | None = None
        if retention is not None:
            keep = partial(self._streams.append, message.channel, retention=retention)
        return self._hub.publish(
            message.channel,
            message.data,
            rule=message.rule,
            source=message.source,
            info=message.info,
            tags=message.tags,
            parent=message.parent,
            keep=keep,
        )

    async def read(self, channel: str, query: StreamQuery) -> StreamPage:
        """Return what is kept of a channel with history, and its position."""
        return self._streams.read(channel, query)

    async def clear(self, channel: str) -> None:
        """Drop what is kept of a channel; its position stays."""
        self._streams.clear(channel)

    async def presence(self, channel: str) -> Mapping[str, PresentClient]:
        """Return who is in a channel, by client id."""
        return self._presence.of(channel)

    def enter(self, channel: str, client_id: str, client: PresentClient) -> None:
        """Note that a client is in a channel."""
        self._presence.enter(channel, client_id, client)

    def leave(self, channel: str, client_id: str) -> None:
        """Note that a client left a channel."""
        self._presence.leave(channel, client_id)

    def announce(self, channel: str, push: bytes) -> None:
        """Send a join or leave push to the subscribers that listen to them."""
        self._hub.announce(channel, push)
