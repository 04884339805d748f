"""The metrics of HTTP requests that come in."""

from __future__ import annotations

from typing import Final

from alerts.telemetry import SECONDS_BOUNDARIES
from service.telemetry.definitions.defining import define

HTTP_SERVER_DURATION: Final = define(
    "histogram",
    "http.server.request.duration",
    "s",
    "Duration of an HTTP request; WebSocket upgrades are not counted here.",
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "url.scheme",
    "error.type",
    boundaries=SECONDS_BOUNDARIES,
)
HTTP_SERVER_ACTIVE: Final = define(
    "up_down_counter", "http.server.active_requests", "{request}", "HTTP requests being handled."
)

DEFINITIONS: Final = (
    HTTP_SERVER_DURATION,
    HTTP_SERVER_ACTIVE,
)
"""All of them, in order."""
