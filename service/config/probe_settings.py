"""The settings of HTTP checks, and the options of TLS that several kinds of checks have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, model_validator

from service.config.section import Section
from service.config.types import Secret, Size, contradiction


class ProbeTLSSettings(Section):
    """How a check's TLS connections are made."""

    ca_file: Path | None = None
    """Certificates that are trusted instead of the machine's, in PEM."""
    cert_file: Path | None = None
    """A certificate to show to the server, in PEM."""
    key_file: Path | None = None
    """Its key."""
    server_name: str = ""
    """The name the certificate must have; empty: the host's."""
    verify: bool = True
    """Whether the certificate is verified."""
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"
    """Lowest version that will do."""

    @model_validator(mode="after")
    def _with_key(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise contradiction(
                "cert_file and key_file are set together or not at all",
                ("cert_file",),
                ("key_file",),
            )
        return self


class ProbeBasicAuthSettings(Section):
    """A user and a password."""

    username: str
    """The user."""
    password: Secret | None = None
    """The password."""


class ProbeOAuth2Settings(Section):
    """Credentials of a client, for which a server gives tokens (grant `client_credentials`)."""

    token_url: AnyHttpUrl
    """Where tokens are given."""
    client_id: str
    """Who asks."""
    client_secret: Secret
    """The client's secret."""
    scopes: tuple[str, ...] = ()
    """What the tokens shall be good for."""


class HTTPProbeSettings(Section):
    """A request whose answer says whether something works."""

    url: AnyHttpUrl
    """What to request."""
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "DELETE"] = "GET"
    """Request method."""
    headers: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Request headers."""
    body: str = ""
    """Request body."""
    basic_auth: ProbeBasicAuthSettings | None = None
    """A user and a password to send."""
    bearer_token: Secret | None = None
    """A token to send."""
    oauth2: ProbeOAuth2Settings | None = None
    """Credentials for which a server gives tokens."""
    expected_status: tuple[Annotated[int, Field(ge=100, le=599, strict=True)], ...] = ()
    """Statuses that count as success; empty: every 2xx, or what conditions on [STATUS] say."""
    follow_redirects: bool = True
    """Follow up to 10 redirects; headers and credentials do not follow to another host."""
    send_traceparent: bool = True
    """Send `traceparent`, so that what is checked can go on with the trace of the check."""
    max_body: Size = 1024 * 1024
    """Largest body that is taken; a larger one is a failure."""
    tls: ProbeTLSSettings = ProbeTLSSettings()
    """How TLS connections are made."""

    @model_validator(mode="after")
    def _credentials_once(self) -> Self:
        header = next((name for name in self.headers if name.lower() == "authorization"), None)
        ways = [("basic_auth",), ("bearer_token",), ("oauth2",)]
        given: list[tuple[str, ...]] = [way for way in ways if getattr(self, way[0]) is not None]
        if header is not None:
            given.insert(0, ("headers", header))
        if self.url.username or self.url.password:
            given.append(("url",))
        if len(given) > 1:
            raise contradiction(
                f"{_named(given[0])} and {_named(given[1])} are both sent as the header "
                "Authorization: remove the one or the other",
                *given,
            )
        return self


def _named(path: tuple[str, ...]) -> str:
    return "the credentials in the URL" if path == ("url",) else ".".join(path)
