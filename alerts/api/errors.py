"""The error of the Prometheus API: what it is called there, and the HTTP status that goes with it.

Source: Prometheus, web/api/v1/api.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from alerts.errors import AlertsError

ErrorType = Literal["bad_data", "execution", "timeout", "canceled", "unavailable", "internal"]

STATUSES: Final[Mapping[ErrorType, int]] = MappingProxyType(
    {
        "bad_data": 400,
        "execution": 422,
        "canceled": 499,
        "internal": 500,
        "timeout": 503,
        "unavailable": 503,
    }
)


class APIError(AlertsError):
    """A request that is not answered with data.

    Attributes:
        kind: What Prometheus calls this sort of error.
        status: HTTP status.
    """

    def __init__(self, kind: ErrorType, message: str) -> None:
        self.kind: Final = kind
        self.status: Final = STATUSES[kind]
        super().__init__(message)
