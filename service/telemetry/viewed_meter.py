"""A meter whose histograms follow the views of the settings.

The SDK's own views know no limit of series and cost the same when they drop an instrument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter, NoOpHistogram
from opentelemetry.util.types import Attributes

from alerts.telemetry import InstrumentDefinition
from service.telemetry.views import MetricViews, SeriesLimit


class ViewedHistogram(Histogram):
    """A histogram with a limit of series and, perhaps, fewer attributes."""

    def __init__(self, histogram: Histogram, limit: SeriesLimit) -> None:
        """Record into ``histogram``."""
        self._histogram = histogram
        self._limit = limit

    def record(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """Record a measurement in the series it belongs to."""
        kept: Any = self._limit.keep(attributes or {})
        self._histogram.record(amount, kept, context)


class ViewedMeter(Meter):
    """Makes instruments of another meter; histograms follow the views."""

    def __init__(self, meter: Meter, views: MetricViews) -> None:
        """Use ``meter``."""
        super().__init__(meter.name, meter.version, meter.schema_url)
        self._meter = meter
        self._views = views

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Histogram:
        """Return a histogram, or one that records nothing where a view drops it."""
        if self._views.is_dropped(name):
            return NoOpHistogram(name, unit, description)
        definition = InstrumentDefinition(
            "histogram",
            name,
            unit,
            description,
            boundaries=tuple(explicit_bucket_boundaries_advisory or ()),
        )
        histogram = self._meter.create_histogram(
            name,
            unit,
            description,
            explicit_bucket_boundaries_advisory=self._views.boundaries(definition) or None,
        )
        return ViewedHistogram(histogram, self._views.limit(name))

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        """Return the other meter's."""
        return self._meter.create_counter(name, unit, description)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        """Return the other meter's."""
        return self._meter.create_up_down_counter(name, unit, description)

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        """Return the other meter's."""
        return self._meter.create_observable_counter(name, callbacks, unit, description)

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        """Return the other meter's."""
        return self._meter.create_observable_gauge(name, callbacks, unit, description)

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        """Return the other meter's."""
        return self._meter.create_observable_up_down_counter(name, callbacks, unit, description)
