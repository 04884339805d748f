"""One outgoing request: what is known of it, its span, and the signals aiohttp sends about it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final

import aiohttp
from opentelemetry import trace
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import TracerProvider
from yarl import URL

from alerts.clock import Clock
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http_counts import CURRENT_ATTEMPT, NOT_PUBLIC, HTTPPoolStats
from service.pools.request_record import RequestRecord
from service.telemetry.local_histograms import HistogramSeries

# In this order, because aiohttp's errors inherit from each other.
_FAILURES: tuple[tuple[type[BaseException], HTTPFailure], ...] = (
    (aiohttp.InvalidURL, HTTPFailure.INVALID_URL),
    (aiohttp.NonHttpUrlClientError, HTTPFailure.INVALID_URL),
    (aiohttp.TooManyRedirects, HTTPFailure.REDIRECTS),
    (aiohttp.ClientConnectorDNSError, HTTPFailure.DNS),
    (aiohttp.ClientConnectorCertificateError, HTTPFailure.TLS),
    (aiohttp.ClientSSLError, HTTPFailure.TLS),
    (aiohttp.ClientConnectorError, HTTPFailure.CONNECT),
    (aiohttp.ConnectionTimeoutError, HTTPFailure.CONNECT_TIMEOUT),
    (TimeoutError, HTTPFailure.TIMEOUT),
    (aiohttp.ClientOSError, HTTPFailure.DISCONNECTED),
    (aiohttp.ServerDisconnectedError, HTTPFailure.DISCONNECTED),
    (aiohttp.ClientPayloadError, HTTPFailure.BODY),
    (aiohttp.ClientResponseError, HTTPFailure.PROTOCOL),
    (OSError, HTTPFailure.DISCONNECTED),
    (ValueError, HTTPFailure.INVALID_URL),
)

_DETAILS = {
    HTTPFailure.POOL_WAIT: "no connection was free in time; the pool or its share for this host "
    "is in use (pools.http.max_connections, max_connections_per_host)",
    HTTPFailure.CONNECT_TIMEOUT: "no connection was established in time",
    HTTPFailure.TIMEOUT: "no complete answer in time",
    HTTPFailure.REDIRECTS: "too many redirects",
    HTTPFailure.DISCONNECTED: "the server closed the connection without an answer",
    HTTPFailure.BODY: "the connection broke before the end of the body",
}


_TRACE_HEADERS: Final = ("traceparent", "tracestate", "baggage")


def shown_url(url: URL, *, secret_path: bool = False) -> str:
    """Return a URL as spans, logs and errors may show it: no user, password, query, fragment."""
    if not url.absolute:
        return url.path
    shown = url.with_user(None).with_query(None).with_fragment(None)
    return f"{shown.origin()}/..." if secret_path else str(shown)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What a request tells of itself, and of the trace it belongs to.

    Attributes:
        secret_path: The path of the URL is a secret, as with most webhooks: it appears neither in
            spans nor in errors.
        sends_trace: Whether it carries ``traceparent``.
        resend_count: How often it was sent before.
    """

    secret_path: bool = False
    sends_trace: bool = True
    resend_count: int = 0


USUAL: Final = Disclosure()


class Exchange:
    """One call of ``HTTPConnectionPool.request``, from start to the release of its response.

    Attributes:
        method: Request method.
        url: The first URL.
        started: Monotonic seconds.
        status: Status of the last response, when there is one.
        failure: Why there is no usable answer.
        queued: Whether it waits for a connection at this moment.
        waited_s: How long it waited for a connection because a limit was reached.
        disclosure: What it tells.
        own_headers: The headers its caller gave it, by name in lower case.
        sends_body: Whether its caller gave it a body.
        record: Where to note its phases; None: nowhere.
    """

    __slots__ = (
        "_cancelled",
        "disclosure",
        "failure",
        "method",
        "own_headers",
        "queued",
        "record",
        "sends_body",
        "started",
        "status",
        "url",
        "waited_s",
    )

    def __init__(
        self,
        method: str,
        url: URL,
        started: float,
        *,
        disclosure: Disclosure = USUAL,
        own_headers: Mapping[str, str] | None = None,
        sends_body: bool = False,
    ) -> None:
        self.disclosure = disclosure
        self.own_headers = {name.lower(): value for name, value in (own_headers or {}).items()}
        self.sends_body = sends_body
        self.method = method.upper()
        self.url = url
        self.started = started
        self.status: int | None = None
        self.failure: HTTPFailure | None = None
        self.queued = False
        self.waited_s = 0.0
        self.record: RequestRecord | None = None
        self._cancelled = False

    @property
    def secret_path(self) -> bool:
        """Whether the path of the URL must not be shown."""
        return self.disclosure.secret_path

    @property
    def error_type(self) -> str:
        """The attribute ``error.type``: why there was no answer, or a status of 400 and more."""
        if self.failure is not None:
            return self.failure.value
        if self._cancelled:
            return "cancelled"
        if self.status is not None and self.status >= 400:
            return str(self.status)
        return ""

    def interrupted(self, error: BaseException) -> None:
        """Note what ended the exchange early; a caller's own errors do not concern it."""
        self._cancelled = isinstance(error, asyncio.CancelledError)

    def fail(self, failure: HTTPFailure, detail: str) -> HTTPRequestError:
        """Note a failure and return the error to raise."""
        self.failure = failure
        shown = shown_url(self.url, secret_path=self.secret_path)
        return HTTPRequestError(failure, self.method, shown, detail)

    def shown_cause(self, error: BaseException) -> BaseException | None:
        """Return the error to chain, or None if its text could show a secret."""
        return None if self.secret_path else error

    def translate(self, error: BaseException) -> HTTPRequestError:
        """Note a failure that aiohttp or the system reported and return the error to raise."""
        failure = self._classify(error)
        return self.fail(failure, _DETAILS.get(failure) or self._described(error))

    def _classify(self, error: BaseException) -> HTTPFailure:
        if self.queued and isinstance(error, TimeoutError):
            return HTTPFailure.POOL_WAIT
        if isinstance(error, aiohttp.ClientConnectorError) and NOT_PUBLIC in str(error.os_error):
            return HTTPFailure.ADDRESS
        for kind, failure in _FAILURES:
            if isinstance(error, kind):
                return failure
        return HTTPFailure.OTHER

    def _described(self, error: BaseException) -> str:
        # The texts of some aiohttp errors are the URL they were about, secrets included.
        if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            return "the URL, or one it redirects to, cannot be requested"
        if isinstance(error, aiohttp.ClientResponseError):
            return f"the answer is not HTTP: {error.message}".replace("\n", " ")[:300]
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"the name does not resolve: {error.os_error.strerror or error.os_error}"
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"no connection: {_said(error.os_error)}"
        kind = type(error).__name__
        return kind if self.secret_path else f"{kind}: {error}"[:300]


