"""How notifications leave the process: HTTP as the library needs it, given by whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from alerts.errors import AlertsError
from alerts.notify.secret import Secret


class TransportError(AlertsError):
    """No answer came: the connection failed, or it took too long.

    Attributes:
        is_timeout: Whether time ran out.
        is_address_refused: Whether the address may not be reached; asking again changes nothing.
    """

    def __init__(
        self, message: str, *, is_timeout: bool = False, is_address_refused: bool = False
    ) -> None:
        super().__init__(message)
        self.is_timeout = is_timeout
        self.is_address_refused = is_address_refused


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """How TLS connections are made; texts are PEM, files are read when they changed.

    Attributes:
        ca: Certificates that are trusted instead of the machine's.
        ca_file: A file of such certificates.
        cert: The certificate to show.
        cert_file: A file with it.
        key: Its key.
        key_file: A file with it.
        server_name: The name the certificate must have, if not the host's.
        insecure_skip_verify: Whether any certificate will do.
        min_version: Lowest version, such as ``TLS12``; empty: the library's.
        max_version: Highest version.
    """

    ca: str = ""
    ca_file: str = ""
    cert: str = ""
    cert_file: str = ""
    key: Secret | None = None
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: str = ""
    max_version: str = ""


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """Through which proxy connections are made.

    Attributes:
        url: The proxy; None: none, or that of the environment.
        no_proxy: Hosts that are reached without it, as in the variable ``NO_PROXY``.
        from_environment: Whether the environment's variables say.
        connect_headers: Header fields for the proxy.
    """

    url: Secret | None = None
    no_proxy: str = ""
    from_environment: bool = False
    connect_headers: tuple[tuple[str, Secret], ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How a connection is made.

    Attributes:
        tls: Options of TLS.
        proxy: Options of proxies.
        public_only: Whether addresses of this machine and of private networks are refused, when
            the connection is made, whatever the name resolves to then.
    """

    tls: TLSOptions = field(default_factory=TLSOptions)
    proxy: ProxyOptions = field(default_factory=ProxyOptions)
    public_only: bool = False


@dataclass(frozen=True, slots=True)
class TransportRequest:
    """A request.

    Attributes:
        method: HTTP method.
        url: Where to; it may hold a token, so it must not be logged.
        headers: Header fields; they may hold credentials.
        body: The body.
        timeout_s: Longest wait, from connecting to the end of the answer's body, in seconds.
        connection: How the connection is made.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout_s: float = 30.0
    connection: ConnectionOptions = field(default_factory=ConnectionOptions)


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

    async def send(self, request: TransportRequest) -> TransportResponse:
        """Send a request and return the answer, whatever its status.

        Redirects are not followed: that is for the caller, who knows what may go where.

        Raises:
            TransportError: There was no answer.
        """
