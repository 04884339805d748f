"""Histograms of the hot path: the same points as the SDK's, in the same collection."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric

from alerts.telemetry import InstrumentDefinition
from service.config.telemetry_settings import MetricView
from service.telemetry.local_histograms import LocalHistograms, SeriesTable
from service.telemetry.views import MetricViews

BOUNDS = (0.001, 0.01, 0.1, 1.0)
WAIT = InstrumentDefinition("histogram", "test.wait", "s", "How long it took.", (), BOUNDS)


def only_point(metric: Metric) -> HistogramDataPoint:
    """Return the one point of a histogram with one series."""
    (point,) = metric.data.data_points
    assert isinstance(point, HistogramDataPoint)
    return point


@given(st.lists(st.floats(0, 10) | st.sampled_from(BOUNDS), min_size=1))
def test_points_equal_those_of_the_sdk(values):
    """Counts by bucket, sum, minimum and maximum, also at the very bounds."""
    histograms = LocalHistograms()
    series = histograms.create(WAIT).series({"kind": "a"})
    reader = InMemoryMetricReader()
    theirs = WAIT.histogram(MeterProvider(metric_readers=[reader]).get_meter("test"))
    for value in values:
        series.record(value)
        theirs.record(value, {"kind": "a"})

    (mine,) = histograms.metrics(1, 2)

    data = reader.get_metrics_data()
    assert data is not None
    metric = data.resource_metrics[0].scope_metrics[0].metrics[0]
    expected, point = only_point(metric), only_point(mine)
    assert list(point.bucket_counts) == list(expected.bucket_counts)
    for field in ("attributes", "count", "sum", "min", "max"):
        assert getattr(point, field) == getattr(expected, field)
    assert tuple(point.explicit_bounds) == tuple(expected.explicit_bounds)
    assert (mine.name, mine.unit, mine.description) == (
        metric.name,
        metric.unit,
        metric.description,
    )


def test_a_series_is_found_again_by_its_attributes_in_any_order():
    """Binding twice does not make two series."""
    histogram = LocalHistograms().create(WAIT)

    one = histogram.series({"a": "1", "b": "2"})

    assert histogram.series({"b": "2", "a": "1"}) is one
    assert histogram.series() is not one


def test_what_was_never_recorded_is_not_there():
    """Neither empty series nor empty metrics are collected."""
    histograms = LocalHistograms()
    histogram = histograms.create(WAIT)
    histogram.series({"kind": "quiet"})
    assert histograms.metrics(1, 2) == []

    histogram.series({"kind": "busy"}).record(0.5)

    (metric,) = histograms.metrics(1, 2)
    point = only_point(metric)
    assert point.attributes == {"kind": "busy"}
    assert point.bucket_counts[bisect_left(BOUNDS, 0.5)] == 1
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1, 2)


def test_a_table_finds_series_by_the_values_of_their_attributes():
    """Empty values and 0 stand for attributes that are absent; numbers stay numbers."""
    histogram = LocalHistograms().create(WAIT)
    table = SeriesTable(histogram, "kind", "status", "error")

    series = table.of("a", 200, "")

    assert series is table.of("a", 200, "")
    assert series is histogram.series({"kind": "a", "status": 200})
    assert series.attributes == {"kind": "a", "status": 200}
    assert table.of("a", 0, "") is histogram.series({"kind": "a"})


def test_a_table_knows_the_limit_of_series():
    """What is beyond it shares a series, and every measurement of that is counted."""
    views = MetricViews(max_series=3)
    table = SeriesTable(LocalHistograms(views).create(WAIT), "kind")

    found = [table.of(kind) for kind in ("a", "b", "c", "d", "c", "a")]

    assert [series.attributes.get("kind") for series in found] == ["a", "b", None, None, None, "a"]
    assert views.overflowed == 3


def test_a_table_sums_up_what_a_view_leaves_out():
    """Whatever the values of an attribute without a series of its own, there is one."""
    views = MetricViews([MetricView(instrument=WAIT.name, attributes=("kind",))])
    table = SeriesTable(LocalHistograms(views).create(WAIT), "kind", "address")

    found = {table.of("a", f"host-{number}") for number in range(3000)}

    assert len(found) == 1
    assert views.overflowed == 0
