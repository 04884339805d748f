"""The histograms the parts of the service record into, and what makes their spans.

Nothing here is touched per delivered message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from opentelemetry.metrics import Histogram, Meter, NoOpMeter
from opentelemetry.trace import NoOpTracer, Tracer

from service.telemetry.definitions.back_end_metrics import PROXY_DURATION
from service.telemetry.definitions.batch_metrics import BATCH_BODY_SIZE, BATCH_SIZE, BATCH_WAIT
from service.telemetry.definitions.broker_metrics import BROKER_ROUNDTRIP
from service.telemetry.definitions.check_metrics import HEALTH_CHECK_DURATION
from service.telemetry.definitions.gateway_metrics import (
    CONNECTION_DURATION,
    MESSAGE_LATENCY,
    PROCESS_DURATION,
)
from service.telemetry.definitions.http_server_metrics import HTTP_SERVER_DURATION
from service.telemetry.definitions.job_metrics import JOB_DELAY, JOB_DURATION
from service.telemetry.definitions.pool_metrics import HTTP_CLIENT_DURATION, POOL_WAIT
from service.telemetry.definitions.process_metrics import EVENT_LOOP_LAG, GC_PAUSE
from service.telemetry.local_histograms import LocalHistogram, LocalHistograms
from service.telemetry.span_recorder import SpanRecorder


@dataclass(frozen=True, slots=True)
class Instruments:
    """What makes spans, and the histograms the parts of the service record into.

    Attributes:
        tracer: The SDK's, for spans that are few.
        spans: For those of requests, commands and messages.
    """

    tracer: Tracer
    spans: SpanRecorder
    http_server_duration: LocalHistogram
    connection_duration: LocalHistogram
    proxy_duration: LocalHistogram
    message_latency: LocalHistogram
    process_duration: LocalHistogram
    batch_size: LocalHistogram
    batch_body_size: LocalHistogram
    batch_wait: LocalHistogram
    broker_roundtrip: LocalHistogram
    http_client_duration: LocalHistogram
    pool_wait: LocalHistogram
    job_duration: Histogram
    job_delay: Histogram
    health_check_duration: Histogram
    event_loop_lag: Histogram
    gc_pause: LocalHistogram

    @classmethod
    def create(
        cls,
        tracer: Tracer,
        meter: Meter,
        histograms: LocalHistograms | None = None,
        spans: SpanRecorder | None = None,
    ) -> Self:
        """Create the histograms.

        Args:
            tracer: For spans that are few.
            meter: Of the histograms that are recorded a few times a second.
            histograms: Of those on the path of every batch or request; None: nobody collects them.
            spans: For those on that path; None: nobody gets them.
        """
        local = histograms or LocalHistograms()
        return cls(
            tracer=tracer,
            spans=spans or SpanRecorder.disabled(),
            http_server_duration=local.create(HTTP_SERVER_DURATION),
            connection_duration=local.create(CONNECTION_DURATION),
            proxy_duration=local.create(PROXY_DURATION),
            message_latency=local.create(MESSAGE_LATENCY),
            process_duration=local.create(PROCESS_DURATION),
            batch_size=local.create(BATCH_SIZE),
            batch_body_size=local.create(BATCH_BODY_SIZE),
            batch_wait=local.create(BATCH_WAIT),
            broker_roundtrip=local.create(BROKER_ROUNDTRIP),
            http_client_duration=local.create(HTTP_CLIENT_DURATION),
            pool_wait=local.create(POOL_WAIT),
            job_duration=JOB_DURATION.histogram(meter),
            job_delay=JOB_DELAY.histogram(meter),
            health_check_duration=HEALTH_CHECK_DURATION.histogram(meter),
            event_loop_lag=EVENT_LOOP_LAG.histogram(meter),
            gc_pause=local.create(GC_PAUSE),
        )

    @classmethod
    def disabled(cls) -> Self:
        """Return instruments that record nothing."""
        return cls.create(NoOpTracer(), NoOpMeter("service"))
