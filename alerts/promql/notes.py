"""Annotations: what is probably wrong with a query though it has an answer, in Prometheus's words.

Source: util/annotations/annotations.go. The position in the expression follows each text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from alerts.promql.errors import place
from alerts.promql.numbers import format_g
from alerts.promql.vectors import Floats
from alerts.series.labels import quote

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


@dataclass(frozen=True, slots=True)
class Forced:
    """Bucket counts that fell and were made to stay level, over one or more histograms.

    Attributes:
        least: Least upper bound of a bucket that was changed.
        most: Greatest upper bound of one.
        difference: By how much a count fell at most.
        samples: How many histograms were changed.
        first_ms: The first step at which.
        last_ms: The last step at which.
    """

    least: float
    most: float
    difference: float
    samples: int
    first_ms: int
    last_ms: int

    def __str__(self) -> str:
        first, last = (
            datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for ms in (self.first_ms, self.last_ms)
        )
        return (
            f", from buckets {format_g(self.least)} to {format_g(self.most)}, with a max diff of "
            f"{self.difference:.2g}, over {self.samples} samples from {first} to {last}"
        )


class Notes:
    """The warnings and infos of one query, each once, in the order they came up."""

    __slots__ = ("_infos", "_warnings")

    def __init__(self) -> None:
        self._warnings: dict[tuple[str, int], None] = {}
        self._infos: dict[tuple[str, int], None] = {}

    def invalid_quantiles(self, quantiles: Floats, pos: int) -> None:
        """Warn of quantiles that are not between 0 and 1."""
        if ((quantiles >= 0) & (quantiles <= 1)).all():
            return
        for value in np.unique(quantiles).tolist():
            if not 0 <= value <= 1:
                text = f"quantile value should be between 0 and 1, got {format_g(value)}"
                self._warnings[text, pos] = None

    def sort_over_range(self, pos: int) -> None:
        """Warn that sorting does nothing in a range query."""
        text = "sort is ineffective for range queries since results are always ordered by labels"
        self._warnings[text, pos] = None

    def bad_bucket(self, le: str, metric: str, pos: int) -> None:
        """Warn of a bucket without a usable bound."""
        text = f'bucket label "le" is missing or has a malformed value of {quote(le)}'
        self._warnings[text + _of_metric(metric), pos] = None

    def no_counter(self, metric: str, pos: int) -> None:
        """Tell that a metric is used as a counter and not named as one."""
        text = (
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
            f"{quote(metric)}"
        )
        self._infos[text, pos] = None

    def forced_monotonicity(self, forced: Forced, metric: str, pos: int) -> None:
        """Tell that bucket counts fell with rising bounds, and were put right."""
        text = (
            "input to histogram_quantile needed to be fixed for monotonicity (see "
            "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
        )
        self._infos[f"{text}{_of_metric(metric)}{forced}", pos] = None

    def texts(self, expression: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the warnings and the infos as the API shows them."""
        if not self._warnings and not self._infos:
            return (), ()
        return (
            tuple(
                f"PromQL warning: {text} ({place(expression, pos)})" for text, pos in self._warnings
            ),
            tuple(f"PromQL info: {text} ({place(expression, pos)})" for text, pos in self._infos),
        )


def is_named_as_counter(metric: str) -> bool:
    """Tell whether a metric's name is that of a counter, or there is none."""
    return not metric or metric.endswith(_COUNTER_SUFFIXES)


def _of_metric(metric: str) -> str:
    return f" for metric name {quote(metric)}" if metric else ""
