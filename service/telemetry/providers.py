"""Builds all telemetry of the process in one place, and takes it down within a deadline.

Nothing is set globally: whoever records is handed a tracer, a meter or instruments. Build it after
any fork: an SDK provider does not survive one unharmed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self, TextIO

from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NoOpTracerProvider, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from alerts.clock import Clock
from alerts.telemetry import AlertsTelemetry
from service import __version__
from service.config.settings import Settings
from service.telemetry.collection import Collection
from service.telemetry.definitions.telemetry_metrics import (
    COLLECTIONS_FAILED,
    LOG_LEFT_OUT,
    LOG_RECORDS,
    METRICS_OVERFLOWED,
    TRACE_PARENTS,
)
from service.telemetry.environment import (
    is_disabled,
    resolve_resource,
    resolve_sampling,
    resolve_sampling_rules,
    resolve_span_limits,
)
from service.telemetry.export import ExportQueue, QueueLogProcessor, QueueSpanProcessor
from service.telemetry.exports import Exports
from service.telemetry.exposition import negotiate, render
from service.telemetry.feed import ExemplarSink, SeriesFeed, SeriesSource
from service.telemetry.instruments import Instruments
from service.telemetry.late_spans import LatePolicy, LateSpans
from service.telemetry.logs import LogSetup
from service.telemetry.observers import Observers
from service.telemetry.recorded_spans import SpanOrigin
from service.telemetry.runtime import GarbageMonitor, LoopLagMonitor, LoopReader, ProcessReader
from service.telemetry.sampling import EntrySampler, MessageSampling, create_sampler
from service.telemetry.sampling_rules import SamplingRules
from service.telemetry.span_recorder import NO_LIMITS, SpanRecorder
from service.telemetry.terminal_spans import TerminalSpans
from service.telemetry.threads import run_in_daemon_thread
from service.telemetry.view_settings import resolve_views
from service.telemetry.viewed_meter import ViewedMeter

_logger = logging.getLogger(__name__)

_SERVICE_SCOPE: Final = "gatewatch"
_ALERTS_SCOPE: Final = "gatewatch.alerts"
_SCRAPE_MAX_AGE_S: Final = 1.0
# Room for the hand-over between threads after the deadline of the work itself.
_CLOSE_MARGIN_S: Final = 1.0


class Telemetry:
    """Tracer, meter, logs and their way out; an async context manager.

    Entering sets up logging and starts to collect; leaving flushes what it can within
    ``telemetry.shutdown_timeout`` and puts the logging back. A collector that is unreachable, slow
    or hung costs telemetry, which is counted, and never time of the event loop.

    Attributes:
        service_name: ``service.name``; also the label ``job`` of the process's own series.
        instance: ``service.instance.id``; also their label ``instance``.
        sampling: Decides per message or request, before a span is made.
        tracer_provider: For libraries that bring their own instrumentation.
        tracer: For the service's own spans.
        collection: The collector of metrics.
        meter: For instruments that are not in ``instruments``.
        instruments: Tracer and histograms of the service.
        alerts: Tracer and histograms of the alerting library.
        observers: Registers what is read at collection.
        log_levels: How much is logged.
        propagator: W3C trace context, for carriers other than HTTP headers.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        environment: Mapping[str, str],
        clock: Clock,
        span_processors: Sequence[SpanProcessor] = (),
        log_stream: TextIO | None = None,
    ) -> None:
        """Build everything; nothing is collected or logged before entering.

        Args:
            settings: ``service`` and ``telemetry`` are used, and the port for the instance's name.
            environment: The process's environment, for the standard ``OTEL_*`` variables.
            clock: Gives collections their time and measures the loop's lag.
            span_processors: More consumers of finished spans. Without a collector and without
                these, no span is recorded.
            log_stream: Where log lines and traces go; None: standard error.

        Raises:
            ConfigurationError: A setting or variable cannot be used.
        """
        self._settings = settings.telemetry
        self._disabled = is_disabled(environment)
        resource = resolve_resource(settings, environment)
        ratio = resolve_sampling(self._settings, environment)
        self._views = resolve_views(self._settings)
        self._exports = Exports(self._settings, environment)
        self._terminal: TerminalSpans | None = None
        if self._settings.debug and not self._disabled:
            self._terminal = TerminalSpans(log_stream or sys.stderr)
            span_processors = (*span_processors, self._terminal)
        if self._disabled or not (span_processors or "traces" in self._exports.queues):
            ratio = 0.0
        self.service_name = str(resource.attributes["service.name"])
        self.instance = str(resource.attributes["service.instance.id"])
        rules = resolve_sampling_rules(self._settings)
        late = LatePolicy(
            clock,
            errors=self._settings.sampling_errors,
            slow_s=self._settings.sampling_slower_than,
        )
        self.sampling = MessageSampling(ratio, rules=rules, late=late)
        self.propagator = TraceContextTextMapPropagator()
        self._span_limits = NO_LIMITS if self._disabled else resolve_span_limits(environment)
        self.tracer_provider = self._create_tracer_provider(
            resource, create_sampler(ratio, rules, keep=True), span_processors, late
        )
        self.tracer: Tracer = self.tracer_provider.get_tracer(_SERVICE_SCOPE, __version__)
        self.collection = Collection(
            resource,
            interval_s=self._settings.collect_interval,
            clock=clock,
            enabled=not self._disabled,
            views=self._views,
        )
        if self._exports.metrics is not None:
            self.collection.add_consumer(self._exports.metrics)
        self.meter = self._create_meter(_SERVICE_SCOPE)
        self.instruments = Instruments.create(
            self.tracer,
            self.meter,
            self.collection.histograms,
            SpanRecorder(
                SpanOrigin(resource, InstrumentationScope(_SERVICE_SCOPE, __version__)),
                EntrySampler(SamplingRules(ratio, rules), keep=ratio > 0),
                clock,
                queue=self._exports.queues.get("traces"),
                processors=span_processors,
                late=late,
                limits=self._span_limits,
            ),
        )
        self.alerts = AlertsTelemetry.create(
            self.tracer_provider.get_tracer(_ALERTS_SCOPE, __version__),
            self._create_meter(_ALERTS_SCOPE),
        )
        self.observers = Observers(self.meter, self._views)
        self._observe(clock)
        self._lag = LoopLagMonitor(clock, self.instruments.event_loop_lag)
        self._garbage = GarbageMonitor(self.instruments.gc_pause)
        self._logging = LogSetup(
            level=self._settings.log_level,
            log_format=self._settings.log_format,
            clock=clock,
            environment=environment,
            provider=self._create_logger_provider(resource),
            stream=log_stream,
            repeats=self._settings.log_repeats,
        )
        self.log_levels = self._logging.levels
        self.observers.observe(LOG_RECORDS, lambda: _by_level(self._logging.stats.records))
        self.observers.observe(LOG_LEFT_OUT, lambda: _by_level(self._logging.stats.left_out))
        self._closed = False

    async def __aenter__(self) -> Self:
        self._logging.install()
        self._lag.__enter__()
        self._garbage.__enter__()
        LoopReader(asyncio.get_running_loop()).observe(self.observers)
        self.collection.start()
        if self._disabled:
            _logger.info("OTEL_SDK_DISABLED is set: no telemetry, and no own metrics for rules.")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Collect once more, flush, and stop, within ``telemetry.shutdown_timeout``.

        What could not be sent is logged and abandoned. Calling it again does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._lag.__exit__()
        self._garbage.__exit__()
        timeout_s = self._settings.shutdown_timeout
        try:
            async with asyncio.timeout(timeout_s + _CLOSE_MARGIN_S):
                await run_in_daemon_thread("close-telemetry", lambda: self._close(timeout_s))
        except TimeoutError:
            _logger.warning("Telemetry did not stop in %g s; it is abandoned.", timeout_s)
        finally:
            self._logging.restore()

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Send what waits now; return whether all of it was tried in time."""
        return await run_in_daemon_thread("flush-telemetry", lambda: self._exports.flush(timeout_s))

    def take_worst_lag(self) -> float:
        """Return how late the event loop was at most, in seconds, since this was last asked."""
        return self._lag.take_worst()

    @property
    def queues(self) -> Mapping[str, ExportQueue[Any]]:
        """The queues of the signals that are sent."""
        return {str(signal): queue for signal, queue in self._exports.queues.items()}

    async def render_metrics(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body of the ``/metrics`` page, at most a second old.

        Args:
            accept: The request's Accept header, empty when there is none.
        """
        collected = await self.collection.fresh(_SCRAPE_MAX_AGE_S)
        content_type = negotiate(accept)
        body = await run_in_daemon_thread(
            "render-metrics", lambda: render(collected.families, content_type)
        )
        return content_type, body

    def feed_series(self, source: SeriesSource, exemplars: ExemplarSink) -> None:
        """Append every later collection to a source of the series store."""
        feed = SeriesFeed(source, exemplars, job=self.service_name, instance=self.instance)
        self.collection.add_consumer(feed)
        self.collection.forget()

    def _close(self, timeout_s: float) -> None:
        """Stop in order; blocks the calling thread."""
        deadline = time.monotonic() + timeout_s
        self.collection.stop(timeout_s)
        if self._exports.metrics is not None:
            self._exports.metrics.send_next()
        self.collection.collect()
        self._exports.close(max(0.0, deadline - time.monotonic()))
        if self._terminal is not None:
            self._terminal.shutdown()

    def _create_tracer_provider(
        self,
        resource: Resource,
        sampler: Sampler,
        span_processors: Sequence[SpanProcessor],
        late: LatePolicy,
    ) -> TracerProvider:
        if self._disabled:
            return NoOpTracerProvider()
        provider = SDKTracerProvider(
            sampler=sampler,
            resource=resource,
            shutdown_on_exit=False,
            span_limits=self._span_limits,
        )
        processors = [*span_processors]
        if "traces" in self._exports.queues:
            processors.insert(0, QueueSpanProcessor(self._exports.queues["traces"]))
        for processor in (*processors, LateSpans(late, processors)):
            provider.add_span_processor(processor)
        return provider

    def _create_meter(self, scope: str) -> Meter:
        if self._disabled:
            return NoOpMeter(scope)
        return ViewedMeter(self.collection.provider.get_meter(scope, __version__), self._views)

    def _create_logger_provider(self, resource: Resource) -> LoggerProvider | None:
        if "logs" not in self._exports.queues:
            return None
        provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_log_record_processor(QueueLogProcessor(self._exports.queues["logs"]))
        return provider

    def _observe(self, clock: Clock) -> None:
        """Register what telemetry counts about itself and the process."""
        ProcessReader(clock).observe(self.observers)
        self._exports.observe(self.observers)
        stats = self.collection.stats
        self.observers.observe(COLLECTIONS_FAILED, lambda: [(stats.failures, {})])
        self.observers.observe(METRICS_OVERFLOWED, lambda: [(self._views.overflowed, {})])
        self.observers.observe(TRACE_PARENTS, self._trace_parents)

    def _trace_parents(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        stats = self.sampling.trace_parents.stats
        return [
            (stats.accepted, {}),
            (stats.malformed, {"error.type": "malformed"}),
            (stats.repeated, {"error.type": "repeated"}),
            (stats.oversized_states, {"error.type": "oversized_state"}),
            (stats.baggage, {"error.type": "baggage"}),
        ]


def _by_level(counts: Mapping[str, int]) -> Iterable[tuple[float, Mapping[str, str]]]:
    return [(count, {"gateway.log.level": level}) for level, count in dict(counts).items()]
