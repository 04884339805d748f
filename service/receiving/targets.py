"""What is received of each service, in the order the series store takes it.

A service's series share one source of the store, whose times ascend. A request brings the points of
one collection, a few milliseconds apart, or, through a collector, parts of collections in any
order: points that lie close together become one column, and a part that comes a little late is put
right behind what is there. The order that counts is that of each series by its own timestamps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from alerts.clock import Clock
from alerts.series.errors import SeriesError
from alerts.series.labels import Labels
from alerts.series.source import QUIET_MS, Source
from alerts.series.store import SeriesStore
from service.receiving.translating import RefusedPoint, TranslatedPoint

TOGETHER_MS: Final = 1000
"""How far apart points of one column lie at most."""
LATE_MS: Final = 5000
"""How much older than the newest of its service a sample may be.

A sender, or a collector between, short of time sends parts of one collection that far apart.
They are put behind what is there, so this is also how wrong their time may become.
"""
FUTURE_MS: Final = 60_000
"""How far ahead of this machine's clock a timestamp may be."""

Refusal = tuple[TranslatedPoint, RefusedPoint]
"""A point that was not taken, and why."""

_MS_IN_NS: Final = 1_000_000
_SWEEP_INTERVAL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Known:
    """A point that was taken: when, and its series."""

    timestamp_ns: int
    series: tuple[Labels, ...]


@dataclass(slots=True)
class _Target:
    """One service: its source, and the newest of each of its points by key."""

    source: Source
    points: dict[Labels, _Known] = field(default_factory=dict)


class Targets:
    """Appends received points to the series store. Not safe for use by several threads at once.

    Args:
        store: Where the samples go.
        clock: Tells which timestamps are out of bounds.
        retention_s: How old a sample may be.
        max_series: How many series are received in all, within the limits of the store.
    """

    def __init__(
        self, store: SeriesStore, *, clock: Clock, retention_s: float, max_series: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._retention_ms = round(retention_s * 1000)
        self._max_series = max_series
        self._targets: dict[Labels, _Target] = {}
        self._series = 0
        self._next_sweep_s = 0.0

    @property
    def count(self) -> int:
        """How many services something was received of lately."""
        return len(self._targets)

    @property
    def series(self) -> int:
        """How many series were received lately."""
        return self._series

    def append(
        self, target: Labels, points: Sequence[TranslatedPoint], info: Labels
    ) -> list[Refusal]:
        """Append points and return those that were refused, each with the reason.

        Args:
            target: ``job`` and ``instance``.
            points: Of that service.
            info: Its ``target_info``; that it was refused is not told.
        """
        if not points:
            return []
        self._maybe_sweep()
        refused: list[Refusal] = []
        state = self._targets.get(target)
        if state is None:
            name = f"otlp:{json.dumps(target.pairs)}"
            state = _Target(self._store.source(name))
        newest_ns = max(point.timestamp_ns for point in points)
        about = TranslatedPoint("target_info", newest_ns, info, ((info, 1.0),))
        admitted = list(self._admitted(state, (*points, about), refused))
        admitted.sort(key=lambda point: point.timestamp_ns)
        for column in _columns(admitted):
            self._append_column(state, column, refused)
        if state.points:
            self._targets[target] = state
        return [refusal for refusal in refused if refusal[0] is not about]

    def _admitted(
        self, state: _Target, points: Sequence[TranslatedPoint], refused: list[Refusal]
    ) -> Iterator[TranslatedPoint]:
        now_ms = round(self._clock.time() * 1000)
        earliest_ns = (now_ms - self._retention_ms) * _MS_IN_NS
        latest_ns = (now_ms + FUTURE_MS) * _MS_IN_NS
        room = self._max_series - self._series
        for point in points:
            known = state.points.get(point.key)
            if not earliest_ns < point.timestamp_ns < latest_ns:
                refused.append((point, "out_of_bounds"))
            elif known is None and point.samples and len(point.samples) > room:
                refused.append((point, "series_limit"))
            else:
                room -= len(point.samples) if known is None else 0
                yield point

    def _append_column(
        self,
        state: _Target,
        points: Sequence[TranslatedPoint],
        refused: list[Refusal],
    ) -> None:
        fresh = [point for point in points if self._is_newer(state, point, refused)]
        if not fresh:
            return
        newest_ms, at_ms = state.source.newest_ms, fresh[-1].timestamp_ns // _MS_IN_NS
        if newest_ms is not None and at_ms <= newest_ms <= at_ms + LATE_MS:
            at_ms = newest_ms + 1
        samples = [sample for point in fresh for sample in point.samples]
        ended = [series for point in fresh if not point.samples for series in _known(state, point)]
        try:
            appended = state.source.append_some(at_ms, samples, ended)
        except SeriesError as error:  # counted by the store as well
            refused += [(point, _order(error.reason == "duplicate_timestamp")) for point in fresh]
            return
        over_limit, duplicate = set(appended.over_limit), set(appended.duplicate)
        for point in fresh:
            series = {labels for labels, _ in point.samples}
            if series & over_limit:
                refused.append((point, "series_limit"))
            elif series & duplicate:
                refused.append((point, "duplicate"))
            else:
                self._note(state, point)

    def _is_newer(self, state: _Target, point: TranslatedPoint, refused: list[Refusal]) -> bool:
        known = state.points.get(point.key)
        if known is None or point.timestamp_ns > known.timestamp_ns:
            return True
        refused.append((point, _order(point.timestamp_ns == known.timestamp_ns)))
        return False

    def _note(self, state: _Target, point: TranslatedPoint) -> None:
        """Remember a point that was taken, and keep its exemplars."""
        known = state.points.pop(point.key, None)
        self._series -= len(known.series) if known else 0
        series = tuple(labels for labels, _ in point.samples)
        if series:
            state.points[point.key] = _Known(point.timestamp_ns, series)
            self._series += len(series)
        for labels, exemplar in point.exemplars:
            self._store.exemplars.add(labels, exemplar)

    def _maybe_sweep(self) -> None:
        """Forget the points that were quiet for as long as the store lets series be."""
        now_s = self._clock.monotonic()
        if now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + _SWEEP_INTERVAL_S
        before_ns = (round(self._clock.time() * 1000) - QUIET_MS) * _MS_IN_NS
        for target, state in list(self._targets.items()):
            for key, known in list(state.points.items()):
                if known.timestamp_ns < before_ns:
                    del state.points[key]
                    self._series -= len(known.series)
            if not state.points:
                del self._targets[target]


def _order(is_equal: bool) -> RefusedPoint:
    """Return why a point that is not newer is refused."""
    return "duplicate" if is_equal else "out_of_order"


def _known(state: _Target, point: TranslatedPoint) -> tuple[Labels, ...]:
    """Return the series of a point that has no recorded value any more."""
    known = state.points.get(point.key)
    return (point.key,) if known is None else known.series


def _columns(points: Sequence[TranslatedPoint]) -> Iterator[list[TranslatedPoint]]:
    """Yield the points that may share a timestamp; a series has one sample in each."""
    column: list[TranslatedPoint] = []
    keys: set[Labels] = set()
    for point in points:
        is_apart = column and (
            point.timestamp_ns - column[0].timestamp_ns > TOGETHER_MS * _MS_IN_NS
        )
        if is_apart or point.key in keys:
            yield column
            column, keys = [], set()
        column.append(point)
        keys.add(point.key)
    if column:
        yield column
