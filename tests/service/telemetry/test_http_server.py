"""Spans and metrics of HTTP servers, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from alerts.clock import SystemClock
from service.telemetry.http_server import UPGRADE_SPAN, HTTPServerTelemetry
from service.telemetry.instruments import Instruments
from service.telemetry.late_spans import LatePolicy
from service.telemetry.local_histograms import LocalHistograms
from service.telemetry.sampling import MessageSampling, create_sampler
from service.telemetry.sampling_rules import SamplingRule
from service.telemetry.spans import FinishedSpans
from tests.support.spans import recorder

TRACE = "0000000000000000000000000000000a"
PARENT = f"00-{TRACE}-00000000000000bb-01"


@dataclass
class Server:
    """A running application with what it recorded."""

    url: str
    client: aiohttp.ClientSession
    finished: FinishedSpans
    histograms: LocalHistograms
    telemetry: HTTPServerTelemetry
    tracer: trace.Tracer

    def span(self) -> ReadableSpan:
        """Return the only span."""
        (span,) = self.finished.spans()
        return span

    def points(self) -> list[HistogramDataPoint]:
        """Return the series of the recorded durations."""
        return [
            point
            for metric in self.histograms.metrics(1, 2)
            for point in metric.data.data_points
            if isinstance(point, HistogramDataPoint)
        ]

    def durations(self) -> list[dict[str, object]]:
        """Return the attributes of the recorded durations."""
        return [dict(point.attributes or {}) for point in self.points()]


@asynccontextmanager
async def serve(
    app: web.Application,
    ratio: float = 1.0,
    outermost: Middleware | None = None,
    sampling: MessageSampling | None = None,
) -> AsyncIterator[Server]:
    """Run an application on loopback with telemetry of the given sampling ratio."""
    finished, histograms = FinishedSpans(), LocalHistograms()
    tracers = TracerProvider(sampler=create_sampler(ratio), shutdown_on_exit=False)
    tracers.add_span_processor(finished)
    tracer = tracers.get_tracer("test")
    spans = recorder(finished, ratio=ratio)
    instruments = Instruments.create(tracer, NoOpMeter("test"), histograms, spans)
    telemetry = HTTPServerTelemetry(instruments, sampling or MessageSampling(ratio), SystemClock())
    telemetry.install(app)
    if outermost is not None:
        app.middlewares.insert(0, outermost)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as client:
        yield Server(url, client, finished, histograms, telemetry, tracer)
    await runner.cleanup()


def application(**handlers) -> web.Application:
    """Return an application with a GET route for each handler."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_get(f"/{name}/{{id}}", handler)
    return app


async def ok(request: web.Request) -> web.Response:
    """Answer with the trace id that is current in the handler."""
    context = trace.get_current_span().get_span_context()
    return web.Response(text=f"{context.trace_id:032x}")


async def test_a_request_is_a_span_named_by_its_route():
    """The span has the route's template, never the path, in its name, and the stable attributes."""
    async with serve(application(ok=ok)) as server:
        await server.client.get(f"{server.url}/ok/7")

    span = server.span()
    assert (span.name, span.kind) == ("GET /ok/{id}", SpanKind.SERVER)
    attributes = dict(span.attributes or {})
    assert attributes.pop("client.address") == "127.0.0.1"
    assert attributes == {
        "http.request.method": "GET",
        "http.route": "/ok/{id}",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.path": "/ok/7",
        "url.scheme": "http",
    }


async def test_what_the_handler_starts_is_a_child():
    """The request's span is current in its handler."""
    tracers: list[trace.Tracer] = []

    async def publish(request: web.Request) -> web.Response:
        tracers[0].start_span("publish").end()
        return web.Response()

    async with serve(application(publish=publish)) as server:
        tracers.append(server.tracer)
        await server.client.get(f"{server.url}/publish/1")

    child, parent = server.finished.spans()
    assert child.parent == parent.get_span_context()


