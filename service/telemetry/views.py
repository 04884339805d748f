"""What settings change about metrics: buckets, attributes, which there are, how many series.

Every instrument is made with a view, whoever keeps its values: the SDK, the histograms of the hot
path, or the parts that are read. Past the most series an instrument may have, the rest is one
series with ``otel.metric.overflow``, as OpenTelemetry has it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, TypeVar

from alerts.telemetry import InstrumentDefinition
from service.config.telemetry_settings import MetricView

MAX_SERIES: Final = 2000
"""Attribute sets one instrument may report; what the OpenTelemetry specification recommends."""

OVERFLOW: Final[Mapping[str, str]] = {"otel.metric.overflow": "true"}
"""The attributes of what has no series of its own any more."""

_logger = logging.getLogger(__name__)

Key = frozenset[tuple[str, object]]
Value = TypeVar("Value")


@dataclass(slots=True)
class SeriesLimit:
    """Which attribute sets of one instrument have a series; none is ever given up.

    Attributes:
        name: The instrument.
        max_series: Series at most, that of the overflow among them.
        attributes: Those that are kept; None: all.
        overflowed: Measurements that went to the overflow.
    """

    name: str
    max_series: int = MAX_SERIES
    attributes: frozenset[str] | None = None
    overflowed: int = 0
    _known: set[Key] = field(default_factory=set)

    def keep(self, attributes: Mapping[str, Value]) -> Mapping[str, Value | str]:
        """Return the attributes of the series that a measurement belongs to."""
        if self.attributes is not None:
            attributes = {key: attributes[key] for key in attributes if key in self.attributes}
        key = frozenset(attributes.items())
        if key in self._known:
            return attributes
        if len(self._known) < self.max_series - 1:
            self._known.add(key)
            return attributes
        if not self.overflowed:
            _logger.warning(
                "The metric %s has %d series; further ones are counted together.",
                self.name,
                self.max_series,
            )
        self.overflowed += 1
        return OVERFLOW


class MetricViews:
    """The views of the settings; makes the limits of instruments and knows what overflowed."""

    def __init__(self, views: Iterable[MetricView] = (), *, max_series: int = MAX_SERIES) -> None:
        """Use views, of which the first that fits an instrument counts."""
        self._views = tuple(views)
        self._max_series = max_series
        self._limits: list[SeriesLimit] = []

    @property
    def overflowed(self) -> int:
        """Measurements of all instruments that went to the overflow."""
        return sum(limit.overflowed for limit in self._limits)

    def is_dropped(self, name: str) -> bool:
        """Whether an instrument is not measured."""
        view = self._view(name)
        return view is not None and view.drop

    def boundaries(self, definition: InstrumentDefinition) -> tuple[float, ...]:
        """Return the buckets of a histogram."""
        view = self._view(definition.name)
        return definition.boundaries if view is None or view.buckets is None else view.buckets

    def limit(self, name: str) -> SeriesLimit:
        """Make the limit of an instrument."""
        view = self._view(name)
        limit = SeriesLimit(name, self._max_series)
        if view is not None:
            limit.max_series = view.max_series or self._max_series
            limit.attributes = None if view.attributes is None else frozenset(view.attributes)
        self._limits.append(limit)
        return limit

    def _view(self, name: str) -> MetricView | None:
        return next((view for view in self._views if fnmatchcase(name, view.instrument)), None)
