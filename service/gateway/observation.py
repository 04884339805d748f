"""The gateway's counts as metrics. Read on the collector's thread: copies and integers only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from service.gateway.batcher import FlushReason
from service.gateway.gateway import Gateway
from service.gateway.hub import BATCHER_NAME
from service.gateway.redis.stats import ERROR_REASONS
from service.gateway.upstream import Upstream
from service.telemetry.definitions import (
    back_end_metrics,
    batch_metrics,
    broker_metrics,
    gateway_metrics,
)
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
        observe(gateway_metrics.CONNECTION_COUNT, self._count)
        observe(gateway_metrics.CONNECTION_LIMIT, self._limit)
        observe(gateway_metrics.CONNECTION_HANDSHAKES, self._handshakes)
        observe(gateway_metrics.CONNECTION_CLOSED, self._closed)
        observe(gateway_metrics.SUBSCRIPTION_COUNT, lambda: [(stats.subscriptions, {})])
        observe(gateway_metrics.CHANNEL_COUNT, lambda: [(len(self._hub), {})])
        observe(
            gateway_metrics.SEND_QUEUE_USAGE, lambda: [(self._connections.stats.queued_bytes, {})]
        )
        observe(
            gateway_metrics.SEND_QUEUE_LARGEST,
            lambda: [(self._connections.stats.largest_queue_bytes, {})],
        )
        observe(
            gateway_metrics.SEND_QUEUE_OVER_THRESHOLD,
            lambda: [(self._connections.stats.large_queues, {})],
        )
        observe(gateway_metrics.MESSAGE_RECEIVED, self._received)
        observe(gateway_metrics.MESSAGE_DELIVERED, lambda: [(stats.delivered, {})])
        observe(gateway_metrics.MESSAGE_DROPPED, self._dropped)
        observe(gateway_metrics.MESSAGE_CONFLATED, lambda: [(stats.conflated, {})])
        observe(
            gateway_metrics.RECOVERIES,
            lambda: [
                (stats.recovered, {}),
                (stats.unrecovered, {"error.type": "unrecoverable_position"}),
            ],
        )
        observe(gateway_metrics.POSITIONS_LOST, lambda: [(stats.positions_lost, {})])
        observe(gateway_metrics.MESSAGE_IO, self._io)
        observe(gateway_metrics.COMMANDS, self._commands)
        observe(
            back_end_metrics.PROXY_CIRCUIT,
            self._of_upstreams(lambda each: each.circuit.state.value),
        )
        observe(back_end_metrics.PROXY_ACTIVE, self._of_upstreams(lambda each: each.stats.active))
        observe(back_end_metrics.PROXY_RETRIES, self._of_upstreams(lambda each: each.stats.retries))
        observe(back_end_metrics.TOKEN_KEYS_AGE, self._ages_of_keys)
        observe(back_end_metrics.TOKEN_KEYS_FETCHES, self._fetches_of_keys)
        observe(batch_metrics.BATCH_ITEMS, lambda: [(batcher.items, _BATCHER)])
        observe(batch_metrics.BATCH_FLUSHES, self._flushes)
        observe(batch_metrics.BATCH_BYTES, lambda: [(batcher.bytes, _BATCHER)])
        observe(batch_metrics.BATCH_QUEUE_SIZE, lambda: [(batcher.pending, _BATCHER)])
        observe(
            batch_metrics.BATCH_QUEUE_CAPACITY, lambda: [(self._hub.limits.max_pending, _BATCHER)]
        )
        observe(batch_metrics.BATCH_RETRIES, lambda: [(batcher.retries, _BATCHER)])
        observe(batch_metrics.BATCH_FAILED_ITEMS, lambda: [(batcher.failed_items, _BATCHER)])

        if self._broker is not None:
            self._register_broker(observers, self._broker)
        else:
            self._register_history(observers)

    def _register_history(self, observers: Observers) -> None:
        streams, observe = self._streams, observers.observe
        observe(gateway_metrics.HISTORY_COUNT, lambda: [(streams.items, {})])
        observe(gateway_metrics.HISTORY_USAGE, lambda: [(streams.bytes, {})])
        observe(gateway_metrics.HISTORY_LIMIT, lambda: [(self._history_limit, {})])
        observe(gateway_metrics.HISTORY_EVICTED, lambda: [(streams.evicted, {})])

    def _register_broker(self, observers: Observers, broker: RedisBroker) -> None:
        stats, observe = broker.redis_stats, observers.observe
        observe(broker_metrics.BROKER_CONNECTIONS, lambda: [(stats.connected, {})])
        observe(broker_metrics.BROKER_AWAY, lambda: [(int(bool(broker.away)), {})])
        observe(broker_metrics.BROKER_QUEUE_SIZE, lambda: [(broker.waiting, {})])
        observe(broker_metrics.BROKER_RECONNECTS, lambda: [(stats.reconnects, {})])
        observe(
            broker_metrics.BROKER_ERRORS,
            lambda: [(stats.errors[reason], {"error.type": reason}) for reason in ERROR_REASONS],
        )
        observe(
            broker_metrics.BROKER_MESSAGES,
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
