"""Why a notification was not accepted."""

from __future__ import annotations

from enum import StrEnum

from alerts.errors import AlertsError


class FailureReason(StrEnum):
    """Short names of the ways a delivery fails; the values of ``error.type`` in the metrics."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    THROTTLED = "throttled"
    REFUSED = "refused"
    REDIRECTED = "redirected"
    RECEIVER_REMOVED = "receiver_removed"
    TEMPLATE = "template"
    CONFIGURATION = "configuration"
    ADDRESS = "address"
    TOO_LARGE = "too_large"
    STORAGE = "storage"
    UNEXPECTED = "unexpected"


class DeliveryError(AlertsError):
    """A notification a receiver did not accept.

    Attributes:
        reason: In which way.
        permanent: Whether repeating it as it is makes no sense.
        retry_after_s: How long the receiver asks to be left alone, in seconds; None: not said.
    """

    def __init__(
        self,
        message: str,
        reason: FailureReason,
        *,
        permanent: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent
        self.retry_after_s = retry_after_s
