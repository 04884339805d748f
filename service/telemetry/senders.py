"""The SDK's OTLP exporters, reduced to what a queue needs.

They block, retry what can be retried (429, 502, 503, 504 and gRPC's transient codes, after the
time that a collector asks for) until their timeout is over, and are called from the queues'
threads. What a collector takes only in part is read here: the exporters throw their answers away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import requests
from google.protobuf.message import DecodeError, Message
from opentelemetry.exporter.otlp.proto.http import Compression as HTTPCompression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from service.frames import let_go_of_frames
from service.telemetry.deltas import DeltaMetrics
from service.telemetry.export import Signal
from service.telemetry.otlp import Target
from service.telemetry.span_encoding import SpanEncoder

_logger = logging.getLogger(__name__)

OnRejected = Callable[[int], None]
"""Told how many items a collector refused of a request it took."""

_MESSAGE_LENGTH: Final = 200
_RESPONSES: Final[dict[Signal, tuple[type[Message], str]]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
}


@dataclass(frozen=True, slots=True)
class Sender:
    """An SDK exporter reduced to what a queue needs.

    Attributes:
        export: Sends a batch and returns whether it was accepted; blocks.
        shutdown: Aborts retries and closes connections; may block.
    """

    export: Callable[[list[Any]], bool]
    shutdown: Callable[[], None]


class PartialSuccess:
    """Reads what collectors answer to requests that they took."""

    def __init__(self, signal: Signal, on_rejected: OnRejected) -> None:
        """Tell ``on_rejected`` of refused items of a signal."""
        self._signal = signal
        self._response, self._field = _RESPONSES[signal]
        self._on_rejected = on_rejected

    def read_http(self, answer: requests.Response, **_options: object) -> None:
        """Read an HTTP answer; what is not OTLP in binary form says nothing."""
        kind = answer.headers.get("Content-Type", "")
        if answer.status_code != 200 or not kind.startswith("application/x-protobuf"):
            return
        try:
            self.read(self._response.FromString(answer.content))
        except DecodeError:
            _logger.warning("The collector's answer to %s is not OTLP; it took them.", self._signal)

    def read(self, response: Any) -> None:
        """Read an answer: how many items were refused and why, or a warning."""
        partial = response.partial_success
        rejected: int = getattr(partial, self._field)
        message = partial.error_message[:_MESSAGE_LENGTH]
        if rejected > 0:
            self._on_rejected(rejected)
            _logger.warning("The collector refused %d of %s: %s", rejected, self._signal, message)
        elif message:
            _logger.warning("The collector warns about %s: %s", self._signal, message)


class Failures:
    """Errors of requests, which exporters keep as results, and with them what was to be sent."""

    def __init__(self) -> None:
        self._errors: list[BaseException] = []

    def note(self, error: BaseException | None) -> None:
        """Note an error that an exporter gets; None: it got none."""
        if error is not None:
            self._errors.append(error)

    def forgotten_after(self, export: Callable[[list[Any]], bool]) -> Callable[[list[Any]], bool]:
        """Return an export after which nothing is left of what failed in it."""

        def exported(batch: list[Any]) -> bool:
            try:
                return export(batch)
            finally:
                while self._errors:
                    let_go_of_frames(self._errors.pop())

        return exported


def create_sender(signal: Signal, target: Target, on_rejected: OnRejected) -> Sender:
    """Build the exporter of a signal.

    Args:
        signal: What it sends.
        target: Where and how.
        on_rejected: Told of items that were refused of requests that were taken.
    """
    partial, failures = PartialSuccess(signal, on_rejected), Failures()
    exporter: SpanExporter | MetricExporter | LogRecordExporter
    if target.protocol == "grpc":
        exporter = _grpc_exporter(signal, target, partial, failures)
    else:
        exporter = _http_exporter(signal, target, partial, failures)
    export = (
        _span_export(exporter)
        if isinstance(exporter, OTLPSpanExporter)
        else _export_of(exporter, target)
    )
    return Sender(failures.forgotten_after(export), exporter.shutdown)


def _http_exporter(
    signal: Signal, target: Target, partial: PartialSuccess, failures: Failures
) -> SpanExporter | MetricExporter | LogRecordExporter:
    tls = target.tls
    session = requests.Session()
    session.hooks["response"].append(partial.read_http)
    if tls.ca_file is not None:
        # Else REQUESTS_CA_BUNDLE would win over what is set for telemetry.
        session.proxies = requests.utils.get_environ_proxies(target.endpoint)
        session.trust_env = False
    arguments: dict[str, Any] = {
        "endpoint": target.endpoint,
        "headers": dict(target.headers),
        "timeout": target.timeout_s,
        "compression": (
            HTTPCompression.Gzip if target.compression == "gzip" else HTTPCompression.NoCompression
        ),
        "certificate_file": _text(tls.ca_file),
        "client_certificate_file": _text(tls.cert_file),
        "client_key_file": _text(tls.key_file),
        "session": session,
    }
    exporter: OTLPSpanExporter | OTLPMetricExporter | OTLPLogExporter
    match signal:
        case "traces":
            exporter = OTLPSpanExporter(**arguments)
        case "metrics":
            exporter = OTLPMetricExporter(**arguments)
        case "logs":
            exporter = OTLPLogExporter(**arguments)
    _noting_failures(exporter, failures)
    return exporter


def _noting_failures(
    exporter: OTLPSpanExporter | OTLPMetricExporter | OTLPLogExporter, failures: Failures
) -> None:
    """Have the errors of an HTTP exporter noted.

    It has no public place for that; see ``_reading_answers``.
    """
    transport = exporter._client._transport  # noqa: SLF001
    request = transport.request

    def noting(*arguments: Any, **options: Any) -> Any:
        result = request(*arguments, **options)
        failures.note(result.error)
        return result

    transport.request = noting  # type: ignore[method-assign]


def _grpc_exporter(
    signal: Signal, target: Target, partial: PartialSuccess, failures: Failures
) -> SpanExporter | MetricExporter | LogRecordExporter:
    import grpc  # noqa: PLC0415 - an optional extra
    from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - an optional extra
        _log_exporter,
        metric_exporter,
        trace_exporter,
    )

    tls = target.tls
    is_plain = target.endpoint.startswith("http://")
    credentials = None
    if not is_plain:
        key_file = tls.key_file or tls.cert_file
        credentials = grpc.ssl_channel_credentials(
            root_certificates=tls.ca_file and tls.ca_file.read_bytes(),
            private_key=key_file and key_file.read_bytes(),
            certificate_chain=tls.cert_file and tls.cert_file.read_bytes(),
        )
    arguments: dict[str, Any] = {
        "endpoint": target.endpoint,
        "insecure": is_plain,
        "credentials": credentials,
        "headers": tuple(target.headers.items()),
        "timeout": target.timeout_s,
        "compression": (
            grpc.Compression.Gzip
            if target.compression == "gzip"
            else grpc.Compression.NoCompression
        ),
    }
    exporter: Any
    match signal:
        case "traces":
            exporter = trace_exporter.OTLPSpanExporter(**arguments)
            exporter._translate_data = _request_of(SpanEncoder())  # noqa: SLF001 - see below
        case "metrics":
            exporter = metric_exporter.OTLPMetricExporter(**arguments)
        case "logs":
            exporter = _log_exporter.OTLPLogExporter(**arguments)
    reading: SpanExporter | MetricExporter | LogRecordExporter = _reading_answers(
        exporter, partial, failures
    )
    return reading


def _request_of(encoder: SpanEncoder) -> Callable[[Sequence[ReadableSpan]], Message]:
    """Return what makes the message of a request: reading bytes is a small part of making them."""
    return lambda spans: ExportTraceServiceRequest.FromString(encoder.encode(spans))


def _reading_answers(exporter: Any, partial: PartialSuccess, failures: Failures) -> Any:
    """Have a gRPC exporter's answers read, and its errors noted.

    It has no public place for that. It makes a client of ``_stub`` for each connection, also
    when it connects again; the SDK's version is pinned, and a test tells when this breaks.
    """
    stub = exporter._stub  # noqa: SLF001

    class ReadingStub:
        def __init__(self, channel: object) -> None:
            self._client = stub(channel)

        def Export(self, request: object, **options: object) -> object:  # noqa: N802 - gRPC's name
            try:
                response = self._client.Export(request=request, **options)
            except Exception as error:
                failures.note(error)
                raise
            partial.read(response)
            return response

    exporter._stub = ReadingStub  # noqa: SLF001
    exporter._channel.close()  # noqa: SLF001
    exporter._initialize_channel_and_stub()  # noqa: SLF001
    return exporter


def _export_of(
    exporter: SpanExporter | MetricExporter | LogRecordExporter, target: Target
) -> Callable[[list[Any]], bool]:
    """Return the exporter's export with one meaning of success."""
    if isinstance(exporter, MetricExporter):
        return _metric_export(exporter, target)
    other = exporter
    return lambda batch: (
        other.export(batch)
        in (
            SpanExportResult.SUCCESS,
            LogRecordExportResult.SUCCESS,
        )
    )


def _span_export(exporter: OTLPSpanExporter) -> Callable[[list[ReadableSpan]], bool]:
    """Return the export of spans over HTTP, with an encoder that is three times as fast.

    The exporter has no public place for one; see ``_reading_answers``.
    """
    client, encoder = exporter._client, SpanEncoder()  # noqa: SLF001
    return lambda batch: client.export(encoder.encode(batch)).success


def _metric_export(exporter: MetricExporter, target: Target) -> Callable[[list[MetricsData]], bool]:
    deltas = None
    if target.temporality != "cumulative":
        deltas = DeltaMetrics(sums=target.temporality == "delta")

    def export(batch: list[MetricsData]) -> bool:
        for data in batch:
            converted = data if deltas is None else deltas.since_accepted(data)
            if exporter.export(converted) is not MetricExportResult.SUCCESS:
                return False
            if deltas is not None:
                deltas.accept(data)
        return True

    return export


def _text(path: object) -> str | None:
    return None if path is None else str(path)
