"""The metrics of those that other services send."""

from __future__ import annotations

from typing import Final

from service.telemetry.definitions.defining import define

RECEIVED_REQUESTS: Final = define(
    "counter",
    "gateway.otlp.requests",
    "{request}",
    "Requests with metrics of other services; those with an error were refused as a whole.",
    "error.type",
)
RECEIVED_POINTS: Final = define(
    "counter",
    "gateway.otlp.data_points",
    "{data_point}",
    "Data points of other services; those with an error were refused.",
    "error.type",
)
RECEIVED_SERVICES: Final = define(
    "up_down_counter",
    "gateway.otlp.services",
    "{service}",
    "Services that sent metrics within the last minutes.",
)
RECEIVED_SERIES: Final = define(
    "up_down_counter",
    "gateway.otlp.series",
    "{series}",
    "Series that other services sent within the last minutes.",
)

DEFINITIONS: Final = (
    RECEIVED_REQUESTS,
    RECEIVED_POINTS,
    RECEIVED_SERVICES,
    RECEIVED_SERIES,
)
"""All of them, in order."""
