"""The metrics of HTTP requests that go out, and of their connections."""

from __future__ import annotations

from typing import Final

from alerts.telemetry import SECONDS_BOUNDARIES
from service.telemetry.definitions.defining import WAIT_BOUNDARIES, define

HTTP_CLIENT_DURATION: Final = define(
    "histogram",
    "http.client.request.duration",
    "s",
    "Duration of an outgoing HTTP request.",
    "http.request.method",
    "server.address",
    "server.port",
    "http.response.status_code",
    "error.type",
    boundaries=SECONDS_BOUNDARIES,
)
HTTP_CLIENT_OPEN: Final = define(
    "up_down_counter",
    "http.client.open_connections",
    "{connection}",
    "Outgoing HTTP connections.",
    "server.address",
    "server.port",
    "http.connection.state",
)
HTTP_CLIENT_ACTIVE: Final = define(
    "up_down_counter",
    "http.client.active_requests",
    "{request}",
    "Outgoing HTTP requests in progress.",
    "server.address",
    "server.port",
)
POOL_LIMIT: Final = define(
    "up_down_counter",
    "gateway.pool.limit",
    "{connection}",
    "Connections a pool may open.",
    "gateway.pool.name",
)
POOL_WAITING: Final = define(
    "up_down_counter",
    "gateway.pool.waiting",
    "{request}",
    "Requests waiting for a connection.",
    "gateway.pool.name",
)
POOL_WAIT: Final = define(
    "histogram",
    "gateway.pool.wait",
    "s",
    "How long a request waited for a connection.",
    "gateway.pool.name",
    boundaries=WAIT_BOUNDARIES,
)
POOL_CREATED: Final = define(
    "counter",
    "gateway.pool.connections.created",
    "{connection}",
    "Connections opened.",
    "gateway.pool.name",
)
POOL_REUSED: Final = define(
    "counter",
    "gateway.pool.connections.reused",
    "{connection}",
    "Requests that found an open connection.",
    "gateway.pool.name",
)
POOL_ERRORS: Final = define(
    "counter",
    "gateway.pool.errors",
    "{request}",
    "Requests that ended without an answer.",
    "gateway.pool.name",
    "error.type",
)
POOL_TIMEOUTS: Final = define(
    "counter",
    "gateway.pool.timeouts",
    "{timeout}",
    "Requests whose time was over; also among gateway.pool.errors. error.type says where it went.",
    "gateway.pool.name",
    "error.type",
)

DEFINITIONS: Final = (
    HTTP_CLIENT_DURATION,
    HTTP_CLIENT_OPEN,
    HTTP_CLIENT_ACTIVE,
    POOL_LIMIT,
    POOL_WAITING,
    POOL_WAIT,
    POOL_CREATED,
    POOL_REUSED,
    POOL_ERRORS,
    POOL_TIMEOUTS,
)
"""All of them, in order."""