async def test_the_callers_trace_is_continued():
    """A request with a sampled parent is part of the caller's trace."""
    async with serve(application(ok=ok)) as server:
        await server.client.get(f"{server.url}/ok/1", headers={"traceparent": PARENT})

    span = server.span()
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == f"{TRACE}-00000000000000bb"


async def test_an_unsampled_request_keeps_its_trace_id():
    """Without recording the caller's trace id is current in the handler, for logs and calls."""
    async with serve(application(ok=ok), ratio=0.0) as server:
        answer = await server.client.get(f"{server.url}/ok/1", headers={"traceparent": PARENT})
        text = await answer.text()

    assert text == TRACE
    assert server.finished.spans() == []
    assert server.durations()[0]["http.route"] == "/ok/{id}"


async def test_the_next_request_of_a_connection_starts_clean():
    """A trace does not leak into the next request on the same connection."""
    async with serve(application(ok=ok), ratio=0.0) as server:
        await server.client.get(f"{server.url}/ok/1", headers={"traceparent": PARENT})
        answer = await server.client.get(f"{server.url}/ok/1")
        text = await answer.text()

    assert text == "0" * 32


@pytest.mark.parametrize("path", ["/metrics", "/health", "/health/ready", "/-/healthy", "/-/ready"])
async def test_scrapes_and_probes_leave_no_trace(path):
    """Metrics and health pages are neither traced nor measured."""
    app = web.Application()
    app.router.add_get(path, ok)

    async with serve(app) as server:
        await server.client.get(server.url + path)

    assert server.finished.spans() == []
    assert server.durations() == []


async def test_scrapes_are_traced_if_a_rule_names_them():
    """A rule by name gives them a share; they stay unmeasured."""
    app = web.Application()
    app.router.add_get("/metrics", ok)
    sampling = MessageSampling(1.0, rules=[SamplingRule(1.0, name="GET /metrics")])

    async with serve(app, sampling=sampling) as server:
        await server.client.get(f"{server.url}/metrics")

    assert server.span().name == "GET /metrics"
    assert server.durations() == []


async def test_a_rule_is_about_a_route():
    """The first rule that matches the name of the span gives the share."""
    rules = [SamplingRule(1.0, name="GET /ok/*"), SamplingRule(0.0, name="GET *")]
    sampling = MessageSampling(1.0, rules=rules)

    async with serve(application(ok=ok, other=ok), sampling=sampling) as server:
        await server.client.get(f"{server.url}/other/1")
        await server.client.get(f"{server.url}/ok/1")

    assert server.span().name == "GET /ok/{id}"


