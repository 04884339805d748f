"""A real HTTP server on loopback that answers as a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.telemetry.instruments import Instruments
from service.telemetry.local_histograms import LocalHistograms
from tests.support.spans import recorder


@dataclass
class LoopbackServer:
    """Paths: /ok, /status/N, /hang, /loop, /hops/N, /endless, /large/N, /echo.

    Attributes:
        port: Where it listens.
        requests: Every request that arrived, as (method, path, headers, body).
        arrived: Set whenever a request for /hang arrives.
        release: Requests for /hang are answered once this is set.
    """

    port: int = 0
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the URL of a path on this server."""
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def loopback_server() -> AsyncIterator[LoopbackServer]:
    """Run the server until the end of the block; what still hangs is answered then."""
    server = LoopbackServer()
    app = web.Application(middlewares=[_recorder(server)])
    app.router.add_route("*", "/ok", _ok)
    app.router.add_route("*", "/echo", _echo)
    app.router.add_route("*", "/status/{status}", _status)
    app.router.add_route("*", "/hang", _hanging(server))
    app.router.add_get("/loop", _loop)
    app.router.add_get("/hops/{left}", _hops)
    app.router.add_get("/endless", _endless)
    app.router.add_get("/large/{size}", _large)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        server.release.set()
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds; the time limit of the test bounds it."""
    while not condition():  # noqa: ASYNC110 - counts have no event to wait for
        await asyncio.sleep(0)


@asynccontextmanager
async def raw_server(*chunks: bytes, repeat: bytes = b"", hold: bool = False) -> AsyncIterator[int]:
    """Serve bytes as they are, to anyone who connects, and yield the port.

    Args:
        chunks: Sent after the first line of a request arrived.
        repeat: Then sent for as long as the client takes it.
        hold: Then wait for the client to leave instead of closing.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            for chunk in chunks:
                writer.write(chunk)
            while repeat:
                writer.write(repeat)
                await writer.drain()
            await writer.drain()
            if hold:
                await reader.read()
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class RecordedTelemetry:
    """Instruments whose spans and metrics a test can read."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        processor = SimpleSpanProcessor(self._exporter)
        self.tracer_provider.add_span_processor(processor)
        self._meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self._local = LocalHistograms()
        self.instruments = Instruments.create(
            self.tracer_provider.get_tracer("tests"),
            self._meter_provider.get_meter("tests"),
            self._local,
            recorder(processor),
        )

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Return the ended spans, all or those with a name."""
        spans = self._exporter.get_finished_spans()
        return [span for span in spans if name is None or span.name == name]

    def attributes(self, name: str) -> dict[str, object]:
        """Return the attributes of the one ended span with a name."""
        (span,) = self.spans(name)
        return dict(span.attributes or {})

    def points(self, metric: str) -> list[HistogramDataPoint]:
        """Return the data points of a histogram, one per set of attributes."""
        data = self._reader.get_metrics_data()
        metrics = self._local.metrics(1, 2)
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                metrics.extend(scope.metrics)
        return [
            point
            for each in metrics
            if each.name == metric
            for point in each.data.data_points
            if isinstance(point, HistogramDataPoint)
        ]


def _recorder(server: LoopbackServer) -> Middleware:
    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await request.read()
        server.requests.append((request.method, request.path, dict(request.headers), body))
        return await handler(request)

    return record


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), headers={"X-Method": request.method})


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["status"]), text="as you wish")


def _hanging(server: LoopbackServer) -> Handler:
    async def hang(_request: web.Request) -> web.Response:
        server.arrived.set()
        await server.release.wait()
        return web.Response(text="at last")

    return hang


async def _loop(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/loop")


async def _hops(request: web.Request) -> web.Response:
    left = int(request.match_info["left"])
    raise web.HTTPFound(f"/hops/{left - 1}" if left > 1 else "/ok")


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def _large(request: web.Request) -> web.Response:
    return web.Response(body=b"x" * int(request.match_info["size"]))
