"""Outgoing HTTP: one pool of connections for everything the process requests.

Owns aiohttp's session and connector, translates their errors, counts and traces requests. It
does not retry and does not judge statuses: that is for the callers.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from opentelemetry.trace import TracerProvider, get_current_span
from yarl import URL

from alerts.clock import Clock
from service import __version__
from service.config.settings import HTTPPoolSettings
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http_counts import CountingConnector, EndpointStats, HTTPPoolStats, PoolCounts
from service.pools.http_tracing import (
    USUAL,
    Disclosure,
    Exchange,
    PoolSignals,
    own_words,
    request_spans,
    shown_url,
)
from service.pools.lookups import LookupResolver, Lookups
from service.pools.redirects import guarded_redirects
from service.pools.request_record import CURRENT_RECORD, RequestRecord, request_phases
from service.telemetry.instruments import Instruments
from service.telemetry.local_histograms import SeriesTable

MAX_REDIRECTS = 10
"""Redirects that are followed; the next one is an error."""

MAX_BODY_BYTES = 1024 * 1024
"""Body a caller is given unless it asks for more or less."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "QUERY"))


@dataclass(frozen=True, slots=True)
class HTTPRoute:
    """How the connection of a request is made, where that is not as usual.

    Attributes:
        ssl_context: For TLS; None: the usual one.
        server_hostname: The name the certificate must have; None: the host's.
        proxy: URL of a proxy; None: none.
        proxy_headers: Header fields for the proxy.
        public_only: Whether addresses that are not public are refused when the connection is
            made. Such requests have connections of their own, with the same limits again.
        record: Where to note how long each phase took. Such a request has a fresh connection,
            within the same limits again, and looks up names itself.
    """

    ssl_context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    proxy: str | None = None
    proxy_headers: Mapping[str, str] | None = None
    public_only: bool = False
    record: RequestRecord | None = None


_USUAL_ROUTE = HTTPRoute()


