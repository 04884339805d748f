"""Traces, metrics and logs: the section ``telemetry``."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from service.config.section import Section
from service.config.types import (
    Count,
    Duration,
    NamespaceOrNone,
    PositiveDuration,
    Secret,
    Size,
    TraceURLTemplate,
    contradiction,
)


class OTLPSettings(Section):
    """Where telemetry is sent. `OTEL_EXPORTER_OTLP_*` variables fill what is not set here."""

    endpoint: str = ""
    """Base URL of a collector, such as http://127.0.0.1:4318; empty: nothing is sent."""
    protocol: Literal["http/protobuf", "grpc"] | None = None
    """Unset: OTEL_EXPORTER_OTLP_PROTOCOL, or http/protobuf."""
    headers: dict[str, Secret] = {}  # noqa: RUF012 - pydantic copies it
    """Headers of every export request."""
    timeout: PositiveDuration = 3.0
    """One export request with its repetitions."""
    compression: Literal["gzip", "none"] | None = None
    """Unset: OTEL_EXPORTER_OTLP_COMPRESSION, or none."""
    ca_file: Path | None = None
    """Authorities to trust when the endpoint is https; unset: OTEL_EXPORTER_OTLP_CERTIFICATE, or
    those of the system."""
    cert_file: Path | None = None
    """For a collector that asks for a certificate; unset: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE."""
    key_file: Path | None = None
    """Its key, if that is not in the same file; unset: OTEL_EXPORTER_OTLP_CLIENT_KEY."""
    temporality: Literal["cumulative", "delta", "lowmemory"] | None = None
    """How metrics are sent: their sums, what came since the last export (delta), or that for
    histograms only (lowmemory). Unset: OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, or
    cumulative."""


class ReceiverSettings(Section):
    """Metrics of other services, taken on the operations listener at `/v1/metrics`."""

    enabled: bool = True
    """Take them."""
    max_body_size: Size = 4 * 1024 * 1024
    """Bytes of one request at most, compressed or not."""
    max_data_points: Count = 20_000
    """Data points of one request at most."""
    max_series: Count = 50_000
    """Series received from all services at most, within `alerts.max_series`."""
    max_attributes: Count = 64
    """Attributes of one data point, and of one service, at most."""
    max_attribute_length: Count = 1024
    """Characters of the name and of the value of an attribute at most."""


class MetricView(Section):
    """What is different about some metrics. The first view that fits a metric counts."""

    instrument: Annotated[str, Field(min_length=1)]
    """Name of a metric with dots, such as gateway.message.latency; * and ? stand for others."""
    drop: bool = False
    """Do not measure it; rules and dashboards that read it find nothing."""
    buckets: tuple[float, ...] | None = None
    """Upper bounds of a histogram's buckets, growing; unset: those that docs/metrics.md has."""
    attributes: tuple[str, ...] | None = None
    """Attributes to keep; the others are summed up. Unset: all."""
    max_series: Count | None = None
    """Unset: telemetry.max_series."""

    @field_validator("buckets")
    @classmethod
    def _growing(cls, buckets: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if buckets is not None:
            grows = all(one < other for one, other in pairwise(buckets))
            if not buckets or not grows or not all(map(isfinite, buckets)):
                raise ValueError("are finite numbers, each larger than the one before")
        return buckets


class SamplingRuleSettings(Section):
    """Another share for some traces. Give `name`, `namespace` or both, and `ratio`."""

    name: str | None = Field(default=None, min_length=1)
    """Name of the span a trace begins with, or of a message's, such as GET /api/v1/*; `*` and `?`
    stand for anything."""
    namespace: NamespaceOrNone | None = None
    """Namespace of a channel; empty: channels without one."""
    ratio: Annotated[float, Field(ge=0, le=1, strict=True)]
    """Share of these traces that are recorded, from 0 to 1; 0: none, not even errors."""

    @model_validator(mode="after")
    def _is_about_something(self) -> Self:
        if self.name is None and self.namespace is None:
            raise contradiction(
                "a rule for everything is telemetry.sampling itself: give name or namespace",
                ("ratio",),
            )
        return self


class TelemetrySettings(Section):
    """Traces, metrics and logs."""

    otlp: OTLPSettings = OTLPSettings()
    """Export to a collector."""
    receiver: ReceiverSettings = ReceiverSettings()
    """Metrics that other services send."""
    sampling: Annotated[float, Field(ge=0, le=1, strict=True)] = 1.0
    """Share of traces that are recorded, from 0 to 1."""
    sampling_rules: tuple[SamplingRuleSettings, ...] = ()
    """Other shares for some; the first that matches wins. With `sampling: 0` they say nothing."""
    sampling_errors: bool = True
    """Record what fails though its trace is not sampled: the one span, up to 20 a second."""
    sampling_slower_than: Duration = 1.0
    """Record in the same way what takes longer; 0: do not."""
    debug: bool = False
    """Print finished traces to standard error."""
    collect_interval: PositiveDuration = 5.0
    """How often metrics are collected for the rules."""
    export_interval: PositiveDuration = 15.0
    """How often metrics are sent to the collector."""
    max_series: Annotated[int, Field(ge=2, strict=True)] = 2000
    """Series of one metric at most; further ones are counted together (otel.metric.overflow)."""
    views: tuple[MetricView, ...] = ()
    """What is different about some metrics."""
    shutdown_timeout: PositiveDuration = 3.0
    """How long a stop waits for telemetry to be sent."""
    trace_url_template: TraceURLTemplate = ""
    """Page of a trace, such as http://127.0.0.1:16686/trace/{trace_id}; alerts link to it. Empty:
    alerts carry the id of their trace only."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log records to write."""
    log_repeats: Annotated[int, Field(ge=0, strict=True)] = 20
    """Log lines of one kind (logger, level and message) in ten seconds; the rest is counted and
    told in one line. 0: all are written."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON in a pipe."""