def unlucky(*, errors: bool = True, slow_s: float = 0.0, rules=()) -> MessageSampling:
    """Return a sampling that draws nothing, but sees how things end."""
    late = LatePolicy(SystemClock(), errors=errors, slow_s=slow_s)
    return MessageSampling(1e-9, rules=rules, late=late, random_source=lambda: 1.0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flags", ["", "00", "01"])
async def test_an_unsampled_request_that_fails_is_told_of(flags):
    """After its end, from its beginning, in its caller's trace if it has one; others are not."""
    trace_id = "f" * 32  # outside of any share but all
    headers = {"traceparent": f"00-{trace_id}-00000000000000bb-{flags}"} if flags else {}
    async with serve(application(ok=ok, fail=fail), sampling=unlucky()) as server:
        for path in ("ok/1", "nowhere", "fail/1"):
            await server.client.get(f"{server.url}/{path}", headers=headers)

    span = server.span()
    assert (span.name, span.status.status_code) == ("GET /fail/{id}", StatusCode.ERROR)
    assert (span.attributes or {})["gateway.sampling.reason"] == "error"
    assert (span.parent is not None) is bool(flags)
    assert span.parent is None or f"{span.parent.trace_id:032x}" == trace_id
    assert span.start_time is not None and span.end_time is not None
    assert span.start_time < span.end_time


async def test_an_unsampled_request_that_is_slow_is_told_of():
    """What takes longer than the setting says is recorded."""
    async with serve(application(ok=ok), sampling=unlucky(slow_s=1e-9)) as server:
        await server.client.get(f"{server.url}/ok/1")

    assert (server.span().attributes or {})["gateway.sampling.reason"] == "slow"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param(unlucky(errors=False), id="off"),
        pytest.param(unlucky(rules=[SamplingRule(0.0, name="GET /fail/*")]), id="rule"),
        pytest.param(MessageSampling(0.0), id="nothing is sampled"),
    ],
)
async def test_failures_nobody_wants_are_not_told_of(sampling):
    """With the setting off, a share of 0 by rule, or no sampling at all."""
    async with serve(application(fail=fail), sampling=sampling) as server:
        await server.client.get(f"{server.url}/fail/1")

    assert server.finished.spans() == []


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer with the current span's trace once the answer began."""
    response = web.StreamResponse()
    await response.prepare(request)
    context = trace.get_current_span().get_span_context()
    await response.write(f"{context.trace_id:032x}".encode())
    await response.write_eof()
    return response


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_a_stream_is_no_part_of_its_request(ratio):
    """The span ends when the answer begins; what comes then is in no trace, nor the next request.

    Not even if the request is not recorded.
    """
    async with serve(application(stream=stream, ok=ok), ratio=ratio) as server:
        first = await server.client.get(f"{server.url}/stream/1", headers={"traceparent": PARENT})
        streamed = await first.text()
        spans = server.finished.spans()
        second = await server.client.get(f"{server.url}/ok/1")
        text = await second.text()

    assert streamed == "0" * 32
    assert [span.name for span in spans] == ["GET /stream/{id}"] * int(ratio)
    assert (text == "0" * 32) is (ratio == 0.0)
    assert text != TRACE


BAD_CONTEXT = [
    pytest.param([("traceparent", "nonsense")], "malformed", id="malformed"),
    pytest.param([("traceparent", PARENT), ("traceparent", PARENT)], "repeated", id="twice"),
    pytest.param(
        [("traceparent", PARENT), ("tracestate", "a=" + "b" * 8000)],
        "oversized_states",
        id="giant state",
    ),
    pytest.param([("baggage", "a=" + "b" * 8000)], "baggage", id="baggage"),
    pytest.param(
        [("traceparent", PARENT)] + [("tracestate", "a=" + "b" * 1000)] * 7,
        "oversized_states",
        id="many states",
    ),
]


@pytest.mark.parametrize(("headers", "count"), BAD_CONTEXT)
async def test_bad_context_disturbs_nothing(headers, count):
    """The request is answered, what is wrong is counted, and nothing of it is kept."""
    sampling = MessageSampling(1.0)
    async with serve(application(ok=ok), sampling=sampling) as server:
        answer = await server.client.get(f"{server.url}/ok/1", headers=CIMultiDict(headers))
        status = answer.status

    assert (status, getattr(sampling.trace_parents.stats, count)) == (200, 1)
    context = server.span().context
    assert context is not None and not context.trace_state
    assert len(server.span().to_json()) < 3000


async def test_a_megabyte_of_baggage_is_refused():
    """No header may be so long; the next request is answered as ever."""
    async with serve(application(ok=ok)) as server:
        baggage = {"baggage": "a=" + "b" * 1_000_000}
        try:
            refused = (await server.client.get(f"{server.url}/ok/1", headers=baggage)).status
        except aiohttp.ClientError:  # cut off while it was still sending
            refused = 400
        answer = await server.client.get(f"{server.url}/ok/1")

        assert (refused, answer.status) == (400, 200)


@pytest.mark.parametrize("flags", ["01", "00"])
async def test_a_duration_leads_to_its_trace(flags):
    """Where that is recorded; the status is a number, as the conventions have it."""
    async with serve(application(ok=ok)) as server:
        await server.client.get(f"{server.url}/ok/1", headers={"traceparent": PARENT[:-2] + flags})

    (point,) = server.points()
    assert (point.attributes or {})["http.response.status_code"] == 200
    traces = [(each.trace_id, each.span_id) for each in point.exemplars]
    contexts = [span.get_span_context() for span in server.finished.spans()]
    assert traces == [(each.trace_id, each.span_id) for each in contexts if each is not None]
    assert len(traces) == int(flags)


