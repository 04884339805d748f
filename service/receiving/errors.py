"""Why a request to the receiver is refused as a whole."""

from __future__ import annotations

from typing import Literal

from service.errors import GatewatchError

RefusedRequest = Literal["malformed", "too_large", "unsupported", "overloaded", "starting", "slow"]
"""Why no part of a request was taken; fit for a metric attribute."""


class ReceivingError(GatewatchError):
    """A request nothing was taken of.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: RefusedRequest, message: str) -> None:
        self.reason: RefusedRequest = reason
        super().__init__(message)
