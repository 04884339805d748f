"""Spans and metrics of aiohttp servers, for a few microseconds per unsampled request.

The contrib instrumentation costs 65 us per request even unsampled, and turns a WebSocket's whole
life into one span. Here sampling is decided before the tracer is touched, and a span ends when an
answer begins that goes on and on: the 101 of an upgrade, a stream.

Source: OpenTelemetry semantic conventions for HTTP 1.44 (stable names).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Token
from dataclasses import dataclass
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, set_span_in_context

from alerts.clock import Clock
from alerts.spans import SAMPLING_REASON
from service.telemetry.definitions.http_server_metrics import HTTP_SERVER_ACTIVE
from service.telemetry.instruments import Instruments
from service.telemetry.local_histograms import SeriesTable
from service.telemetry.observers import Observers
from service.telemetry.recorded_spans import SpanShape
from service.telemetry.sampling import MessageSampling, apart
from service.telemetry.span_definitions import HTTP_REQUEST

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

UPGRADE_SPAN: Final = web.RequestKey("upgrade_span", SpanContext)
"""Set on the request of a sampled WebSocket upgrade: the span later spans may link to."""

QUIET_PATHS: Final = ("/metrics", "/health", "/-/healthy", "/-/ready")
"""Beginnings of the paths that are asked for again and again by those who watch."""

_SPAN: Final = web.RequestKey("span", Span)
_STREAMS: Final = web.RequestKey("streams", Token[Context])
_METHODS: Final = frozenset(hdrs.METH_ALL) - {hdrs.METH_ANY}
_SWITCHING_PROTOCOLS: Final = 101
# The usual answer first: asked whether it is another class, one with an ABC takes long to deny it.
_ANSWERS: Final = (web.Response, web.StreamResponse, web.HTTPException)
_WHOLE_ANSWERS: Final = (web.Response, web.FileResponse)


@dataclass(slots=True)
class HTTPServerStats:
    """Counts of the servers; read at collection.

    Attributes:
        active: Requests being handled, upgraded connections not counted.
    """

    active: int = 0


class HTTPServerTelemetry:
    """Measures the requests of the aiohttp applications it is installed in.

    A sampled request's span is current in its handler, so what the handler starts becomes its
    child. The handler of a WebSocket upgrade runs outside the span: the connection outlives it, and
    nothing the connection does later may become part of the upgrade's trace. It finds the span's
    ids in ``request[UPGRADE_SPAN]`` and may link to them.

    The same holds for what comes in a request after its answer began to stream: it is decided on
    alone, and links to the request.

    Scrapes and probes, ``QUIET_PATHS``, are not measured, and traced only where a rule of sampling
    says so by name.

    Attributes:
        stats: Counts.
    """

    def __init__(self, instruments: Instruments, sampling: MessageSampling, clock: Clock) -> None:
        self._spans = instruments.spans
        self._shapes: dict[tuple[str, str, str], SpanShape] = {}
        self._durations = SeriesTable(
            instruments.http_server_duration,
            "http.request.method",
            "http.route",
            "http.response.status_code",
            "url.scheme",
            "error.type",
        )
        self._sampling = sampling
        self._clock = clock
        self._shares: dict[tuple[str, str], float | None] = {}
        self.stats = HTTPServerStats()

    def install(self, app: web.Application) -> None:
        """Add the middleware, outermost, and the signal that a stream begins."""
        app.middlewares.insert(0, self._handle)
        app.on_response_prepare.append(_end_at_stream)

    def observe(self, observers: Observers) -> None:
        """Register the count of active requests."""
        observers.observe(HTTP_SERVER_ACTIVE, lambda: [(self.stats.active, {})])

    def _share(self, request: web.Request) -> float | None:
        """Return the share that a rule gives requests like this one, None when none does."""
        if not self._sampling.rules.exist:
            return None
        key = (_method(request), _route(request))  # few, whatever is asked for
        if key not in self._shares:
            method, route = _shown_method(key[0]), key[1]
            name = HTTP_REQUEST.named(method=method, route=route)
            self._shares[key] = self._sampling.rules.given(name)
        return self._shares[key]

    @web.middleware
    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        sampling = self._sampling
        if request.path.startswith(QUIET_PATHS):
            return await self._quietly(request, handler)
        traceparent, tracestate = sampling.trace_parents.of_headers(request.headers)
        context = sampling.decide(traceparent, tracestate, share=self._share(request))
        if _is_upgrade(request):
            return await self._upgrade(request, handler, context)
        if context is not None:
            span = self._start(request, context)
            return await self._measured(request, handler, span, set_span_in_context(span, context))
        passing = sampling.passing(traceparent, tracestate)
        return await self._measured(request, handler, None, passing)

    async def _quietly(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer without measuring, and without a span unless a rule gives it a share."""
        share = self._share(request)
        context = self._sampling.decide(share=share) if share else None
        if context is None:
            return await handler(request)
        outcome: web.StreamResponse | BaseException | None = None
        span = self._start(request, context)
        try:
            response = outcome = await handler(request)
        except BaseException as error:
            outcome = error
            raise
        finally:
            _end(span, *_result(outcome))
        return response

    async def _measured(
        self, request: web.Request, handler: Handler, span: Span | None, context: Context | None
    ) -> web.StreamResponse:
        token = attach(context) if context is not None else None
        if span is not None:
            request[_SPAN] = span
        started = self._clock.monotonic()
        self.stats.active += 1
        outcome: web.StreamResponse | BaseException | None = None
        try:
            response = outcome = await handler(request)
        except BaseException as error:
            outcome = error
            raise
        finally:
            self.stats.active -= 1
            self._finish(request, span, outcome, self._clock.monotonic() - started, context)
            if len(request) and (streams := request.get(_STREAMS)) is not None:
                detach(streams)
            if token is not None:
                detach(token)
        return response

    def _finish(
        self,
        request: web.Request,
        span: Span | None,
        outcome: web.StreamResponse | BaseException | None,
        duration_s: float,
        context: Context | None,
    ) -> None:
        status, error_type = _result(outcome)
        series = self._durations.of(
            _method(request), _route(request), status, request.scheme, error_type
        )
        series.record(duration_s)
        if span is None:
            self._finish_late(request, status, error_type, duration_s, context)
            return
        if span.get_span_context().trace_flags.sampled:
            series.point_to(span.get_span_context(), duration_s, int(self._clock.time() * 1e9))
        if span.is_recording():  # the beginning of a stream ended it already
            _end(span, status, error_type)

    def _finish_late(
        self,
        request: web.Request,
        status: int,
        error_type: str,
        duration_s: float,
        passing: Context | None,
    ) -> None:
        """Record an unsampled request after its end, if it failed or took long."""
        failed = bool(error_type) and status >= 500
        if not failed and (duration_s < self._sampling.slow_s or _STREAMS in request):
            return
        reason = self._sampling.late_reason(
            failed=failed, duration_s=duration_s, share=self._share(request)
        )
        if reason is None:
            return
        started_ns = int((self._clock.time() - duration_s) * 1e9)
        span = self._start(request, self._sampling.resumed(passing), started_ns)
        span.set_attribute(SAMPLING_REASON, reason)
        _end(span, status, error_type)

    async def _upgrade(
        self, request: web.Request, handler: Handler, context: Context | None
    ) -> web.StreamResponse:
        if context is None:
            return await handler(request)
        span = self._start(request, context)
        request[_SPAN] = span
        request[UPGRADE_SPAN] = span.get_span_context()
        outcome: web.StreamResponse | BaseException | None = None
        try:
            response = outcome = await handler(request)
        except BaseException as error:
            outcome = error
            raise
        finally:
            if span.is_recording():  # refused: there was no 101 to end it
                _end(span, *_result(outcome))
        return response

    def _start(self, request: web.Request, context: Context, start_ns: int = 0) -> Span:
        method = _method(request)
        version = request.version
        values = (
            request.path,
            "1.1" if version == HttpVersion11 else f"{version.major}.{version.minor}",
            request.remote or None,
            request.method if method == "_OTHER" else None,
        )
        shape = self._shape(method, _route(request), request.scheme)
        return self._spans.start_in(context, shape, values, start_ns=start_ns)

    def _shape(self, method: str, route: str, scheme: str) -> SpanShape:
        """Return the shape of the spans of a route."""
        key = (method, route, scheme)  # few, whatever is asked for
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = self._spans.shape(
                HTTP_REQUEST,
                {"method": _shown_method(method), "route": route},
                {"http.request.method": method, "http.route": route, "url.scheme": scheme},
                "url.path",
                "network.protocol.version",
                "client.address",
                "http.request.method_original",
            )
        return shape


