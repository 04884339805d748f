"""The metrics of calls of back ends, and of the keys of tokens that are fetched from them."""

from __future__ import annotations

from typing import Final

from alerts.telemetry import SECONDS_BOUNDARIES
from service.telemetry.definitions.defining import define

TOKEN_KEYS_AGE: Final = define(
    "gauge",
    "gateway.token.keys.age",
    "s",
    "Time since the key set of a jwks_url was fetched.",
    "gateway.token.kind",
)
TOKEN_KEYS_FETCHES: Final = define(
    "counter",
    "gateway.token.keys.fetches",
    "{fetch}",
    "Fetches of the key set of a jwks_url; error.type says which failed.",
    "gateway.token.kind",
    "error.type",
)
PROXY_DURATION: Final = define(
    "histogram",
    "gateway.proxy.duration",
    "s",
    "How long a client waited for a back end, repetitions included.",
    "gateway.proxy.event",
    "gateway.proxy.upstream",
    "gateway.proxy.template",
    "gateway.proxy.outcome",
    boundaries=SECONDS_BOUNDARIES,
)
PROXY_CIRCUIT: Final = define(
    "gauge",
    "gateway.proxy.circuit.state",
    "{state}",
    "Whether a back end is asked: 0 yes, 1 one request tries it, 2 it is left alone.",
    "gateway.proxy.upstream",
)
PROXY_ACTIVE: Final = define(
    "up_down_counter",
    "gateway.proxy.active_requests",
    "{request}",
    "Requests to back ends in progress.",
    "gateway.proxy.upstream",
)
PROXY_RETRIES: Final = define(
    "counter",
    "gateway.proxy.retries",
    "{request}",
    "Requests to back ends that were sent again.",
    "gateway.proxy.upstream",
)

DEFINITIONS: Final = (
    TOKEN_KEYS_AGE,
    TOKEN_KEYS_FETCHES,
    PROXY_DURATION,
    PROXY_CIRCUIT,
    PROXY_ACTIVE,
    PROXY_RETRIES,
)
"""All of them, in order."""
