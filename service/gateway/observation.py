"""The gateway's counts as metrics. Read on the collector's thread: copies and integers only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from service.gateway.batcher import FlushReason
from service.gateway.gateway import Gateway
from service.gateway.hub import BATCHER_NAME
from service.gateway.redis.stats import ERROR_REASONS
from service.gateway.upstream import Upstream
from service.telemetry import instruments
from service.telemetry.observers import Observers

if TYPE_CHECKING:  # an optional extra
    from service.gateway.redis.broker import RedisBroker

Values = Iterable[tuple[float, Mapping[str, str]]]

_BATCHER: Final = {"gateway.batcher.name": BATCHER_NAME}


class GatewayObservation:
    """Reads one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        """Say which."""
        self._stats = gateway.stats
        self._connections = gateway.connections
        self._hub = gateway.hub
        self._streams = gateway.streams.stats
        self._history_limit = gateway.streams.max_bytes
        self._batcher = gateway.hub.batcher_stats
        self._broker = gateway.redis_broker
        self._authenticator = gateway.authenticator
        self._upstreams = tuple(gateway.proxy.upstreams()) if gateway.proxy is not None else ()

    def register(self, observers: Observers) -> None:
        """Have every count of the gateway read at each collection."""
        stats, batcher = self._stats, self._batcher
        observe = observers.observe
        observe(instruments.CONNECTION_COUNT, self._count)
        observe(instruments.CONNECTION_LIMIT, self._limit)
        observe(instruments.CONNECTION_HANDSHAKES, self._handshakes)
        observe(instruments.CONNECTION_CLOSED, self._closed)
        observe(instruments.SUBSCRIPTION_COUNT, lambda: [(stats.subscriptions, {})])
        observe(instruments.CHANNEL_COUNT, lambda: [(len(self._hub), {})])
        observe(instruments.SEND_QUEUE_USAGE, lambda: [(self._connections.stats.queued_bytes, {})])
        observe(
            instruments.SEND_QUEUE_LARGEST,
            lambda: [(self._connections.stats.largest_queue_bytes, {})],
        )
        observe(
            instruments.SEND_QUEUE_OVER_THRESHOLD,
            lambda: [(self._connections.stats.large_queues, {})],
        )
        observe(instruments.MESSAGE_RECEIVED, self._received)
        observe(instruments.MESSAGE_DELIVERED, lambda: [(stats.delivered, {})])
        observe(instruments.MESSAGE_DROPPED, self._dropped)
        observe(instruments.MESSAGE_CONFLATED, lambda: [(stats.conflated, {})])
        observe(
            instruments.RECOVERIES,
            lambda: [
                (stats.recovered, {}),
                (stats.unrecovered, {"error.type": "unrecoverable_position"}),
            ],
        )
        observe(instruments.POSITIONS_LOST, lambda: [(stats.positions_lost, {})])
        observe(instruments.MESSAGE_IO, self._io)
        observe(instruments.COMMANDS, self._commands)
        observe(
            instruments.PROXY_CIRCUIT, self._of_upstreams(lambda each: each.circuit.state.value)
        )
        observe(instruments.PROXY_ACTIVE, self._of_upstreams(lambda each: each.stats.active))
        observe(instruments.PROXY_RETRIES, self._of_upstreams(lambda each: each.stats.retries))
        observe(instruments.TOKEN_KEYS_AGE, self._ages_of_keys)
        observe(instruments.TOKEN_KEYS_FETCHES, self._fetches_of_keys)
        observe(instruments.BATCH_ITEMS, lambda: [(batcher.items, _BATCHER)])
        observe(instruments.BATCH_FLUSHES, self._flushes)
        observe(instruments.BATCH_BYTES, lambda: [(batcher.bytes, _BATCHER)])
        observe(instruments.BATCH_QUEUE_SIZE, lambda: [(batcher.pending, _BATCHER)])
        observe(
            instruments.BATCH_QUEUE_CAPACITY, lambda: [(self._hub.limits.max_pending, _BATCHER)]
        )
        observe(instruments.BATCH_RETRIES, lambda: [(batcher.retries, _BATCHER)])
        observe(instruments.BATCH_FAILED_ITEMS, lambda: [(batcher.failed_items, _BATCHER)])

        if self._broker is not None:
            self._register_broker(observers, self._broker)
        else:
            self._register_history(observers)

    def _register_history(self, observers: Observers) -> None:
        streams, observe = self._streams, observers.observe
        observe(instruments.HISTORY_COUNT, lambda: [(streams.items, {})])
        observe(instruments.HISTORY_USAGE, lambda: [(streams.bytes, {})])
        observe(instruments.HISTORY_LIMIT, lambda: [(self._history_limit, {})])
        observe(instruments.HISTORY_EVICTED, lambda: [(streams.evicted, {})])

    def _register_broker(self, observers: Observers, broker: RedisBroker) -> None:
        stats, observe = broker.redis_stats, observers.observe
        observe(instruments.BROKER_CONNECTIONS, lambda: [(stats.connected, {})])
        observe(instruments.BROKER_AWAY, lambda: [(int(bool(broker.away)), {})])
        observe(instruments.BROKER_QUEUE_SIZE, lambda: [(broker.waiting, {})])
        observe(instruments.BROKER_RECONNECTS, lambda: [(stats.reconnects, {})])
        observe(
            instruments.BROKER_ERRORS,
            lambda: [(stats.errors[reason], {"error.type": reason}) for reason in ERROR_REASONS],
        )
        observe(
            instruments.BROKER_MESSAGES,
            lambda: [
                (stats.received - stats.unreadable, {}),
                (stats.unreadable, {"error.type": "unreadable"}),
            ],
        )

    def _of_upstreams(self, value: Callable[[Upstream], int]) -> Callable[[], Values]:
        return lambda: [
            (value(each), {"gateway.proxy.upstream": each.name}) for each in self._upstreams
        ]

    def _ages_of_keys(self) -> Values:
        for kind, key_set in self._authenticator.verifiers.key_sets().items():
            if (age_s := key_set.age_s) is not None:
                yield age_s, {"gateway.token.kind": kind}

    def _fetches_of_keys(self) -> Values:
        for kind, stats in self._authenticator.key_set_stats.items():
            token = {"gateway.token.kind": kind}
            if stats.fetched:
                yield stats.fetched, token
            for cause, count in stats.failed.copy().items():
                yield count, token | {"error.type": cause}

    def _count(self) -> Values:
        attributes = {"gateway.connection.state": "open", "gateway.transport": "websocket"}
        return [(len(self._connections), attributes)]

    def _limit(self) -> Values:
        return [(self._connections.policy.max_connections, {})]

    def _handshakes(self) -> Values:
        stats = self._connections.stats
        refused = [(count, {"error.type": cause}) for cause, count in stats.refused.copy().items()]
        return [(stats.accepted, {}), *refused]

    def _closed(self) -> Values:
        closed = self._connections.stats.closed.copy()
        return [(count, {"gateway.close.code": str(code)}) for code, count in closed.items()]

    def _received(self) -> Values:
        received = self._stats.received
        return [
            (received[source], {"gateway.message.source": source}) for source in ("api", "client")
        ]

    def _dropped(self) -> Values:
        return [(self._stats.dropped["slow_consumer"], {"error.type": "slow_consumer"})]

    def _io(self) -> Values:
        return [
            (self._stats.bytes_in, {"network.io.direction": "receive"}),
            (self._stats.bytes_out, {"network.io.direction": "transmit"}),
        ]

    def _commands(self) -> Values:
        for (method, error), count in self._stats.commands.copy().items():
            attributes = {"messaging.operation.name": method}
            yield count, attributes | {"error.type": error} if error else attributes

    def _flushes(self) -> Values:
        for reason in FlushReason:
            yield self._batcher.flushes[reason], _BATCHER | {"gateway.flush.reason": reason.value}
