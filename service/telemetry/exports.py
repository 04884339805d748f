"""What leaves the process: one queue per signal that has a target, and its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricsData

from service.config.telemetry_settings import TelemetrySettings
from service.telemetry.collection import Collected
from service.telemetry.definitions.telemetry_metrics import (
    EXPORT_DROPPED,
    EXPORT_QUEUE_CAPACITY,
    EXPORT_QUEUE_SIZE,
    EXPORT_REJECTED,
    EXPORT_SENT,
    EXPORT_SUCCESS,
)
from service.telemetry.environment import is_disabled, resolve_export_interval, resolve_limits
from service.telemetry.export import ExportQueue, ExportStats, QueueLimits, Signal
from service.telemetry.observers import Observers
from service.telemetry.otlp import resolve_targets
from service.telemetry.senders import Sender, create_sender

_Values = Iterable[tuple[float, Mapping[str, str]]]

_logger = logging.getLogger(__name__)

# Metrics are cumulative: a newer collection says all that an older one said.
_METRIC_LIMITS: Final = QueueLimits(max_items=1, max_batch=1)


class Exports:
    """The queues of the signals that are sent, none if nothing is configured.

    Attributes:
        queues: By signal.
        metrics: Sends collections at the export interval, None if metrics are not sent.
    """

    def __init__(self, settings: TelemetrySettings, environment: Mapping[str, str]) -> None:
        """Resolve the targets and start the queues' threads.

        Raises:
            ConfigurationError: A setting or variable cannot be used; no thread was started.
        """
        targets = {} if is_disabled(environment) else resolve_targets(settings.otlp, environment)
        limits: dict[Signal, QueueLimits] = {
            "traces": resolve_limits("OTEL_BSP", environment),
            "metrics": _METRIC_LIMITS,
            "logs": resolve_limits("OTEL_BLRP", environment),
        }
        interval_s = resolve_export_interval(settings, environment)
        stats: dict[Signal, ExportStats] = {signal: ExportStats() for signal in targets}
        self._senders: dict[Signal, Sender] = {
            signal: create_sender(signal, target, stats[signal].reject)
            for signal, target in targets.items()
        }
        self.queues: dict[Signal, ExportQueue[Any]] = {
            signal: ExportQueue(
                signal,
                sender.export,
                limits=limits[signal],
                weigh=_data_points if signal == "metrics" else _one,
                stats=stats[signal],
            )
            for signal, sender in self._senders.items()
        }
        queue = self.queues.get("metrics")
        self.metrics = None if queue is None else MetricExport(queue, interval_s)

    def observe(self, observers: Observers) -> None:
        """Register the counts of what was sent and lost, and how full the queues are."""
        observers.observe(EXPORT_SENT, self._each(lambda queue: queue.stats.sent))
        observers.observe(EXPORT_DROPPED, self._each(lambda queue: queue.stats.dropped))
        observers.observe(EXPORT_REJECTED, self._each(lambda queue: queue.stats.rejected))
        observers.observe(EXPORT_QUEUE_SIZE, self._each(len))
        observers.observe(EXPORT_QUEUE_CAPACITY, self._each(lambda queue: queue.max_items))
        observers.observe(EXPORT_SUCCESS, self._success)

    def flush(self, timeout_s: float) -> bool:
        """Block until what waits now was tried; return whether all was in time."""
        deadline = time.monotonic() + timeout_s
        in_time = True
        for queue in self.queues.values():
            in_time &= queue.flush(max(0.0, deadline - time.monotonic()))
        return in_time

    def close(self, timeout_s: float) -> dict[Signal, int]:
        """Close all queues, blocking at most ``timeout_s``; return and log what was not sent."""
        deadline = time.monotonic() + timeout_s
        for queue in self.queues.values():
            queue.begin_close()
        lost: dict[Signal, int] = {}
        for signal, queue in self.queues.items():
            count = queue.close(max(0.0, deadline - time.monotonic()))
            if count:
                lost[signal] = count
            # An exporter's shutdown may block for as long as the export it interrupts.
            shutdown = self._senders[signal].shutdown
            threading.Thread(target=shutdown, name=f"shutdown-{signal}", daemon=True).start()
        if lost:
            counts = ", ".join(f"{count} of {signal}" for signal, count in lost.items())
            _logger.warning(
                "Telemetry was not sent before the stop: %s; is the collector reachable?", counts
            )
        return lost

    def _each(self, value: Callable[[ExportQueue[Any]], int]) -> Callable[[], _Values]:
        return lambda: [
            (value(queue), {"gateway.telemetry.signal": signal})
            for signal, queue in self.queues.items()
        ]

    def _success(self) -> _Values:
        for signal, queue in self.queues.items():
            accepted = queue.stats.accepted
            if accepted is not None:
                yield int(accepted), {"gateway.telemetry.signal": signal}


class MetricExport:
    """Passes collections on to the export queue, one per export interval."""

    def __init__(self, queue: ExportQueue[MetricsData], interval_s: float) -> None:
        self._queue = queue
        self._interval_s = interval_s
        self._next_s: float | None = None
        self._last = False

    def __call__(self, collected: Collected) -> None:
        """Put a collection into the queue if it is due; runs on the collector's thread."""
        now = collected.monotonic_s
        if self._next_s is not None and now < self._next_s and not self._last:
            return
        # A collection a little early is as good as one almost an interval late.
        self._next_s = now + self._interval_s * 0.9
        if collected.metrics.resource_metrics:
            self._queue.put(collected.metrics)

    def send_next(self) -> None:
        """Send the next collection whether it is due or not: the last one before the stop."""
        self._last = True


def _one(_item: object) -> int:
    return 1


def _data_points(metrics: MetricsData) -> int:
    return sum(
        len(metric.data.data_points)
        for resource_metrics in metrics.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
    )
