"""Where each signal is sent, from settings and the standard variables, and the SDK's exporters.

Settings win; the ``OTEL_*`` variables fill what is not set. A signal is sent when an endpoint is
known for it or its ``OTEL_..._EXPORTER`` says ``otlp``; ``none`` switches it off. Compression and
certificates are left to the SDK's exporters, which read their variables from the environment.

``OTEL_EXPORTER_OTLP_TIMEOUT`` is not honoured: the specification means milliseconds, the Python
exporters read seconds, and either reading of the other's value is wrong by a thousand.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers

from alerts.errors import Problem
from service.config.hiding import hide_password
from service.config.telemetry_settings import OTLPSettings
from service.errors import ConfigurationError
from service.telemetry.export import SIGNALS, Signal

Protocol = Literal["http/protobuf", "grpc"]

_DEFAULT_ENDPOINTS: Final[dict[Protocol, str]] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how one signal is sent.

    Attributes:
        endpoint: The whole URL, with the signal's path for HTTP.
        protocol: How.
        headers: Sent with every request.
        timeout_s: One export with its retries.
    """

    endpoint: str
    protocol: Protocol
    headers: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sender:
    """An SDK exporter reduced to what a queue needs.

    Attributes:
        export: Sends a batch and returns whether it was accepted; blocks.
        shutdown: Aborts retries and closes connections; may block.
    """

    export: Callable[[list[Any]], bool]
    shutdown: Callable[[], None]


def resolve_targets(settings: OTLPSettings, environment: Mapping[str, str]) -> dict[Signal, Target]:
    """Return the signals that are sent, and where.

    Raises:
        ConfigurationError: An endpoint, protocol or exporter that cannot be used; lists all.
    """
    problems: list[Problem] = []
    targets: dict[Signal, Target] = {}
    for signal in SIGNALS:
        try:
            target = _Resolver(signal, settings, environment).resolve()
        except ConfigurationError as error:
            problems.extend(error.problems)
        else:
            if target is not None:
                targets[signal] = target
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return targets


def create_sender(signal: Signal, target: Target) -> Sender:
    """Build the exporter of a signal, whose target was resolved here."""
    exporter: SpanExporter | MetricExporter | LogRecordExporter
    if target.protocol == "grpc":
        exporter = _grpc_exporter(signal, target)
    else:
        exporter = _http_exporter(signal, target)
    return Sender(_export_of(exporter), exporter.shutdown)


