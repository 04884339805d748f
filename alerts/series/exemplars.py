"""Exemplars: single measurements of a series, each with the trace it was made in.

Only the newest are kept, a few of each series, so that they cost a fixed amount of memory.

Source: OpenMetrics, "Exemplars"; Prometheus, storage interface ExemplarQuerier.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.series.labels import Labels
from alerts.series.matchers import Matcher

MAX_SERIES: Final = 10_000
MAX_PER_SERIES: Final = 10


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement.

    Attributes:
        labels: What identifies its trace: ``trace_id``, ``span_id``.
        value: What was measured.
        timestamp_ms: When, in Unix milliseconds.
    """

    labels: Labels
    value: float
    timestamp_ms: int


class Exemplars:
    """The newest exemplars of each series; may be used from any thread."""

    def __init__(
        self, *, max_series: int = MAX_SERIES, max_per_series: int = MAX_PER_SERIES
    ) -> None:
        """Start without any; beyond the limits the oldest make room."""
        self._max_series = max_series
        self._max_per_series = max_per_series
        self._series: OrderedDict[Labels, deque[Exemplar]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, series: Labels, exemplar: Exemplar) -> None:
        """Keep an exemplar, unless it is not newer than the newest of its series."""
        with self._lock:
            kept = self._series.get(series)
            if kept is None:
                kept = self._series[series] = deque(maxlen=self._max_per_series)
            elif kept[-1].timestamp_ms >= exemplar.timestamp_ms:
                return
            kept.append(exemplar)
            self._series.move_to_end(series)
            if len(self._series) > self._max_series:
                self._series.popitem(last=False)

    def select(
        self, selectors: Iterable[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> Iterator[tuple[Labels, tuple[Exemplar, ...]]]:
        """Yield the series that fit one of the selectors, with their exemplars of a time.

        Series come in the order of their labels, exemplars in that of time; series without any
        are left out.
        """
        wanted = tuple(tuple(matchers) for matchers in selectors)
        with self._lock:
            known = [(series, tuple(kept)) for series, kept in self._series.items()]
        known.sort(key=lambda item: item[0].pairs)
        for series, kept in known:
            if any(_fits(matchers, series) for matchers in wanted):
                inside = tuple(each for each in kept if start_ms <= each.timestamp_ms <= end_ms)
                if inside:
                    yield series, inside


def _fits(matchers: Sequence[Matcher], series: Labels) -> bool:
    return all(matcher.matches(series.get(matcher.name, "")) for matcher in matchers)
