"""Checks as metrics. Read on the collector's thread: snapshots and integers only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from alerts.storage.check_periods import StateTimes
from service.health.monitor import HealthMonitor
from service.health.recorder import MEASURED_WINDOWS, HealthRecorder
from service.health.snapshot import CheckSnapshot
from service.health.state import AttributeValue
from service.telemetry.definitions import check_metrics
from service.telemetry.observers import Observers
from service.telemetry.probe_instruments import (
    HTTP_PHASES,
    PROBE_DEFINITIONS,
    PROBE_METRICS,
    ProbeMetric,
)

Values = Iterable[tuple[float, Mapping[str, str]]]

_HTTP_STATUS: Final = "http.response.status_code"


class CheckObservation:
    """Reads the health checks."""

    def __init__(self, monitor: HealthMonitor) -> None:
        """Say which."""
        self._monitor = monitor

    def register(self, observers: Observers) -> None:
        """Have them read at each collection."""
        observe = observers.observe
        # A plain number: exporters write an enumeration's value by its name.
        observe(check_metrics.HEALTH_STATE, self._each(lambda check: int(check.state)))
        observe(check_metrics.PROBE_SUCCESS, self._each(lambda check: check.probe_success))
        observe(check_metrics.PROBE_DURATION, self._each(_duration_s))
        observe(check_metrics.PROBE_HTTP_STATUS, self._each(lambda check: check.http_status))
        observe(check_metrics.HEALTH_LAST_RUN, self._each(lambda check: check.status.last_at_s))
        for definition in PROBE_DEFINITIONS:
            shown = [
                metric
                for metric in (*PROBE_METRICS, *HTTP_PHASES)
                if metric.definition is definition
            ]
            observe(definition, self._found(shown))

    def _each(self, value: Callable[[CheckSnapshot], float | None]) -> Callable[[], Values]:
        def read() -> Values:
            for check in self._monitor.checks():
                number = value(check)
                if number is not None:
                    yield number, labels_of(check)

        return read

    def _found(self, metrics: Iterable[ProbeMetric]) -> Callable[[], Values]:
        """Return what reads the attributes of the last results."""
        shown = tuple(metrics)

        def read() -> Values:
            for check in self._monitor.checks():
                last = check.status.last
                attributes = {} if last is None else last.attributes
                for metric in shown:
                    found = attributes.get(metric.attribute)
                    if found is not None and (
                        metric not in HTTP_PHASES or _HTTP_STATUS in attributes
                    ):
                        yield from _finding(check, metric, found)

        return read


class UptimeObservation:
    """Reads how checks were."""

    def __init__(self, monitor: HealthMonitor, recorder: HealthRecorder) -> None:
        """Say of which checks, and who knows."""
        self._monitor = monitor
        self._recorder = recorder

    def register(self, observers: Observers) -> None:
        """Have it read at each collection."""
        observers.observe(check_metrics.HEALTH_UPTIME, self._uptimes)
        stats = self._recorder.stats
        observers.observe(check_metrics.HEALTH_HISTORY_FAILED, lambda: [(stats.failures, {})])
        observers.observe(check_metrics.HEALTH_HISTORY_DROPPED, lambda: [(stats.dropped, {})])

    def _uptimes(self) -> Values:
        uptimes = self._recorder.uptimes  # replaced, never changed
        for check in self._monitor.checks():
            windows = uptimes.get(check.name, {})
            for window in MEASURED_WINDOWS:
                uptime = windows.get(window, StateTimes()).uptime
                if uptime is not None:
                    yield uptime, {**labels_of(check), "window": window}


def labels_of(check: CheckSnapshot) -> dict[str, str]:
    """Return the labels of a check's metrics."""
    return {"check": check.name, "group": check.group} if check.group else {"check": check.name}


def _duration_s(check: CheckSnapshot) -> float | None:
    return None if check.status.last is None else check.status.last.duration_s


def _finding(check: CheckSnapshot, metric: ProbeMetric, found: AttributeValue) -> Values:
    labels = labels_of(check)
    if metric.label:
        yield 1, {**labels, metric.label: str(found)}
    elif isinstance(found, int | float):
        yield found, {**labels, "phase": metric.phase} if metric.phase else labels
