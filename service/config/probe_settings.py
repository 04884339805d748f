"""What a health check looks at: one section for each kind of probe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, model_validator

from service.config.section import Section
from service.config.types import contradiction


class HTTPProbeSettings(Section):
    """A request whose answer says whether something works."""

    url: AnyHttpUrl
    """What to request."""
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = "GET"
    """Request method."""
    headers: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Request headers."""
    body: str = ""
    """Request body."""
    expected_status: tuple[Annotated[int, Field(ge=100, le=599, strict=True)], ...] = ()
    """Statuses that count as success; empty: every 2xx."""
    follow_redirects: bool = True
    """Follow up to 10 redirects."""
    send_traceparent: bool = True
    """Send `traceparent`, so that what is checked can go on with the trace of the check."""

    @model_validator(mode="after")
    def _credentials_once(self) -> Self:
        given = next((name for name in self.headers if name.lower() == "authorization"), None)
        if given is not None and (self.url.username or self.url.password):
            raise contradiction(
                "the credentials in the URL are sent as the header Authorization as well: "
                "remove the one or the other",
                ("headers", given),
                ("url",),
            )
        return self
