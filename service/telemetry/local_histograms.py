"""Histograms for the hot path, at a fortieth of what recording through the SDK costs.

The SDK checks, copies and hashes attributes at every ``record``. Here a series is bound to its
attributes once, and recording is a bisection and an increment. At collection the counts become the
SDK's own data points and travel with its metrics, so that every consumer sees them alike.

Recording belongs to the event loop; reading happens on the collector's thread. The counts are
copied in one step and ``count`` is made from that copy, so a point is always consistent in itself;
``sum`` may be one recording ahead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
)
from opentelemetry.trace import SpanContext

from alerts.telemetry import InstrumentDefinition
from service.telemetry.views import MAX_SERIES, OVERFLOW, MetricViews


class HistogramSeries:
    """One series: a histogram under fixed attributes."""

    __slots__ = ("_bounds", "_counts", "_max", "_min", "_sum", "_traces", "attributes")

    def __init__(self, bounds: tuple[float, ...], attributes: Mapping[str, str | int]) -> None:
        """Start with nothing recorded."""
        self.attributes = dict(attributes)
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._min = float("inf")
        self._max = float("-inf")
        self._traces: dict[int, tuple[SpanContext, float, int]] = {}

    def record(self, value: float) -> None:
        """Count a value; a bucket includes its upper bound."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        # The functions min and max cost as much as all of the rest.
        if value < self._min:  # noqa: PLR1730 - min() is a call, for each value
            self._min = value
        if value > self._max:  # noqa: PLR1730 - as above
            self._max = value

    def point_to(self, trace: SpanContext, value: float, time_ns: int) -> None:
        """Keep the trace of a value that was recorded, in place of the one its bucket had.

        Apart from ``record``, so that values without a trace cost nothing for it.

        Args:
            trace: Where the value was measured; must be sampled, or it leads nowhere.
            value: What was measured.
            time_ns: When, in Unix nanoseconds.
        """
        self._traces[bisect_left(self._bounds, value)] = (trace, value, time_ns)

    def point(self, start_ns: int, time_ns: int) -> HistogramDataPoint | None:
        """Return the counts since the start; None while there are none."""
        counts = self._counts.copy()
        count = sum(counts)
        if not count:
            return None
        return HistogramDataPoint(
            attributes=self.attributes,
            start_time_unix_nano=start_ns,
            time_unix_nano=time_ns,
            count=count,
            sum=self._sum,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            min=self._min,
            max=self._max,
            exemplars=[
                Exemplar({}, value, at_ns, trace.span_id, trace.trace_id)
                for trace, value, at_ns in self._traces.copy().values()
            ],
        )


class LocalHistogram:
    """A histogram and its series."""

    __slots__ = ("_boundaries", "_limit", "_series", "definition")

    def __init__(self, definition: InstrumentDefinition, views: MetricViews | None = None) -> None:
        """Start without series."""
        views = views or MetricViews()
        self.definition = definition
        self._boundaries = views.boundaries(definition)
        self._limit = views.limit(definition.name)
        self._series: dict[frozenset[tuple[str, str | int]], HistogramSeries] = {}

    def series(self, attributes: Mapping[str, str | int] | None = None) -> HistogramSeries:
        """Return the series of these attributes; keep it, and record into it."""
        kept = self._limit.keep(attributes or {})
        key = frozenset(kept.items())
        found = self._series.get(key)
        if found is None:
            found = HistogramSeries(self._boundaries, kept)
            self._series[key] = found
        return found

    def metric(self, start_ns: int, time_ns: int) -> Metric | None:
        """Return all series as the SDK's metric; None while nothing was recorded."""
        points = [series.point(start_ns, time_ns) for series in tuple(self._series.values())]
        recorded = [point for point in points if point is not None]
        if not recorded:
            return None
        return Metric(
            name=self.definition.name,
            description=self.definition.description,
            unit=self.definition.unit,
            data=Histogram(recorded, AggregationTemporality.CUMULATIVE),
        )


class SeriesTable:
    """The series of a histogram by the values of its attributes, for those not known beforehand."""

    __slots__ = ("_found", "_histogram", "_names")

    def __init__(self, histogram: LocalHistogram, *names: str) -> None:
        """Find series of ``histogram`` by the values of the attributes with these names."""
        self._histogram = histogram
        self._names = names
        self._found: dict[tuple[str | int, ...], HistogramSeries] = {}

    def of(self, *values: str | int) -> HistogramSeries:
        """Return a series, to record one value into it and then ask again.

        Args:
            values: Those of the attributes, in the order of their names; an empty one or 0 means
                that the attribute is absent.
        """
        series = self._found.get(values)
        if series is None:
            pairs = zip(self._names, values, strict=True)
            series = self._histogram.series({name: value for name, value in pairs if value})
            # What overflows is asked for each time, as the limit counts it. The other bound is for
            # attributes that a view drops: they are not limited there.
            if series.attributes != OVERFLOW and len(self._found) < MAX_SERIES:
                self._found[values] = series
        return series


class LocalHistograms:
    """All local histograms of the process."""

    def __init__(self, views: MetricViews | None = None) -> None:
        """Start without any."""
        self._views = views or MetricViews()
        self._histograms: list[LocalHistogram] = []

    def create(self, definition: InstrumentDefinition) -> LocalHistogram:
        """Make a histogram that is collected from now on, unless a view drops it."""
        histogram = LocalHistogram(definition, self._views)
        if not self._views.is_dropped(definition.name):
            self._histograms.append(histogram)
        return histogram

    def metrics(self, start_ns: int, time_ns: int) -> list[Metric]:
        """Return what was recorded since the start, in Unix nanoseconds."""
        metrics = [histogram.metric(start_ns, time_ns) for histogram in self._histograms]
        return [metric for metric in metrics if metric is not None]