@dataclass(frozen=True, slots=True)
class HTTPAnswer:
    """A whole response.

    Attributes:
        status: HTTP status code.
        headers: Response headers; names are matched in any case.
        body: The body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class HTTPResponse:
    """A response whose body has not been read yet; valid inside its ``async with``.

    Attributes:
        status: HTTP status code.
        headers: Response headers; names are matched in any case.
        url: Where the answer came from, after redirects, without secrets.
    """

    __slots__ = ("_exchange", "_response", "headers", "status", "url")

    def __init__(self, response: aiohttp.ClientResponse, exchange: Exchange) -> None:
        self._response = response
        self._exchange = exchange
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.url = shown_url(response.url, secret_path=exchange.secret_path)

    async def read(self, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """Return the body, decompressed.

        Raises:
            HTTPRequestError: The body is larger than ``max_bytes``, the connection broke, or the
                request's time was over.
        """
        body = await self._read_past(max_bytes)
        if len(body) > max_bytes:
            raise self._exchange.fail(
                HTTPFailure.BODY_SIZE, f"the body is larger than {max_bytes} bytes"
            )
        return body

    async def read_up_to(self, max_bytes: int) -> bytes:
        """Return the beginning of the body, decompressed; the rest is not waited for.

        Raises:
            HTTPRequestError: The connection broke, or the request's time was over.
        """
        return (await self._read_past(max_bytes))[:max_bytes]

    async def _read_past(self, max_bytes: int) -> bytes:
        """Return the body, or the first chunks of it that are more than ``max_bytes``."""
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in self._response.content.iter_any():
                size += len(chunk)
                chunks.append(chunk)
                if size > max_bytes:
                    break
        except (aiohttp.ClientError, OSError) as error:
            raise self._exchange.translate(error) from self._exchange.shown_cause(error)
        return b"".join(chunks)


class HTTPConnectionPool:
    """Keep-alive connections to any number of hosts, bounded in total and per host.

    Opens on the first request, closes once; an async context manager. A request past a limit
    waits for a connection within its own timeout.
    """

    def __init__(
        self,
        settings: HTTPPoolSettings,
        *,
        instruments: Instruments,
        tracer_provider: TracerProvider,
        clock: Clock,
        name: str = "http",
    ) -> None:
        self.name = name
        self.stats = HTTPPoolStats()
        self._settings = settings
        self._wait = instruments.pool_wait.series({"gateway.pool.name": name})
        self._durations = SeriesTable(
            instruments.http_client_duration,
            "http.request.method",
            "server.address",
            "server.port",
            "http.response.status_code",
            "error.type",
        )
        self._tracer_provider = tracer_provider
        self._clock = clock
        # By whether only public addresses will do, and whether connections are fresh ones.
        self.lookups = Lookups()
        """Looks up names for fresh connections, also those of others that make such."""
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._sessions else "not opened yet"
        counts = self.counts()
        return (
            f"<HTTPConnectionPool {self.name} {state}: {counts.in_use} in use, "
            f"{counts.idle} idle, {counts.waiting} waiting, limit {counts.limit}>"
        )

    @property
    def closed(self) -> bool:
        """Whether the pool was closed; it does not open again."""
        return self._closed

    def counts(self) -> PoolCounts:
        """Return a snapshot of connections and requests, in total and per host."""
        return self.stats.snapshot(
            self._settings.max_connections,
            self._settings.max_connections_per_host,
            self._clock.monotonic(),
        )

    async def aclose(self) -> None:
        """Close every connection; requests in progress fail. Closing again does nothing."""
        self._closed = True
        sessions = tuple(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()
        self.lookups.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | str | None = None,
        timeout_s: float | None = None,
        allow_redirects: bool = True,
        disclosure: Disclosure = USUAL,
        route: HTTPRoute = _USUAL_ROUTE,
    ) -> AsyncIterator[HTTPResponse]:
        """Send a request and hold its connection while the caller looks at the response.

        Args:
            method: Request method.
            url: Absolute http or https URL.
            headers: Request headers.
            data: Request body.
            timeout_s: Seconds for everything, from asking for a connection to the last byte of
                the body; unset: the pool's timeout.
            allow_redirects: Follow up to ``MAX_REDIRECTS`` redirects; ``headers`` and ``data`` do
                not follow to another origin, see ``service.pools.redirects``.
            disclosure: What it tells of itself.
            route: How the connection is made.

        Raises:
            HTTPRequestError: No answer, or the pool is closed.
        """
        exchange = self._exchange(
            method, url, disclosure=disclosure, own_headers=headers, sends_body=bool(data)
        )
        session = self._opened(exchange, route)
        endpoint = self.stats.endpoint(exchange.url.host or "", exchange.url.port or 0)
        self.stats.requests += 1
        endpoint.active += 1
        try:
            response = await self._send(
                session,
                exchange,
                {"headers": headers, "data": data, "allow_redirects": allow_redirects},
                timeout_s,
                route,
            )
            async with response:
                yield HTTPResponse(response, exchange)
        except BaseException as error:
            exchange.interrupted(error)
            raise
        finally:
            endpoint.active -= 1
            self._finish(exchange, endpoint)

    async def fetch(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | str | None = None,
        timeout_s: float | None = None,
        allow_redirects: bool = True,
        disclosure: Disclosure = USUAL,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> HTTPAnswer:
        """Send a request and return its whole answer; arguments as for ``request``.

        Raises:
            HTTPRequestError: No answer, a body larger than ``max_bytes``, or the pool is closed.
        """
        async with self.request(
            method,
            url,
            headers=headers,
            data=data,
            timeout_s=timeout_s,
            allow_redirects=allow_redirects,
            disclosure=disclosure,
        ) as response:
            body = await response.read(max_bytes=max_bytes)
            return HTTPAnswer(response.status, response.headers, body)

    def _exchange(
        self,
        method: str,
        url: str | URL,
        *,
        disclosure: Disclosure,
        own_headers: Mapping[str, str] | None,
        sends_body: bool,
    ) -> Exchange:
        try:
            parsed = URL(url)
        except ValueError as error:  # its text may repeat the URL
            detail = "not a URL" if disclosure.secret_path else f"not a URL: {error}"
            raise HTTPRequestError(
                HTTPFailure.INVALID_URL, method, "(unreadable)", detail
            ) from None
        exchange = Exchange(
            method,
            parsed,
            self._clock.monotonic(),
            disclosure=disclosure,
            own_headers=own_headers,
            sends_body=sends_body,
        )
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise exchange.fail(
                HTTPFailure.INVALID_URL, "not an absolute URL that starts with http:// or https://"
            )
        return exchange

    def _opened(self, exchange: Exchange, route: HTTPRoute) -> aiohttp.ClientSession:
        if self._closed:
            raise exchange.fail(HTTPFailure.CLOSED, f"the {self.name} pool is closed")
        exchange.record = route.record
        kind = (route.public_only, route.record is not None)
        if kind not in self._sessions:
            self._sessions[kind] = self._open(public_only=kind[0], fresh=kind[1])
        return self._sessions[kind]

    def _open(self, *, public_only: bool, fresh: bool) -> aiohttp.ClientSession:
        settings = self._settings
        keeping: dict[str, Any] = (
            {
                "force_close": True,
                "use_dns_cache": False,
                "resolver": LookupResolver(self.lookups),
            }
            if fresh
            else {
                "keepalive_timeout": settings.keepalive_timeout,
                "use_dns_cache": settings.dns_cache_ttl > 0,
                "ttl_dns_cache": max(1, round(settings.dns_cache_ttl)),
            }
        )
        connector = CountingConnector(
            self.stats,
            public_only=public_only,
            limit=settings.max_connections,
            limit_per_host=settings.max_connections_per_host,
            **keeping,
        )
        signals = PoolSignals(self.stats, self._clock, self._wait)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"gatewatch/{__version__}"},
            # Order matters: request_spans has a span open from its own start to its own end, so
            # what adds to the span at the start stands after it, and at the end before it.
            trace_configs=[
                signals.trace_config(),
                request_spans(self._tracer_provider),
                own_words(),
                guarded_redirects(),
                *([request_phases()] if fresh else []),
            ],
        )

    async def _send(
        self,
        session: aiohttp.ClientSession,
        exchange: Exchange,
        options: dict[str, Any],
        timeout_s: float | None,
        route: HTTPRoute,
    ) -> aiohttp.ClientResponse:
        settings = self._settings
        recording = CURRENT_RECORD.set(route.record)
        try:
            response = await session.request(
                exchange.method,
                exchange.url,
                **options,
                ssl=True if route.ssl_context is None else route.ssl_context,
                server_hostname=route.server_hostname,
                proxy=route.proxy,
                proxy_headers=route.proxy_headers,
                timeout=aiohttp.ClientTimeout(
                    total=settings.timeout if timeout_s is None else timeout_s,
                    sock_connect=settings.connect_timeout,
                    ceil_threshold=math.inf,  # do not round up to whole seconds
                ),
                # aiohttp counts the redirect it refuses, not the last one it follows
                max_redirects=MAX_REDIRECTS + 1,
                trace_request_ctx=exchange,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not by way of a variable: the error would hold the frame that holds the error, and
            # with it the whole request, until the garbage is collected.
            raise self._failure(exchange, error) from exchange.shown_cause(error)
        finally:
            CURRENT_RECORD.reset(recording)
        if route.record is not None and response.version is not None:
            route.record.http_version = f"{response.version.major}.{response.version.minor}"
        exchange.status = response.status
        return response

    def _failure(self, exchange: Exchange, error: BaseException) -> HTTPRequestError:
        # The frames of the libraries that connect hold the errors that hold them.
        if isinstance(error, aiohttp.ClientConnectorError):
            error.os_error.with_traceback(None)
        if isinstance(error, aiohttp.ClientConnectorError | TimeoutError):
            error.with_traceback(None)
        if self._closed:
            return exchange.fail(HTTPFailure.CLOSED, f"the {self.name} pool was closed")
        return exchange.translate(error)

    def _finish(self, exchange: Exchange, endpoint: EndpointStats) -> None:
        """Count how an exchange ended and record how long it took."""
        if exchange.failure is not None:
            endpoint.errors += 1
            reason = exchange.failure.value
            self.stats.errors[reason] = self.stats.errors.get(reason, 0) + 1
        method = exchange.method if exchange.method in _METHODS else "_OTHER"
        series = self._durations.of(
            method, endpoint.host, endpoint.port, exchange.status or 0, exchange.error_type
        )
        duration_s = self._clock.monotonic() - exchange.started
        series.record(duration_s)
        made_for = get_current_span().get_span_context()
        if made_for.trace_flags.sampled:
            series.point_to(made_for, duration_s, int(self._clock.time() * 1e9))
