"""How many series the store takes, and what it says about those it does not.

The limits are for new series: those that are held go on whatever happens, so that a label that
runs wild costs no other series a sample. One metric may not fill the store by itself.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from alerts.clock import Clock
from alerts.series.index import Index
from alerts.series.labels import METRIC_NAME, Labels

_log = logging.getLogger(__name__)

LimitReason = Literal["max_series", "max_series_per_metric", "max_memory"]
"""The limit that refused a series; the names are those of the settings."""

LOG_INTERVAL_S: Final = 60.0
"""How often the log tells of refused series, in seconds."""

_LOOKED_AT: Final = 1000
"""How many series are looked at to find the label that makes so many."""
_SERIES_BYTES: Final = 500
_LABEL_BYTES: Final = 150


@dataclass(frozen=True, slots=True)
class Limits:
    """What the store takes at most.

    Attributes:
        max_series: Series in all.
        max_series_per_metric: Series of one metric name.
        max_bytes: Memory of samples and index. Held series go on beyond it, until retention.
    """

    max_series: int = 100_000
    max_series_per_metric: int = 50_000
    max_bytes: int = 1 << 30


UNLIMITED: Final = Limits(sys.maxsize, sys.maxsize, sys.maxsize)
"""As many series as memory holds."""


@dataclass(slots=True)
class StoreStats:
    """Counts since the store was made; read them when metrics are collected.

    Attributes:
        samples: Samples taken in.
        bytes: Memory of samples and index now; labels are estimated.
    """

    samples: int = 0
    bytes: int = 0
    refused_out_of_order: int = 0
    refused_duplicate_timestamp: int = 0
    refused_duplicate_series: int = 0
    refused_max_series: int = 0
    refused_max_series_per_metric: int = 0
    refused_max_memory: int = 0


class Admission:
    """Decides whether a new series is taken. Not locked: the store's lock guards it."""

    def __init__(self, limits: Limits, index: Index, stats: StoreStats, clock: Clock) -> None:
        self._limits = limits
        self._index = index
        self._stats = stats
        self._clock = clock
        self._next_log_s = 0.0
        self._since_log = 0

    def admits(self, labels: Labels, more_bytes: int) -> bool:
        """Whether a series may come in; one that may not is counted and, now and then, logged.

        Args:
            labels: The series.
            more_bytes: What its row costs on top of its labels.
        """
        reason = self._reason(labels, more_bytes + series_bytes(labels))
        if reason is None:
            return True
        self.refused(reason)
        self._maybe_log(reason, labels)
        return False

    def refused(self, reason: LimitReason, samples: int = 1) -> None:
        """Count samples that were not taken."""
        match reason:
            case "max_series":
                self._stats.refused_max_series += samples
            case "max_series_per_metric":
                self._stats.refused_max_series_per_metric += samples
            case "max_memory":
                self._stats.refused_max_memory += samples
        self._since_log += samples

    def _reason(self, labels: Labels, more_bytes: int) -> LimitReason | None:
        limits, index = self._limits, self._index
        if len(index) >= limits.max_series:
            return "max_series"
        if index.count(METRIC_NAME, labels.metric_name) >= limits.max_series_per_metric:
            return "max_series_per_metric"
        if self._stats.bytes + more_bytes > limits.max_bytes:
            return "max_memory"
        return None

    def _maybe_log(self, reason: LimitReason, labels: Labels) -> None:
        now_s = self._clock.monotonic()
        if now_s < self._next_log_s:
            return
        self._next_log_s = now_s + LOG_INTERVAL_S
        limit = {
            "max_series": f"{self._limits.max_series} series",
            "max_series_per_metric": f"{self._limits.max_series_per_metric} series of one metric",
            "max_memory": f"{self._limits.max_bytes} bytes",
        }[reason]
        _log.error(
            "the series store takes no new series: %s, the limit %s, are reached; the series it "
            "holds go on; samples refused since the last such line: %d, now of %r; %s",
            limit,
            reason,
            self._since_log,
            labels,
            self._culprit(labels.metric_name if reason == "max_series_per_metric" else ""),
        )
        self._since_log = 0

    def _culprit(self, metric_name: str) -> str:
        """Return the label that makes most of the series of the largest metric."""
        name = metric_name or self._index.largest(METRIC_NAME)
        members = self._index.members(METRIC_NAME, name)
        values: Counter[str] = Counter()
        seen: set[tuple[str, str]] = set()
        for entry in islice(members, _LOOKED_AT):
            fresh = [pair for pair in entry.labels.pairs if pair not in seen]
            seen.update(fresh)
            values.update(label for label, _ in fresh)
        label, _ = max(values.items(), key=lambda item: item[1], default=("", 0))
        return (
            f"the metric {name!r} has {self._index.count(METRIC_NAME, name)} series, mostly by "
            f"its label {label!r}: drop that label or give it fewer values"
        )


def series_bytes(labels: Labels) -> int:
    """Return about how much memory the labels of a series take in the index."""
    return _SERIES_BYTES + sum(
        _LABEL_BYTES + len(name) + len(value) for name, value in labels.pairs
    )