def _said(error: OSError) -> str:
    """Return the system's words for an error; asyncio's own repeat the address."""
    if isinstance(error, ssl.SSLError) or not error.errno:
        return str(error)
    return os.strerror(error.errno)


def request_spans(tracer_provider: TracerProvider) -> aiohttp.TraceConfig:
    """Return signals that make each request a CLIENT span and send its ``traceparent``.

    The stable HTTP conventions are asked for by argument, because the environment variable that
    selects them is read only by the instrumentor, which patches aiohttp for the whole process.
    The argument's type has no public name. The contrib package's own histogram is left out: the
    pool records ``http.client.request.duration`` itself, up to the end of the body.
    """
    return create_trace_config(
        url_filter=shown_url,
        tracer_provider=tracer_provider,
        meter_provider=NoOpMeterProvider(),
        sem_conv_opt_in_mode=_StabilityMode.HTTP,
    )


def own_words() -> aiohttp.TraceConfig:
    """Return signals that put right what ``request_spans`` just said in span and headers.

    Secret paths leave the span. Baggage leaves the request, unless its caller wrote it himself:
    what peers write there is for nobody else.
    """

    async def on_request_start(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestStartParams,
    ) -> None:
        exchange = context.trace_request_ctx
        if exchange.secret_path:
            shown = shown_url(exchange.url, secret_path=True)
            trace.get_current_span().set_attribute("url.full", shown)
        resent = exchange.disclosure.resend_count
        if resent:
            trace.get_current_span().set_attribute("http.request.resend_count", resent)
        unwanted = ("baggage",) if exchange.disclosure.sends_trace else _TRACE_HEADERS
        for name in unwanted:
            params.headers.popall(name, None)
            if name in exchange.own_headers:
                params.headers[name] = exchange.own_headers[name]

    config = aiohttp.TraceConfig()
    config.on_request_start.append(on_request_start)
    return config


class PoolSignals:
    """Counts waiting, created and reused connections from aiohttp's signals.

    Args:
        stats: Where the counts go.
        clock: Times the waiting.
        wait: ``gateway.pool.wait``; every request is recorded, with 0 when it did not wait.
    """

    def __init__(self, stats: HTTPPoolStats, clock: Clock, wait: HistogramSeries) -> None:
        self._stats = stats
        self._clock = clock
        self._wait = wait

    def trace_config(self) -> aiohttp.TraceConfig:
        """Return what to hand to a session."""
        config = aiohttp.TraceConfig()
        config.on_connection_queued_start.append(self._queued)
        config.on_connection_queued_end.append(self._dequeued)
        config.on_connection_create_end.append(self._created)
        config.on_connection_reuseconn.append(self._reused)
        config.on_request_end.append(self._ended)
        config.on_request_exception.append(self._ended)
        return config

    async def _queued(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
    ) -> None:
        attempt = CURRENT_ATTEMPT.get()
        if attempt is None:
            return
        context.queued_at = self._clock.monotonic()
        context.trace_request_ctx.queued = True
        attempt.waiting = True
        self._stats.start_waiting(attempt.endpoint, context.queued_at)

    async def _dequeued(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
    ) -> None:
        attempt = CURRENT_ATTEMPT.get()
        if attempt is None or not attempt.waiting:
            return
        attempt.waiting = False
        self._stats.stop_waiting(attempt.endpoint)
        context.trace_request_ctx.queued = False
        context.trace_request_ctx.waited_s += self._clock.monotonic() - context.queued_at

    async def _created(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, _params: object
    ) -> None:
        self._stats.created += 1
        attempt = CURRENT_ATTEMPT.get()
        if attempt is not None:
            attempt.endpoint.created += 1

    async def _reused(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, _params: object
    ) -> None:
        self._stats.reused += 1
        attempt = CURRENT_ATTEMPT.get()
        if attempt is not None:
            attempt.endpoint.reused += 1

    async def _ended(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
    ) -> None:
        exchange = context.trace_request_ctx
        waited_s = exchange.waited_s
        if exchange.queued:  # gave up waiting: aiohttp sends no end of the queue then
            waited_s += self._clock.monotonic() - context.queued_at
        self._wait.record(waited_s)
        span = trace.get_current_span()
        if span.get_span_context().trace_flags.sampled:
            self._wait.point_to(span.get_span_context(), waited_s, int(self._clock.time() * 1e9))
        if waited_s:
            span.set_attribute("gateway.pool.wait", waited_s)
