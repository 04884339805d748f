"""The metrics of connections, messages, histories and subscriptions."""

from __future__ import annotations

from typing import Final

from alerts.telemetry import SECONDS_BOUNDARIES
from service.telemetry.definitions.defining import WAIT_BOUNDARIES, define

_CONNECTION_BOUNDARIES: Final = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    1800.0,
    7200.0,
    86400.0,
)

CONNECTION_COUNT: Final = define(
    "up_down_counter",
    "gateway.connection.count",
    "{connection}",
    "Open client connections.",
    "gateway.connection.state",
    "gateway.transport",
)
CONNECTION_LIMIT: Final = define(
    "up_down_counter",
    "gateway.connection.limit",
    "{connection}",
    "Client connections that may be open.",
)
CONNECTION_DURATION: Final = define(
    "histogram",
    "gateway.connection.duration",
    "s",
    "How long client connections lived.",
    "gateway.close.class",
    boundaries=_CONNECTION_BOUNDARIES,
)
CONNECTION_HANDSHAKES: Final = define(
    "counter",
    "gateway.connection.handshakes",
    "{handshake}",
    "WebSocket upgrades, accepted and refused.",
    "error.type",
)
CONNECTION_CLOSED: Final = define(
    "counter",
    "gateway.connection.closed",
    "{connection}",
    "Connections the gateway closed, by the close code it sent.",
    "gateway.close.code",
)
MESSAGE_RECEIVED: Final = define(
    "counter",
    "gateway.message.received",
    "{message}",
    "Messages accepted for delivery.",
    "gateway.message.source",
)
MESSAGE_DELIVERED: Final = define(
    "counter", "gateway.message.delivered", "{message}", "Messages written to subscribers."
)
MESSAGE_DROPPED: Final = define(
    "counter",
    "gateway.message.dropped",
    "{message}",
    "Deliveries that were not made.",
    "error.type",
)
MESSAGE_CONFLATED: Final = define(
    "counter",
    "gateway.message.conflated",
    "{message}",
    "Messages not sent because a newer one of the same channel took their place.",
)
HISTORY_COUNT: Final = define(
    "up_down_counter", "gateway.history.count", "{message}", "Messages kept in history."
)
HISTORY_USAGE: Final = define(
    "up_down_counter", "gateway.history.usage", "By", "Memory of history, about."
)
HISTORY_LIMIT: Final = define(
    "up_down_counter", "gateway.history.limit", "By", "Memory history may take."
)
HISTORY_EVICTED: Final = define(
    "counter",
    "gateway.history.evicted",
    "{message}",
    "Messages dropped from history before their time because its memory was full.",
)
RECOVERIES: Final = define(
    "counter",
    "gateway.recoveries",
    "{recovery}",
    "Subscribers that came back with a position; error.type says which could not be recovered.",
    "error.type",
)
POSITIONS_LOST: Final = define(
    "counter",
    "gateway.positions.lost",
    "{subscription}",
    "Subscriptions ended because a message was missing, so that clients recover it.",
)
MESSAGE_IO: Final = define(
    "counter",
    "gateway.message.io",
    "By",
    "Bytes of frames, headers excluded.",
    "network.io.direction",
)
MESSAGE_LATENCY: Final = define(
    "histogram",
    "gateway.message.latency",
    "s",
    "From accepting the oldest message of a batch to writing it to all subscribers.",
    "messaging.destination.template",
    boundaries=WAIT_BOUNDARIES,
)
PROCESS_DURATION: Final = define(
    "histogram",
    "messaging.process.duration",
    "s",
    "Duration of a command of a client.",
    "messaging.system",
    "messaging.operation.name",
    "error.type",
    boundaries=SECONDS_BOUNDARIES,
)
COMMANDS: Final = define(
    "counter",
    "gateway.commands",
    "{command}",
    "Commands clients sent.",
    "messaging.operation.name",
    "error.type",
)
CHANNEL_COUNT: Final = define(
    "up_down_counter",
    "gateway.channel.count",
    "{channel}",
    "Channels with at least one subscriber.",
)
SUBSCRIPTION_COUNT: Final = define(
    "up_down_counter",
    "gateway.subscription.count",
    "{subscription}",
    "Subscriptions of open connections.",
)
SEND_QUEUE_USAGE: Final = define(
    "up_down_counter",
    "gateway.send_queue.usage",
    "By",
    "Bytes waiting for clients to read them, over all connections.",
)
SEND_QUEUE_LARGEST: Final = define(
    "gauge", "gateway.send_queue.largest", "By", "Bytes waiting for the slowest client."
)
SEND_QUEUE_OVER_THRESHOLD: Final = define(
    "up_down_counter",
    "gateway.send_queue.over_threshold",
    "{connection}",
    "Connections for which more than half of gateway.max_queue_size waits.",
)

DEFINITIONS: Final = (
    CONNECTION_COUNT,
    CONNECTION_LIMIT,
    CONNECTION_DURATION,
    CONNECTION_HANDSHAKES,
    CONNECTION_CLOSED,
    MESSAGE_RECEIVED,
    MESSAGE_DELIVERED,
    MESSAGE_DROPPED,
    MESSAGE_CONFLATED,
    HISTORY_COUNT,
    HISTORY_USAGE,
    HISTORY_LIMIT,
    HISTORY_EVICTED,
    RECOVERIES,
    POSITIONS_LOST,
    MESSAGE_IO,
    MESSAGE_LATENCY,
    PROCESS_DURATION,
    COMMANDS,
    CHANNEL_COUNT,
    SUBSCRIPTION_COUNT,
    SEND_QUEUE_USAGE,
    SEND_QUEUE_LARGEST,
    SEND_QUEUE_OVER_THRESHOLD,
)
"""All of them, in order."""
