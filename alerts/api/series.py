"""Endpoints that say which series, labels and metrics there are.

Source: Prometheus, web/api/v1/api.go (series, labelNames, labelValues, metricMetadata,
serveTSDBStatus).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from alerts.api.encoding import Answer
from alerts.api.errors import APIError
from alerts.api.parameters import TIME_BOUND_MS, Parameters, unescape_label_name
from alerts.api.queries import TRUNCATED
from alerts.promql.engine import Engine
from alerts.promql.limits import QueryLimits
from alerts.series.bits import is_absent
from alerts.series.labels import METRIC_NAME, Labels, quote
from alerts.series.matchers import Matcher
from alerts.series.store import SeriesStore

_TOP: Final = 10
_MAX_TOP: Final = 10_000


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    """What is known about a metric family.

    Attributes:
        name: As it stands on the page of metrics.
        kind: counter, gauge, histogram, summary, info or unknown.
        help: What it measures.
        unit: Empty when it has none, or none is known.
    """

    name: str
    kind: str
    help: str
    unit: str = ""


MetadataSource = Callable[[], Iterable[MetricMetadata]]
"""Returns what is known now; the same name may come several times."""


class Series:
    """The endpoints; each reads its parameters and looks things up, off the event loop.

    Args:
        store: Where the series are.
        engine: Reads selectors.
        metadata: What is known about the metrics.
    """

    def __init__(self, store: SeriesStore, engine: Engine, metadata: MetadataSource) -> None:
        self._store = store
        self._engine = engine
        self._metadata = metadata

    def series(self, parameters: Parameters, _limits: QueryLimits) -> Answer:
        """Return the label sets that selectors take, of series with samples in a time range."""
        limit = parameters.limit()
        if not parameters.texts("match[]"):
            raise APIError("bad_data", "no match[] parameter provided")
        start_ms, end_ms = _bounds(parameters)
        found: set[Labels] = set()
        for matchers in parameters.matcher_sets(self._engine):
            found.update(self._select(matchers, start_ms, end_ms))
        return _limited([dict(labels.pairs) for labels in sorted(found)], limit)

    def label_names(self, parameters: Parameters, _limits: QueryLimits) -> Answer:
        """Return the label names of all series, or of those that selectors take."""
        limit = parameters.limit()
        _bounds(parameters)
        sets = parameters.matcher_sets(self._engine)
        if not sets:
            return _limited(self._store.label_names(), limit)
        names = {
            name
            for matchers in sets
            for labels in self._store.select(matchers).labels
            for name in labels
        }
        return _limited(sorted(names), limit)

    def label_values(self, name: str, parameters: Parameters, _limits: QueryLimits) -> Answer:
        """Return the values of a label in all series, or in those that selectors take."""
        limit = parameters.limit()
        name = unescape_label_name(name)
        if not _is_unicode(name):
            raise APIError("bad_data", f"invalid label name: {quote(name)}")
        _bounds(parameters)
        sets = parameters.matcher_sets(self._engine)
        if not sets:
            return _limited(self._store.label_values(name), limit)
        values = {
            labels.get(name, "")
            for matchers in sets
            for labels in self._store.select(matchers).labels
        }
        return _limited(sorted(values - {""}), limit)

    def metadata(self, parameters: Parameters) -> Answer:
        """Return kind, help and unit of metrics by name."""
        limit = parameters.number("limit", -1)
        per_metric = parameters.number("limit_per_metric", -1)
        wanted = parameters.text("metric")
        found: dict[str, list[dict[str, str]]] = {}
        for item in sorted(self._metadata(), key=lambda item: item.name):
            if wanted and item.name != wanted:
                continue
            if item.name not in found:
                if 0 <= limit <= len(found):
                    break
                found[item.name] = []
            entry = {"type": item.kind, "help": item.help, "unit": item.unit}
            known = found[item.name]
            if entry not in known and not 0 < per_metric <= len(known):
                known.append(entry)
        return Answer(found)

    def statistics(self, parameters: Parameters, _limits: QueryLimits) -> Answer:
        """Return how many series there are, and which names and labels have most of them."""
        top = parameters.number("limit", _TOP)
        if not 0 < top <= _MAX_TOP:
            raise APIError("bad_data", f"limit must be between 1 and {_MAX_TOP}")
        pairs = Counter(pair for labels in self._store.select(()).labels for pair in labels.pairs)
        names = {value: count for (name, value), count in pairs.items() if name == METRIC_NAME}
        values = Counter(name for name, _ in pairs)
        sizes: Counter[str] = Counter()
        for (name, value), count in pairs.items():
            sizes[name] += len(value.encode()) * count
        by_pair = {f"{name}={value}": count for (name, value), count in pairs.items()}
        return Answer(
            {
                "headStats": {
                    "numSeries": self._store.series_count,
                    "numLabelPairs": len(pairs),
                },
                "seriesCountByMetricName": _largest(names, top),
                "labelValueCountByLabelName": _largest(values, top),
                "memoryInBytesByLabelName": _largest(sizes, top),
                "seriesCountByLabelValuePair": _largest(by_pair, top),
            }
        )

    def _select(
        self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> Iterable[Labels]:
        if start_ms <= -TIME_BOUND_MS and end_ms >= TIME_BOUND_MS:
            return self._store.select(matchers).labels
        selection, blocks = self._store.read(matchers, None, start_ms - 1, end_ms)
        places = np.arange(len(selection.labels))
        found: list[Labels] = []
        for block in blocks:
            has_samples = (~is_absent(block.values)).any(axis=0)
            present = places[block.positions][has_samples]
            found += [selection.labels[place] for place in present.tolist()]
        return found


def _bounds(parameters: Parameters) -> tuple[int, int]:
    start_ms = parameters.bound_ms("start", -TIME_BOUND_MS)
    return start_ms, parameters.bound_ms("end", TIME_BOUND_MS)


def _limited(found: list[str] | list[dict[str, str]], limit: int) -> Answer:
    if limit and len(found) > limit:
        return Answer(found[:limit], (TRUNCATED,))
    return Answer(found)


def _largest(counts: dict[str, int], top: int) -> list[dict[str, object]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"name": name, "value": count} for name, count in ordered[:top]]


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return bool(name)
