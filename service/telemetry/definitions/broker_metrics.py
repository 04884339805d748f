"""The metrics of Redis."""

from __future__ import annotations

from typing import Final

from service.telemetry.definitions.defining import WAIT_BOUNDARIES, define

BROKER_CONNECTIONS: Final = define(
    "up_down_counter",
    "gateway.broker.connections",
    "{connection}",
    "Connections to Redis that are up.",
)
BROKER_AWAY: Final = define(
    "gauge",
    "gateway.broker.away",
    "1",
    "1 while channels cannot be used because Redis is away, else 0.",
)
BROKER_QUEUE_SIZE: Final = define(
    "up_down_counter",
    "gateway.broker.queue.size",
    "{command}",
    "Commands that wait for the answers of Redis.",
)
BROKER_RECONNECTS: Final = define(
    "counter",
    "gateway.broker.reconnects",
    "{connection}",
    "Connections to Redis that were lost.",
)
BROKER_ERRORS: Final = define(
    "counter",
    "gateway.broker.errors",
    "{command}",
    "Commands without success, publications among them; error.type says why.",
    "error.type",
)
BROKER_MESSAGES: Final = define(
    "counter",
    "gateway.broker.messages",
    "{message}",
    "Messages that came from Redis; error.type says which could not be read.",
    "error.type",
)
BROKER_ROUNDTRIP: Final = define(
    "histogram",
    "gateway.broker.roundtrip.duration",
    "s",
    "How long commands took, from asking to the answer of Redis.",
    boundaries=WAIT_BOUNDARIES,
)

DEFINITIONS: Final = (
    BROKER_CONNECTIONS,
    BROKER_AWAY,
    BROKER_QUEUE_SIZE,
    BROKER_RECONNECTS,
    BROKER_ERRORS,
    BROKER_MESSAGES,
    BROKER_ROUNDTRIP,
)
"""All of them, in order."""
