"""Traces, metrics and logs: the section ``telemetry``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.config.section import Section
from service.config.types import (
    Duration,
    NamespaceOrNone,
    PositiveDuration,
    Secret,
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
    """One export request."""


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
    shutdown_timeout: PositiveDuration = 3.0
    """How long a stop waits for telemetry to be sent."""
    trace_url_template: TraceURLTemplate = ""
    """Page of a trace, such as http://127.0.0.1:16686/trace/{trace_id}; alerts link to it. Empty:
    alerts carry the id of their trace only."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log records to write."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON in a pipe."""
