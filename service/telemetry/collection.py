"""The one metric reader: collects every few seconds and hands the result to all who want it.

A second reader would make every recorded measurement half again as dear, so there is one. What it
collected goes to the series store, to the export and to the ``/metrics`` page.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opentelemetry.sdk.metrics import (
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from alerts.clock import Clock
from service.telemetry.exemplars import latest_of_each_bucket, no_exemplars
from service.telemetry.local_histograms import LocalHistograms
from service.telemetry.prometheus import FamilyPoints, Translator
from service.telemetry.threads import run_in_daemon_thread
from service.telemetry.views import MetricViews

_logger = logging.getLogger(__name__)

LOCAL_SCOPE: Final = "gatewatch.gateway"
"""The instrumentation scope of the local histograms."""


@dataclass(frozen=True, slots=True)
class Collected:
    """One collection.

    Attributes:
        timestamp_ms: When, in Unix milliseconds.
        monotonic_s: When, by the clock that never goes back.
        metrics: As the SDK has it.
        families: Translated for Prometheus.
    """

    timestamp_ms: int
    monotonic_s: float
    metrics: MetricsData
    families: list[FamilyPoints]


Consumer = Callable[[Collected], None]
"""Takes a collection on the collector's thread, in order; must not wait."""


@dataclass(slots=True)
class CollectionStats:
    """Counts of the collector; read at collection.

    Attributes:
        collections: How often it collected.
        failures: How often collecting or a consumer raised.
    """

    collections: int = 0
    failures: int = 0


class _Reader(MetricReader):
    """Returns what ``collect`` found; cumulative temporality."""

    def __init__(self) -> None:
        super().__init__()
        self._data = MetricsData(resource_metrics=[])

    def read(self) -> MetricsData:
        """Collect; when no instrument has a value the SDK hands over nothing at all."""
        self._data = MetricsData(resource_metrics=[])
        self.collect()
        return self._data

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> None:
        self._data = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Do nothing: the collection stops its own thread."""


class Collection:
    """Collects on a thread of its own, and on demand.

    Attributes:
        provider: The meter provider whose only reader this is.
        stats: Counts.
        histograms: Those of the hot path; collected with the rest.
    """

    def __init__(
        self,
        resource: Resource,
        *,
        interval_s: float,
        clock: Clock,
        enabled: bool = True,
        views: MetricViews | None = None,
    ) -> None:
        """Build the provider; ``start`` starts the thread.

        Args:
            resource: What produces the metrics.
            interval_s: How often to collect, in seconds.
            clock: Gives collections their time; the thread's rhythm is real time.
            enabled: False: there are no instruments, and every collection is empty.
            views: What is different about some histograms.
        """
        self._resource = resource
        self._start_ns = int(clock.time() * 1e9)
        self.histograms = LocalHistograms(views)
        self._reader = _Reader()
        self._translator = Translator(resource.attributes)
        self._interval_s = interval_s
        self._clock = clock
        self._enabled = enabled
        self._consumers: tuple[Consumer, ...] = ()
        self._collecting = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._latest: Collected | None = None
        self.stats = CollectionStats()
        self.provider = MeterProvider(
            metric_readers=[self._reader] if enabled else [],
            resource=resource,
            shutdown_on_exit=False,
            views=[
                View(instrument_type=Histogram, exemplar_reservoir_factory=latest_of_each_bucket),
                *(
                    View(instrument_type=observed, exemplar_reservoir_factory=no_exemplars)
                    for observed in (ObservableCounter, ObservableGauge, ObservableUpDownCounter)
                ),
            ],
        )

    def add_consumer(self, consumer: Consumer) -> Callable[[], None]:
        """Hand every later collection to ``consumer``; returns what stops that."""
        self._consumers = (*self._consumers, consumer)

        def remove() -> None:
            self._consumers = tuple(other for other in self._consumers if other is not consumer)

        return remove

    @property
    def latest(self) -> Collected | None:
        """The newest collection; None before the first."""
        return self._latest

    def forget(self) -> None:
        """Show nobody what was collected until now: it lacks what has been registered since."""
        with self._collecting:
            self._latest = None

    def start(self) -> None:
        """Start to collect; the first collection is after one interval."""
        if self._enabled and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="collect-metrics", daemon=True)
            self._thread.start()

    async def collect_now(self) -> Collected:
        """Collect, hand the result to the consumers, and return it."""
        return await run_in_daemon_thread("collect-now", self.collect)

    async def fresh(self, max_age_s: float) -> Collected:
        """Return the latest collection, or a new one, for the caller only, if that is too old.

        Consumers do not see it, so that a scrape adds no samples to the series store.
        """
        latest = self._latest
        if latest is not None and self._clock.monotonic() - latest.monotonic_s <= max_age_s:
            return latest
        return await run_in_daemon_thread("collect-for-scrape", self._collect_for_caller)

    def collect(self) -> Collected:
        """Collect and hand the result to the consumers; blocks the calling thread.

        An error of one consumer is logged and counted and does not keep the others from theirs.
        """
        with self._collecting:
            collected = self._collect()
            for consumer in self._consumers:
                try:
                    consumer(collected)
                except Exception:  # a supervisor: the other consumers and the next round go on
                    self.stats.failures += 1
                    _logger.exception("A consumer of collected metrics failed.")
            return collected

    def stop(self, timeout_s: float) -> bool:
        """Stop the thread; blocks at most ``timeout_s`` and returns whether it ended."""
        self._stopped.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _collect_for_caller(self) -> Collected:
        with self._collecting:
            return self._collect()

    def _collect(self) -> Collected:
        timestamp_ms = int(self._clock.time() * 1000)
        monotonic_s = self._clock.monotonic()
        data = self._read(timestamp_ms * 1_000_000)
        self.stats.collections += 1
        collected = Collected(timestamp_ms, monotonic_s, data, self._translator.translate(data))
        self._latest = collected
        return collected

    def _read(self, time_ns: int) -> MetricsData:
        """Return what the SDK has, and the local histograms in a scope of their own."""
        if not self._enabled:
            return MetricsData(resource_metrics=[])
        data = self._reader.read()
        local = self.histograms.metrics(self._start_ns, time_ns)
        if not local:
            return data
        scope = ScopeMetrics(InstrumentationScope(LOCAL_SCOPE), local, schema_url="")
        if not data.resource_metrics:
            return MetricsData([ResourceMetrics(self._resource, [scope], schema_url="")])
        first, *others = data.resource_metrics
        merged = ResourceMetrics(
            first.resource, [*first.scope_metrics, scope], schema_url=first.schema_url
        )
        return MetricsData([merged, *others])

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            try:
                self.collect()
            except Exception:  # a supervisor: one failed collection is a gap, not the end
                self.stats.failures += 1
                _logger.exception("Metrics could not be collected.")
