"""Traces, metrics and logs: the section ``telemetry``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from service.config.section import Section
from service.config.types import PositiveDuration, Secret, TraceURLTemplate


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


class TelemetrySettings(Section):
    """Traces, metrics and logs."""

    otlp: OTLPSettings = OTLPSettings()
    """Export to a collector."""
    sampling: Annotated[float, Field(ge=0, le=1, strict=True)] = 1.0
    """Share of traces that are recorded, from 0 to 1."""
    collect_interval: PositiveDuration = 5.0
    """How often metrics are collected for the rules."""
    export_interval: PositiveDuration = 15.0
    """How often metrics are sent to the collector."""
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
