"""The error of the series store: a sample or a request it refuses."""

from __future__ import annotations

from typing import Literal

from alerts.errors import AlertsError

RefusalReason = Literal["out_of_order", "duplicate_timestamp", "duplicate_series", "unknown_row"]


class SeriesError(AlertsError, ValueError):
    """Samples the store does not take; the whole append had no effect.

    Attributes:
        reason: Why, fit for a metric attribute.
    """

    def __init__(self, reason: RefusalReason, message: str) -> None:
        self.reason: RefusalReason = reason
        super().__init__(message)
