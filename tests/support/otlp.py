"""A collector for tests: receives OTLP on loopback, decodes it, and lets tests wait for it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import grpc
from aiohttp import web
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

T = TypeVar("T")
Mode = Literal["accept", "hang", "unavailable", "refuse"]


@dataclass(frozen=True)
class ReceivedSpan:
    """A span with its resource and ids in hex; ``attributes`` and ``links`` are plain values."""

    resource: dict[str, Any]
    scope: str
    span: trace_pb2.Span

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent_span_id(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return plain_attributes(self.span.attributes)

    @property
    def links(self) -> list[str]:
        """Span ids of the linked spans."""
        return [link.span_id.hex() for link in self.span.links]


@dataclass(frozen=True)
class ReceivedMetric:
    """A metric of one export request, with its resource."""

    resource: dict[str, Any]
    scope: str
    metric: metrics_pb2.Metric

    @property
    def name(self) -> str:
        return self.metric.name


@dataclass(frozen=True)
class ReceivedLog:
    """A log record with its resource."""

    resource: dict[str, Any]
    logger: str
    record: logs_pb2.LogRecord

    @property
    def body(self) -> str:
        return self.record.body.string_value

    @property
    def trace_id(self) -> str:
        return self.record.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.record.span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return plain_attributes(self.record.attributes)


class OTLPReceiver:
    """Receives OTLP over HTTP, and over gRPC where asked; an async context manager.

    Attributes:
        mode: ``accept`` takes everything; ``hang`` never answers; ``unavailable`` answers 503,
            which exporters retry; ``refuse`` answers 400, which they do not.
        refusals: Statuses that the next HTTP requests are answered with, to be tried again at once.
        rejected: Items that it says of each request it accepts that they were refused.
        requests: Paths of the requests that came in, whatever the mode.
        headers: Headers of the last request.
        spans, metrics, logs: What was accepted, in the order of arrival.
    """

    def __init__(
        self,
        *,
        mode: Mode = "accept",
        with_grpc: bool = False,
        tls: ssl.SSLContext | None = None,
        grpc_tls: grpc.ServerCredentials | None = None,
    ) -> None:
        self.mode = mode
        self.refusals: list[int] = []
        self.rejected = 0
        self._tls = tls
        self._grpc_tls = grpc_tls
        self.requests: list[str] = []
        self.headers: dict[str, str] = {}
        self.spans: list[ReceivedSpan] = []
        self.metrics: list[ReceivedMetric] = []
        self.logs: list[ReceivedLog] = []
        self._with_grpc = with_grpc
        self._arrived = asyncio.Condition()
        self._released = asyncio.Event()
        self._grpc: grpc.Server | None = None
        self._ports: dict[str, int] = {}

    @property
    def url(self) -> str:
        """Base URL of the HTTP receiver."""
        if self._tls is not None:
            return f"https://localhost:{self._ports['http']}"
        return f"http://127.0.0.1:{self._ports['http']}"

    @property
    def grpc_url(self) -> str:
        """URL of the gRPC receiver."""
        if self._grpc_tls is not None:
            return f"https://localhost:{self._ports['grpc']}"
        return f"http://127.0.0.1:{self._ports['grpc']}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/{signal}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self._ports["http"] = self._runner.addresses[0][1]
        if self._with_grpc:
            self._start_grpc(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._released.set()
        if self._grpc is not None:
            await asyncio.to_thread(self._grpc.stop(None).wait)
        await self._runner.cleanup()

    async def span(self, name: str, *, timeout_s: float = 10.0) -> ReceivedSpan:
        """Return the first span of a name, waiting for it."""
        found = await self.wait_for(
            lambda: [span for span in self.spans if span.name == name], timeout_s, f"span {name}"
        )
        return found[0]

    async def trace(
        self, trace_id: str, names: Sequence[str], *, timeout_s: float = 10.0
    ) -> list[ReceivedSpan]:
        """Return the spans of a trace, waiting until every one of ``names`` is among them."""

        def complete() -> list[ReceivedSpan]:
            spans = [span for span in self.spans if span.trace_id == trace_id]
            return spans if set(names) <= {span.name for span in spans} else []

        return await self.wait_for(complete, timeout_s, f"{', '.join(names)} in {trace_id}")

    async def metric(self, name: str, *, timeout_s: float = 10.0) -> ReceivedMetric:
        """Return the newest state of a metric, waiting for its first."""
        found = await self.wait_for(
            lambda: [metric for metric in self.metrics if metric.name == name],
            timeout_s,
            f"metric {name}",
        )
        return found[-1]

    async def log(self, body: str, *, timeout_s: float = 10.0) -> ReceivedLog:
        """Return the first log record with a body, waiting for it."""
        found = await self.wait_for(
            lambda: [log for log in self.logs if log.body == body], timeout_s, f"log {body!r}"
        )
        return found[0]

    async def request(self, count: int = 1, *, timeout_s: float = 10.0) -> None:
        """Wait until ``count`` requests came in, whatever became of them."""
        await self.wait_for(
            lambda: self.requests if len(self.requests) >= count else [],
            timeout_s,
            f"{count} requests",
        )

    async def wait_for(self, find: Callable[[], list[T]], timeout_s: float, what: str) -> list[T]:
        """Return what ``find`` returns once it is not empty.

        Raises:
            AssertionError: Nothing was found in time; names what did arrive.
        """
        try:
            async with asyncio.timeout(timeout_s), self._arrived:
                await self._arrived.wait_for(lambda: bool(find()))
        except TimeoutError:
            names = sorted({span.name for span in self.spans} | {m.name for m in self.metrics})
            raise AssertionError(
                f"no {what} in {timeout_s} s; {len(self.requests)} requests brought {names}"
            ) from None
        return find()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()  # decompressed by the server
        self.headers = dict(request.headers)
        async with self._arrived:
            self.requests.append(request.path)
            self._arrived.notify_all()
        if self.refusals:
            return web.Response(status=self.refusals.pop(0), headers={"Retry-After": "0"})
        match self.mode:
            case "hang":
                await self._released.wait()
                return web.Response(status=503)
            case "unavailable":
                return web.Response(status=503)
            case "refuse":
                return web.Response(status=400)
            case "accept":
                signal = request.match_info["signal"]
                await self._take(signal, body)
                answer = self._answer(signal).SerializeToString()
                return web.Response(body=answer, content_type="application/x-protobuf")

    def _answer(self, signal: str) -> Any:
        """Return the answer to a request that is accepted, perhaps in part."""
        answers: dict[str, tuple[Any, str]] = {
            "traces": (trace_service_pb2.ExportTraceServiceResponse(), "rejected_spans"),
            "metrics": (metrics_service_pb2.ExportMetricsServiceResponse(), "rejected_data_points"),
            "logs": (logs_service_pb2.ExportLogsServiceResponse(), "rejected_log_records"),
        }
        answer, field = answers[signal]
        if self.rejected:
            setattr(answer.partial_success, field, self.rejected)
            answer.partial_success.error_message = "too old"
        return answer

    async def _take(self, signal: str, body: bytes) -> None:
        match signal:
            case "traces":
                self.spans += _spans(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            case "metrics":
                self.metrics += _metrics(
                    metrics_service_pb2.ExportMetricsServiceRequest.FromString(body)
                )
            case "logs":
                self.logs += _logs(logs_service_pb2.ExportLogsServiceRequest.FromString(body))
            case _:
                raise web.HTTPNotFound
        async with self._arrived:
            self._arrived.notify_all()

    def _start_grpc(self, loop: asyncio.AbstractEventLoop) -> None:
        receiver = self

        def take(signal: str, request: Any) -> Any:
            """Hand a request over to the loop and wait until it was taken."""

            async def receive() -> None:
                receiver.requests.append(f"grpc/{signal}")
                await receiver._take(signal, request.SerializeToString())

            asyncio.run_coroutine_threadsafe(receive(), loop).result(10)
            return receiver._answer(signal)

        class Traces(trace_service_pb2_grpc.TraceServiceServicer):
            def Export(self, request, context):  # noqa: N802 - gRPC's name
                return take("traces", request)

        class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
            def Export(self, request, context):  # noqa: N802 - gRPC's name
                return take("metrics", request)

        class Logs(logs_service_pb2_grpc.LogsServiceServicer):
            def Export(self, request, context):  # noqa: N802 - gRPC's name
                return take("logs", request)

        server = grpc.server(ThreadPoolExecutor(max_workers=3))
        # Generated code has no types.
        registrations: list[tuple[Any, object]] = [
            (trace_service_pb2_grpc.add_TraceServiceServicer_to_server, Traces()),
            (metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server, Metrics()),
            (logs_service_pb2_grpc.add_LogsServiceServicer_to_server, Logs()),
        ]
        for register, servicer in registrations:
            register(servicer, server)
        if self._grpc_tls is None:
            self._ports["grpc"] = server.add_insecure_port("127.0.0.1:0")
        else:
            self._ports["grpc"] = server.add_secure_port("localhost:0", self._grpc_tls)
        server.start()
        self._grpc = server


def plain_attributes(attributes: Sequence[common_pb2.KeyValue]) -> dict[str, Any]:
    """Return OTLP attributes as a dict of Python values."""
    return {item.key: _plain(item.value) for item in attributes}


def _plain(value: common_pb2.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return plain_attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def _spans(request: trace_service_pb2.ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(plain_attributes(item.resource.attributes), scope.scope.name, span)
        for item in request.resource_spans
        for scope in item.scope_spans
        for span in scope.spans
    ]


def _metrics(request: metrics_service_pb2.ExportMetricsServiceRequest) -> list[ReceivedMetric]:
    return [
        ReceivedMetric(plain_attributes(item.resource.attributes), scope.scope.name, metric)
        for item in request.resource_metrics
        for scope in item.scope_metrics
        for metric in scope.metrics
    ]


def _logs(request: logs_service_pb2.ExportLogsServiceRequest) -> list[ReceivedLog]:
    return [
        ReceivedLog(plain_attributes(item.resource.attributes), scope.scope.name, record)
        for item in request.resource_logs
        for scope in item.scope_logs
        for record in scope.log_records
    ]
