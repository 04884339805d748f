"""Which measurements are kept with their trace: of histograms the latest of each bucket.

The SDK's own reservoirs are empty after each collection, but here a collection has several readers:
a scrape in between would take the exemplars away from the series store and from the export. These
stay until a newer measurement takes their place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar, ExemplarReservoir
from opentelemetry.trace import get_current_span
from opentelemetry.util.types import Attributes


class LatestExemplars(ExemplarReservoir):
    """The latest measurement of each bucket that was made inside a trace.

    Which measurements are offered is for the exemplar filter: those of sampled traces, unless
    ``OTEL_METRICS_EXEMPLAR_FILTER`` says otherwise.
    """

    def __init__(self, boundaries: Sequence[float] = (), **_settings: object) -> None:
        """Use the boundaries of the histogram."""
        self._boundaries = boundaries
        self._kept: dict[int, Exemplar] = {}

    def offer(
        self, value: float, time_unix_nano: int, attributes: Attributes, context: Context
    ) -> None:
        """Keep a measurement in place of the one its bucket had."""
        span = get_current_span(context).get_span_context()
        if span.is_valid:
            # One assignment: the collector's thread copies the dictionary meanwhile.
            self._kept[bisect_left(self._boundaries, value)] = Exemplar(
                {}, value, time_unix_nano, span.span_id, span.trace_id
            )

    def collect(self, point_attributes: Attributes) -> list[Exemplar]:
        """Return what is kept; it stays."""
        return list(self._kept.copy().values())


class NoExemplars(ExemplarReservoir):
    """Nothing: what is read at each collection is measured inside no trace.

    The SDK's own reservoir, which is as empty, took a quarter of the time of a collection.
    """

    __slots__ = ()

    def __init__(self, **_settings: object) -> None:
        """Need nothing."""

    def offer(
        self, value: float, time_unix_nano: int, attributes: Attributes, context: Context
    ) -> None:
        """Keep nothing."""

    def collect(self, point_attributes: Attributes) -> list[Exemplar]:
        """Return nothing."""
        return []


def no_exemplars(_aggregation: type[Any]) -> Callable[..., ExemplarReservoir]:
    """Return what makes the reservoir of an observed series, in the form a View takes."""
    return NoExemplars


def latest_of_each_bucket(_aggregation: type[Any]) -> Callable[..., ExemplarReservoir]:
    """Return what makes the reservoir of a histogram's series, in the form a View takes."""
    return LatestExemplars
