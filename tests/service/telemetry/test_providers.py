"""Telemetry as a whole, against a collector on loopback."""

from __future__ import annotations

import io
import logging
import socket

from alerts.clock import SystemClock
from service.config.settings import Settings
from service.telemetry.instruments import CHANNEL_COUNT
from service.telemetry.providers import Telemetry
from tests.support.otlp import OTLPReceiver


def create(endpoint="", environment=None, *, processors=(), service=None, stream=None, **telemetry):
    """Build telemetry for a collector, with everything else out of the way."""
    if endpoint:
        telemetry["otlp"] = {"endpoint": endpoint, "timeout": "1s", **telemetry.pop("otlp", {})}
    settings = Settings.model_validate({"service": service or {}, "telemetry": telemetry})
    return Telemetry(
        settings,
        environment=environment or {},
        clock=SystemClock(),
        span_processors=processors,
        log_stream=stream or io.StringIO(),
    )


def unused_address():
    """Return a loopback URL nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_spans_metrics_and_logs_reach_the_collector():
    """One endpoint is all it takes to send traces, metrics and logs, joined by their ids."""
    async with OTLPReceiver() as collector, create(collector.url) as telemetry:
        telemetry.observers.observe(CHANNEL_COUNT, lambda: [(7, {})])
        with telemetry.tracer.start_as_current_span("work"):
            logging.getLogger("test").warning("half done", extra={"step": 3})
        await telemetry.collection.collect_now()

        span = await collector.span("work")
        log = await collector.log("half done")
        metric = await collector.metric("gateway.channel.count")

    assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)
    assert log.attributes["step"] == 3
    assert metric.metric.sum.data_points[0].as_int == 7


async def test_grpc_is_spoken_when_asked_for():
    """``protocol: grpc`` sends the same three signals over gRPC."""
    async with (
        OTLPReceiver(with_grpc=True) as collector,
        create(collector.grpc_url, otlp={"protocol": "grpc"}) as telemetry,
    ):
        telemetry.tracer.start_span("work").end()
        logging.getLogger("test").warning("done")
        await telemetry.collection.collect_now()

        await collector.span("work")
        await collector.log("done")
        await collector.metric("process.uptime")

    assert set(collector.requests) == {"grpc/traces", "grpc/logs", "grpc/metrics"}
