"""Metrics as the difference to what a collector has already: delta temporality.

What is measured here is cumulative, because rules need it so. Differences are made when metrics are
sent, from what was accepted last: a batch that was lost is in the next one.

Source: OpenTelemetry specification, "Metrics Data Model", temporality.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)

_Key = tuple[str, str, tuple[tuple[str, object], ...]]
_DELTA: Final = AggregationTemporality.DELTA


class DeltaMetrics:
    """Turns collections into differences; belongs to the thread that sends them.

    Counters and histograms become differences, series without any change are left out. Up-down
    counters and gauges say what is, and stay as they are.
    """

    def __init__(self, *, sums: bool = True) -> None:
        """Start from nothing; without ``sums`` counters stay cumulative."""
        self._sums = sums
        self._numbers: dict[_Key, NumberDataPoint] = {}
        self._histograms: dict[_Key, HistogramDataPoint] = {}

    def since_accepted(self, data: MetricsData) -> MetricsData:
        """Return what came since the collection that was accepted last."""
        return MetricsData([self._resource(each) for each in data.resource_metrics])

    def accept(self, data: MetricsData) -> None:
        """Start from a collection, which the collector has now."""
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        key = _key(scope, metric, point)
                        if isinstance(point, HistogramDataPoint):
                            self._histograms[key] = point
                        elif isinstance(point, NumberDataPoint) and _is_counter(metric):
                            self._numbers[key] = point

    def _resource(self, resource: ResourceMetrics) -> ResourceMetrics:
        scopes = [
            replace(scope, metrics=[m for one in scope.metrics if (m := self._metric(scope, one))])
            for scope in resource.scope_metrics
        ]
        return replace(resource, scope_metrics=[scope for scope in scopes if scope.metrics])

    def _metric(self, scope: ScopeMetrics, metric: Metric) -> Metric | None:
        data = metric.data
        if isinstance(data, Histogram):
            changed = [
                point
                for each in data.data_points
                if (
                    point := _histogram_since(each, self._histograms.get(_key(scope, metric, each)))
                )
            ]
            return replace(metric, data=Histogram(changed, _DELTA)) if changed else None
        if isinstance(data, Sum) and self._sums and data.is_monotonic:
            grown = [
                number
                for each in data.data_points
                if (number := _number_since(each, self._numbers.get(_key(scope, metric, each))))
            ]
            return replace(metric, data=Sum(grown, _DELTA, is_monotonic=True)) if grown else None
        return metric


def _is_counter(metric: Metric) -> bool:
    return isinstance(metric.data, Sum) and metric.data.is_monotonic


def _key(scope: ScopeMetrics, metric: Metric, point: object) -> _Key:
    attributes = getattr(point, "attributes", None) or {}
    return scope.scope.name, metric.name, tuple(sorted(attributes.items()))


def _number_since(point: NumberDataPoint, before: NumberDataPoint | None) -> NumberDataPoint | None:
    """Return how much a counter grew; one that went back has started again."""
    if before is None or point.value < before.value:
        return point if point.value else None
    grown = point.value - before.value
    if not grown:
        return None
    return replace(point, value=grown, start_time_unix_nano=before.time_unix_nano)


def _histogram_since(
    point: HistogramDataPoint, before: HistogramDataPoint | None
) -> HistogramDataPoint | None:
    """Return what was measured since; the least and the largest of that are not known."""
    if before is None or point.count < before.count:
        return point if point.count else None
    if point.count == before.count:
        return None
    counts = zip(point.bucket_counts, before.bucket_counts, strict=True)
    return replace(
        point,
        start_time_unix_nano=before.time_unix_nano,
        count=point.count - before.count,
        sum=point.sum - before.sum,
        bucket_counts=[now - then for now, then in counts],
        min=None,  # type: ignore[arg-type]  # OTLP's minimum and maximum are optional
        max=None,  # type: ignore[arg-type]
        exemplars=[each for each in point.exemplars if each.time_unix_nano > before.time_unix_nano],
    )
