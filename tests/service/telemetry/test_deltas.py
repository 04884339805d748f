"""What came since the collector accepted something, from what is cumulative."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, MetricsData
from opentelemetry.sdk.resources import Resource

from alerts.clock import ManualClock
from service.telemetry.collection import Collection
from service.telemetry.definitions.check_metrics import PROBE_SUCCESS
from service.telemetry.definitions.gateway_metrics import CHANNEL_COUNT, MESSAGE_DELIVERED
from service.telemetry.definitions.job_metrics import JOB_DURATION
from service.telemetry.deltas import DeltaMetrics
from service.telemetry.observers import Observers


class Process:
    """A counter, an up-down counter, a gauge and a histogram."""

    def __init__(self) -> None:
        self.delivered = 0
        self.channels = 0
        self._collection = Collection(Resource.get_empty(), interval_s=3600, clock=ManualClock())
        meter = self._collection.provider.get_meter("test")
        self.duration = JOB_DURATION.histogram(meter)
        observers = Observers(meter)
        observers.observe(MESSAGE_DELIVERED, lambda: [(self.delivered, {})])
        observers.observe(CHANNEL_COUNT, lambda: [(self.channels, {})])
        observers.observe(PROBE_SUCCESS, lambda: [(1, {"check": "web"})])

    def collect(self) -> MetricsData:
        return self._collection.collect().metrics


def shown(data: MetricsData) -> dict[str, tuple[Any, list[Any]]]:
    """Return temporality and values by name; of histograms count, sum and buckets."""
    found = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                values = [
                    (point.count, point.sum, sum(point.bucket_counts))
                    if isinstance(point, HistogramDataPoint)
                    else getattr(point, "value", None)
                    for point in metric.data.data_points
                ]
                found[metric.name] = (
                    getattr(metric.data, "aggregation_temporality", None),
                    values,
                )
    return found


CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA


def test_counters_and_histograms_become_differences() -> None:
    """Up-down counters and gauges say what is, at every export."""
    process, deltas = Process(), DeltaMetrics()
    process.delivered, process.channels = 5, 3
    process.duration.record(1.0)
    first = process.collect()
    deltas.accept(first)
    process.delivered, process.channels = 7, 2
    process.duration.record(2.0)
    process.duration.record(4.0)

    found = shown(deltas.since_accepted(process.collect()))

    assert found["gateway.message.delivered"] == (DELTA, [2])
    assert found["gateway.channel.count"] == (CUMULATIVE, [2])
    assert found["probe_success"] == (None, [1])
    assert found["gateway.job.duration"] == (DELTA, [(2, 6.0, 2)])


def test_what_did_not_change_is_left_out() -> None:
    """A counter that stands still and a histogram without a measurement have no point."""
    process, deltas = Process(), DeltaMetrics()
    process.delivered = 5
    process.duration.record(1.0)
    deltas.accept(process.collect())

    found = shown(deltas.since_accepted(process.collect()))

    assert found.keys() == {"gateway.channel.count", "probe_success"}


def test_only_histograms_for_who_wants_to_keep_little() -> None:
    """``lowmemory``: counters stay as they are counted."""
    process, deltas = Process(), DeltaMetrics(sums=False)
    process.delivered = 5
    process.duration.record(1.0)
    deltas.accept(process.collect())
    process.delivered = 6
    process.duration.record(1.0)

    found = shown(deltas.since_accepted(process.collect()))

    assert found["gateway.message.delivered"] == (CUMULATIVE, [6])
    assert found["gateway.job.duration"] == (DELTA, [(1, 1.0, 1)])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=8))
def test_nothing_is_lost_or_told_twice(exports: list[tuple[int, bool]]) -> None:
    """Whatever is refused, all that was accepted adds up to what was counted by then."""
    process, deltas = Process(), DeltaMetrics()
    told, accepted_at = 0, 0
    for grown, accepted in exports:
        process.delivered += grown
        data = process.collect()
        found = shown(deltas.since_accepted(data)).get("gateway.message.delivered")
        if accepted:
            told += sum(found[1]) if found else 0
            accepted_at = process.delivered
            deltas.accept(data)

    assert told == accepted_at