class _Resolver:
    """Resolves one signal; ``problem`` names the setting or variable that is wrong."""

    def __init__(
        self, signal: Signal, settings: OTLPSettings, environment: Mapping[str, str]
    ) -> None:
        self._signal = signal
        self._settings = settings
        self._environment = environment

    def resolve(self) -> Target | None:
        wanted = self._exporter()
        if wanted == "none":
            return None
        place, endpoint, is_base = self._endpoint()
        if not endpoint and wanted != "otlp":
            return None
        self._check_temporality()
        protocol = self._protocol()
        if protocol == "grpc" and not _has_grpc():
            raise _problem(
                self._protocol_place(),
                "grpc needs the extra: pip install 'gatewatch[grpc]', or use http/protobuf",
            )
        if not endpoint:
            place, endpoint, is_base = "default", _DEFAULT_ENDPOINTS[protocol], True
        self._check_endpoint(place, endpoint, protocol, is_base=is_base)
        if protocol == "http/protobuf" and is_base:
            endpoint = f"{endpoint.rstrip('/')}/v1/{self._signal}"
        return Target(endpoint, protocol, self._headers(), self._settings.timeout)

    def _exporter(self) -> Literal["otlp", "none", ""]:
        """Return what the signal's variable asks for; empty when it says nothing of OTLP."""
        variable = f"OTEL_{self._signal.upper()}_EXPORTER"
        names = {name.strip() for name in self._environment.get(variable, "").split(",")} - {""}
        if self._signal == "metrics":
            names.discard("prometheus")  # /metrics is always there
        unknown = sorted(names - {"otlp", "none"})
        if unknown:
            raise _problem(variable, f"{unknown[0]!r} is not supported; write otlp or none")
        if names == {"otlp", "none"}:
            raise _problem(variable, "otlp and none exclude each other; write one of them")
        return "otlp" if "otlp" in names else "none" if "none" in names else ""

    def _endpoint(self) -> tuple[str, str, bool]:
        """Return where the endpoint is written, the endpoint, and whether it is a base URL."""
        if self._settings.endpoint:
            return "telemetry.otlp.endpoint", self._settings.endpoint, True
        own = f"OTEL_EXPORTER_OTLP_{self._signal.upper()}_ENDPOINT"
        if self._environment.get(own):
            return own, self._environment[own], False
        shared = "OTEL_EXPORTER_OTLP_ENDPOINT"
        return shared, self._environment.get(shared, ""), True

    def _protocol(self) -> Protocol:
        if self._settings.protocol is not None:
            return self._settings.protocol
        variable = self._protocol_place()
        match self._environment.get(variable, ""):
            case "":
                return "http/protobuf"
            case "http/protobuf" | "grpc" as protocol:
                return protocol
            case other:
                raise _problem(variable, f"{other!r} is not supported; write http/protobuf or grpc")

    def _protocol_place(self) -> str:
        """Return the setting or variable that says which protocol it is, if one does."""
        if self._settings.protocol is not None:
            return "telemetry.otlp.protocol"
        own = f"OTEL_EXPORTER_OTLP_{self._signal.upper()}_PROTOCOL"
        return own if self._environment.get(own) else "OTEL_EXPORTER_OTLP_PROTOCOL"

    def _headers(self) -> dict[str, str]:
        variable = f"OTEL_EXPORTER_OTLP_{self._signal.upper()}_HEADERS"
        text = self._environment.get(variable) or self._environment.get(
            "OTEL_EXPORTER_OTLP_HEADERS", ""
        )
        headers = dict(parse_env_headers(text, liberal=True))
        for name, value in self._settings.headers.items():
            headers[name.lower()] = value.get_secret_value()
        return headers

    def _check_temporality(self) -> None:
        preference = self._environment.get(_TEMPORALITY, "").lower()
        if self._signal == "metrics" and preference not in ("", "cumulative"):
            raise _problem(
                _TEMPORALITY,
                f"{preference!r} is not supported: metrics are cumulative, the rules need them so; "
                "unset it and convert in the collector (cumulativetodelta)",
            )

    def _check_endpoint(
        self, place: str, endpoint: str, protocol: Protocol, *, is_base: bool
    ) -> None:
        url = urlsplit(endpoint)
        try:
            has_address = bool(url.hostname) and url.port != 0
        except ValueError:  # a port that is no number
            has_address = False
        if url.scheme not in ("http", "https") or not has_address:
            raise _problem(
                place,
                f"{hide_password(endpoint)!r} is not a URL such as {_DEFAULT_ENDPOINTS[protocol]}",
            )
        if is_base and url.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics", "/v1/logs")):
            raise _problem(
                place,
                f"{hide_password(endpoint)!r} is the URL of one signal; leave out the path from "
                "/v1 on",
            )


def _has_grpc() -> bool:
    """Whether the extra is installed."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.grpc") is not None
    except ValueError:  # it was imported in a way that left nothing behind
        return False


def _problem(place: str, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, 0, 0, message)])


def _http_exporter(
    signal: Signal, target: Target
) -> SpanExporter | MetricExporter | LogRecordExporter:
    arguments: dict[str, Any] = {
        "endpoint": target.endpoint,
        "headers": dict(target.headers),
        "timeout": target.timeout_s,
    }
    match signal:
        case "traces":
            return OTLPSpanExporter(**arguments)
        case "metrics":
            return OTLPMetricExporter(**arguments)
        case "logs":
            return OTLPLogExporter(**arguments)


def _grpc_exporter(
    signal: Signal, target: Target
) -> SpanExporter | MetricExporter | LogRecordExporter:
    from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - an optional extra
        _log_exporter,
        metric_exporter,
        trace_exporter,
    )

    arguments: dict[str, Any] = {
        "endpoint": target.endpoint,
        "insecure": target.endpoint.startswith("http://"),
        "headers": tuple(target.headers.items()),
        "timeout": target.timeout_s,
    }
    match signal:
        case "traces":
            return trace_exporter.OTLPSpanExporter(**arguments)
        case "metrics":
            return metric_exporter.OTLPMetricExporter(**arguments)
        case "logs":
            return _log_exporter.OTLPLogExporter(**arguments)


def _export_of(
    exporter: SpanExporter | MetricExporter | LogRecordExporter,
) -> Callable[[list[Any]], bool]:
    """Return the exporter's export with one meaning of success."""
    if isinstance(exporter, MetricExporter):
        metrics = exporter

        def export_metrics(batch: list[MetricsData]) -> bool:
            return all(metrics.export(data) is MetricExportResult.SUCCESS for data in batch)

        return export_metrics
    other = exporter
    return lambda batch: (
        other.export(batch)
        in (
            SpanExportResult.SUCCESS,
            LogRecordExportResult.SUCCESS,
        )
    )
