"""Errors of the connection pools.

PoolError
└── HTTPRequestError    a request that got no usable answer, with the reason as a closed set
"""

from __future__ import annotations

from enum import StrEnum

from service.errors import GatewatchError


class PoolError(GatewatchError):
    """A pool that is full, closed, or could not do what it was asked."""


class HTTPFailure(StrEnum):
    """Why a request got no usable answer; the values are the metric label ``error.type``."""

    CLOSED = "closed"
    POOL_WAIT = "pool_wait"
    CONNECT_TIMEOUT = "connect_timeout"
    TIMEOUT = "timeout"
    DNS = "dns"
    ADDRESS = "address"
    CONNECT = "connect"
    TLS = "tls"
    DISCONNECTED = "disconnected"
    REDIRECTS = "redirects"
    PROTOCOL = "protocol"
    BODY = "body"
    BODY_SIZE = "body_size"
    INVALID_URL = "invalid_url"
    OTHER = "other"


class HTTPRequestError(PoolError):
    """A request that got no usable answer.

    Attributes:
        reason: Which of the known ways it failed.
        method: Request method.
        url: What was requested, without credentials, query and other secrets.
        detail: What happened, for a person.
    """

    def __init__(self, reason: HTTPFailure, method: str, url: str, detail: str) -> None:
        self.reason = reason
        self.method = method
        self.url = url
        self.detail = detail
        super().__init__(f"{method} {url}: {detail}")
