"""Collected metrics as samples of the series store, as if Prometheus had scraped the process.

A series keeps its row in the store, so a collection is one array of rows and one of values.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alerts.series.errors import SeriesError
from alerts.series.exemplars import Exemplar
from alerts.series.labels import METRIC_NAME, Labels
from service.telemetry.collection import Collected
from service.telemetry.prometheus import Point, SampleName, SeriesNames

_logger = logging.getLogger(__name__)


class SeriesSource(Protocol):
    """What the feed needs of the series store: one source of scrapes."""

    def rows(self, labels: Sequence[Labels]) -> NDArray[np.intp]:
        """Return the row of each series, making new ones where needed."""

    def append_column(
        self, timestamp_ms: int, rows: NDArray[np.intp], values: NDArray[np.float64]
    ) -> None:
        """Append one sample per row; series that had one last time and have none now go stale."""


class ExemplarSink(Protocol):
    """What the feed needs of what keeps exemplars."""

    def add(self, series: Labels, exemplar: Exemplar) -> None:
        """Keep an exemplar of a series."""


class SeriesFeed:
    """Appends every collection to a source of the series store, and keeps its exemplars.

    Like a scrape it adds ``up`` and the labels ``job`` and ``instance`` to what was collected.
    """

    def __init__(
        self, source: SeriesSource, exemplars: ExemplarSink, *, job: str, instance: str
    ) -> None:
        """Feed ``source``; ``job`` and ``instance`` become labels of every series."""
        self._source = source
        self._exemplars = exemplars
        self._target = {"job": job, "instance": instance}
        self._rows: dict[SeriesNames, NDArray[np.intp]] = {}
        self._layout: list[SeriesNames] = []
        self._column: NDArray[np.intp] = np.empty(0, np.intp)
        self._refused = False
        up = SeriesNames(None, (), (SampleName("up", (), "up "),))
        self._up = Point(up, (1.0,))

    def __call__(self, collected: Collected) -> None:
        """Append a collection; runs on the collector's thread.

        What the store refuses, for example after the clock was set back, is a gap in the series;
        the log names it once, the store's counts tell how often.
        """
        try:
            self._append(collected)
        except SeriesError as error:
            if not self._refused:
                _logger.warning("A collection is missing from the series store: %s", error)
            self._refused = True
            self._layout = []
            self._rows = {}
        else:
            self._refused = False

    def _append(self, collected: Collected) -> None:
        points = [self._up]
        for family in collected.families:
            points.extend(family.points)
        layout = [point.series for point in points]
        if layout != self._layout:
            # Only what is here keeps its rows: the store gives those of ended series to others.
            self._rows = {series: self._rows_of(series) for series in layout}
            self._column = np.concatenate(list(self._rows.values()))
            self._layout = layout
        values = np.array([value for point in points for value in point.values], np.float64)
        self._source.append_column(collected.timestamp_ms, self._column, values)
        for point in points:
            for each in point.exemplars:
                self._exemplars.add(
                    self._labels(point.series.samples[each.bucket]),
                    Exemplar(Labels(each.labels), each.value, round(each.timestamp_s * 1000)),
                )

    def _rows_of(self, series: SeriesNames) -> NDArray[np.intp]:
        known = self._rows.get(series)
        if known is not None:
            return known
        return self._source.rows([self._labels(sample) for sample in series.samples])

    def _labels(self, sample: SampleName) -> Labels:
        """Return a sample's labels; what collides with the target's is kept as ``exported_``."""
        own = {
            f"exported_{name}" if name in self._target else name: value
            for name, value in sample.labels
        }
        return Labels({METRIC_NAME: sample.name, **own, **self._target})