async def test_an_unknown_path_has_no_route():
    """Requests that match nothing share one name, so that scanners do not make names."""
    async with serve(application(ok=ok)) as server:
        await server.client.get(f"{server.url}/wp-admin")

    assert server.span().name == "GET"
    assert server.span().status.status_code is StatusCode.UNSET
    assert "http.route" not in server.durations()[0]


async def test_an_unusual_method_does_not_make_a_series():
    """Methods that HTTP itself does not define are counted together."""
    async with serve(application(ok=ok)) as server:
        await server.client.request("PROPFIND", f"{server.url}/ok/1")

    assert server.span().name == "HTTP"
    assert server.durations()[0]["http.request.method"] == "_OTHER"


async def fail(request: web.Request) -> web.Response:
    """Raise what no handler expects."""
    raise KeyError("gone")


async def unavailable(request: web.Request) -> web.Response:
    """Answer 503."""
    raise web.HTTPServiceUnavailable


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("handler", "status", "error"), [(fail, 500, "KeyError"), (unavailable, 503, "503")]
)
async def test_errors_of_the_server_are_errors_of_the_span(handler, status, error):
    """A failing handler marks span and duration with the same error.type."""
    async with serve(application(fail=handler)) as server:
        await server.client.get(f"{server.url}/fail/1")

    attributes = server.span().attributes or {}
    assert server.span().status.status_code is StatusCode.ERROR
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (status, error)
    assert server.durations()[0]["error.type"] == error


async def test_active_requests_are_counted():
    """A request counts as active until it is answered."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        entered.set()
        await release.wait()
        return web.Response()

    async with serve(application(wait=wait)) as server:
        request = asyncio.create_task(server.client.get(f"{server.url}/wait/1"))
        await entered.wait()
        during = server.telemetry.stats.active
        release.set()
        await request
        after = server.telemetry.stats.active

    assert (during, after) == (1, 0)


async def test_the_span_of_an_upgrade_ends_with_the_101():
    """While the WebSocket is open its upgrade's span has ended, and nothing is its child."""
    seen: dict[str, object] = {}

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        seen["upgrade"] = request[UPGRADE_SPAN]
        async for message in socket:
            seen["current"] = trace.get_current_span().get_span_context()
            await socket.send_str(message.data)
        return socket

    async with serve(application(ws=connect)) as server:
        async with server.client.ws_connect(f"{server.url}/ws/1") as socket:
            await socket.send_str("hello")
            await socket.receive_str()
            span = server.span()

    assert (span.attributes or {})["http.response.status_code"] == 101
    assert span.get_span_context() == seen["upgrade"]
    assert seen["current"] == trace.INVALID_SPAN_CONTEXT
    assert server.finished.spans() == [span]
    assert server.durations() == []


async def test_a_refused_upgrade_is_a_span_with_its_answer():
    """An upgrade that is answered otherwise ends its span with that answer."""
    async with serve(application(ws=unavailable)) as server:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await server.client.ws_connect(f"{server.url}/ws/1")

    assert (server.span().attributes or {})["http.response.status_code"] == 503


async def test_a_cancelled_request_ends_its_span():
    """When the handler is cancelled because its client left, the span says so."""
    entered, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        entered.set()
        await asyncio.Event().wait()
        return web.Response()

    @web.middleware
    async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            ended.set()

    async with serve(application(wait=wait), outermost=outermost) as server:
        request = asyncio.create_task(server.client.get(f"{server.url}/wait/1"))
        await entered.wait()
        request.cancel()
        await ended.wait()

    assert (server.span().attributes or {})["error.type"] == "CancelledError"
    assert server.telemetry.stats.active == 0
