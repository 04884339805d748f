"""How notifications leave the process: HTTP as the library needs it, given by whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from alerts.errors import AlertsError


class TransportError(AlertsError):
    """No answer came: the connection failed, or it took too long.

    Attributes:
        is_timeout: Whether time ran out.
    """

    def __init__(self, message: str, *, is_timeout: bool = False) -> None:
        super().__init__(message)
        self.is_timeout = is_timeout


@dataclass(frozen=True, slots=True)
class TransportResponse:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Header fields; looked up without regard to case by ``header``.
        body: The answer's body, or as much of it as the transport cares to read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header field, empty when it is absent."""
        wanted = name.lower()
        return next(
            (value for key, value in self.headers.items() if key.lower() == wanted),
            "",
        )


class Transport(Protocol):
    """Sends HTTP requests."""

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> TransportResponse:
        """Post a body and return the answer, whatever its status.

        Redirects are not followed: a POST that is redirected loses its body on the way. The URL
        may hold a token, so it must not be logged. ``timeout_s`` covers everything from
        connecting to the end of the body.

        Raises:
            TransportError: There was no answer.
        """