async def _end_at_stream(request: web.Request, response: web.StreamResponse) -> None:
    """End the span of a request whose answer is about to begin, if the answer goes on and on."""
    if isinstance(response, _WHOLE_ANSWERS):
        return
    span = request.get(_SPAN)
    if span is not None and span.is_recording():
        _end(span, response.status, "")
    if response.status != _SWITCHING_PROTOCOLS:
        # The handler goes on in this context, and the middleware ends it.
        request[_STREAMS] = attach(apart(None if span is None else span.get_span_context()))


def _end(span: Span, status: int, error_type: str) -> None:
    if status:
        span.set_attribute("http.response.status_code", status)
    if error_type:
        span.set_attribute("error.type", error_type)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _result(outcome: web.StreamResponse | BaseException | None) -> tuple[int, str]:
    """Return status and ``error.type``; a server's own errors only, as the conventions say."""
    if isinstance(outcome, _ANSWERS):
        status = outcome.status
        return status, str(status) if status >= 500 else ""
    if isinstance(outcome, Exception):
        return 500, type(outcome).__qualname__
    # Cancelled: the client went away, or the process stops; no answer was given.
    return 0, type(outcome).__qualname__


def _is_upgrade(request: web.Request) -> bool:
    upgrade = request.headers.get(hdrs.UPGRADE)
    return upgrade is not None and upgrade.strip().lower() == "websocket"


def _shown_method(method: str) -> str:
    return "HTTP" if method == "_OTHER" else method


def _method(request: web.Request) -> str:
    return request.method if request.method in _METHODS else "_OTHER"


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
