"""Errors and disconnects of the Centrifuge client protocol.

Source: Centrifuge client protocol, JSON, version 2; the numbers and words are Centrifugo's.
GatewayError
├── ProtocolError          the answer to one command is an error; the connection goes on
├── DisconnectError        the connection ends with a code
├── AnswerError            a back end's answer that is not in the format (proxy_fields)
├── UpstreamError          a back end that could not be asked or did not answer (upstream)
└── Token..., Keys...      service.gateway.token_errors: why a token does not let its client in
"""

from __future__ import annotations

from typing import Final

from service.errors import GatewatchError
from service.pools.websocket import CloseReason


class GatewayError(GatewatchError):
    """Base of what the gateway raises on purpose."""


class ProtocolError(GatewayError):
    """A command that is answered with an error.

    Attributes:
        code: 100 to 399 by the protocol, 400 to 1999 by back ends.
        message: Short, for logs of the client's developer.
        temporary: Whether the client should try again.
    """

    def __init__(self, code: int, message: str, *, temporary: bool = False) -> None:
        self.code = code
        self.message = message
        self.temporary = temporary
        super().__init__(f"{code}: {message}")


class DisconnectError(GatewayError):
    """A violation or a state that ends the connection.

    Attributes:
        close: Code and words of the close frame.
        detail: What happened, for our log; never sent.
    """

    def __init__(self, close: CloseReason, detail: str) -> None:
        self.close = close
        self.detail = detail
        super().__init__(f"{close.code} {close.reason}: {detail}")


def internal_error() -> ProtocolError:
    """Return error 100: the fault is ours, and trying again may help."""
    return ProtocolError(100, "internal server error", temporary=True)


def unknown_channel() -> ProtocolError:
    """Return error 102: the namespace of the channel is not configured."""
    return ProtocolError(102, "unknown channel")


def permission_denied() -> ProtocolError:
    """Return error 103."""
    return ProtocolError(103, "permission denied")


def method_not_found() -> ProtocolError:
    """Return error 104."""
    return ProtocolError(104, "method not found")


def already_subscribed() -> ProtocolError:
    """Return error 105."""
    return ProtocolError(105, "already subscribed")


def limit_exceeded() -> ProtocolError:
    """Return error 106."""
    return ProtocolError(106, "limit exceeded")


def bad_request(detail: str = "") -> ProtocolError:
    """Return error 107; the detail says what would be right."""
    return ProtocolError(107, f"bad request: {detail}" if detail else "bad request")


def not_available() -> ProtocolError:
    """Return error 108: the feature is not there, or not for this channel."""
    return ProtocolError(108, "not available")


def too_many_requests() -> ProtocolError:
    """Return error 111: more at once than is taken; trying again later helps."""
    return ProtocolError(111, "too many requests", temporary=True)


def token_expired() -> ProtocolError:
    """Return error 109: the client should get a new token and try again."""
    return ProtocolError(109, "token expired")


def expired() -> ProtocolError:
    """Return error 110: what the token gives was over before it began."""
    return ProtocolError(110, "expired")


def unrecoverable_position() -> ProtocolError:
    """Return error 112: the stream does not reach back to the position that was given."""
    return ProtocolError(112, "unrecoverable position")


UNSUBSCRIBED: Final = CloseReason(2000, "server unsubscribe")
SUBSCRIPTION_EXPIRED: Final = CloseReason(2501, "subscription expired")
"""Ends a subscription, not a connection, after which clients subscribe with a new token."""
LOST_POSITION: Final = CloseReason(2500, "insufficient state")
"""Ends a subscription, not a connection; clients subscribe again and recover."""

# Disconnects after which clients come back.
CONNECTION_IDLE: Final = CloseReason(3000, "connection idle")
SHUTDOWN: Final = CloseReason(3001, "shutdown")
INTERNAL_ERROR: Final = CloseReason(3004, "internal server error")
CONNECTION_EXPIRED: Final = CloseReason(3005, "connection expired")
SERVER_SUBSCRIPTION_EXPIRED: Final = CloseReason(3006, "subscription expired")
SLOW: Final = CloseReason(3008, "slow")
WRITE_ERROR: Final = CloseReason(3009, "write error")
INSUFFICIENT_STATE: Final = CloseReason(3010, "insufficient state")
NO_PONG: Final = CloseReason(3012, "no pong")

# Disconnects after which clients stay away.
INVALID_TOKEN: Final = CloseReason(3500, "invalid token")
BAD_REQUEST: Final = CloseReason(3501, "bad request")
STALE: Final = CloseReason(3502, "stale")
FORCE_DISCONNECT: Final = CloseReason(3503, "force disconnect")
CHANNEL_LIMIT: Final = CloseReason(3505, "channel limit")
PERMISSION_DENIED: Final = CloseReason(3507, "permission denied")
TOO_MANY_ERRORS: Final = CloseReason(3509, "too many errors")
NOT_AVAILABLE: Final = CloseReason(3508, "not available")
