"""The series store: every series of the process, appended by sources, read by queries.

Appends and reads may come from different threads; one lock guards the index and the moment a
window is cut, the work on the window happens outside it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakValueDictionary

import numpy as np

from alerts.clock import Clock
from alerts.series.bits import Floats
from alerts.series.chunks import Rows, Times
from alerts.series.exemplars import Exemplars
from alerts.series.index import Entry, Index
from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.limits import UNLIMITED, Admission, Limits, StoreStats
from alerts.series.matchers import Matcher, MatchOp
from alerts.series.source import Source, SourceImage

CLAIM_WITHIN_S: Final = 300.0
"""How long after a restore a source may stay away before its series end, in seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The series of a selection that come from one source.

    Attributes:
        source: Where they are.
        rows: Their rows there; a slice when they lie side by side.
        positions: Their places in the selection.
    """

    source: Source
    rows: Rows | slice
    positions: slice | Rows


class Selection:
    """The series that satisfy matchers; the same object as long as they are the same series.

    Attributes:
        matchers: What selected them.
        labels: Their label sets.
        parts: The same series by source; a source's series keep the order they have there.
        shared: What readers have worked out about the series, for as long as one of them needs it.
    """

    __slots__ = (
        "__weakref__",
        "entries",
        "index",
        "labels",
        "matchers",
        "metric_name",
        "parts",
        "shared",
        "version",
    )

    def __init__(self, matchers: Sequence[Matcher], index: Index, version: int) -> None:
        self.matchers: Final = tuple(matchers)
        self.index: Final = index
        self.metric_name: Final = _required_name(matchers)
        self.version = version
        by_source: dict[Source, list[Entry]] = {}
        for entry in index.select(matchers):
            by_source.setdefault(entry.source, []).append(entry)
        ordered: list[Entry] = []
        parts: list[Part] = []
        for source, members in by_source.items():
            members.sort(key=lambda entry: entry.row)
            positions = slice(len(ordered), len(ordered) + len(members))
            parts.append(Part(source, _rows_of(members), positions))
            ordered.extend(members)
        self.entries: Final = tuple(ordered)
        self.labels: Final[tuple[Labels, ...]] = tuple(entry.labels for entry in ordered)
        self.parts: Final = tuple(parts)
        self.shared: Final[WeakValueDictionary[object, Any]] = WeakValueDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Samples of series that share a time axis.

    Shapes: ``times_ms`` (time,) int64 ascending; ``values`` (time, series) float64, absent samples
    marked as ``alerts.series.bits`` says; ``positions`` are the series' places in the selection.
    """

    positions: slice | Rows
    times_ms: Times
    values: Floats


class SeriesStore:
    """Series in memory, one time axis per source.

    Args:
        clock: Tells ``expire`` how late it is, in the time samples are stamped with.
        retention_s: How long samples are kept, in seconds.
        limits: How many series are taken; as many as memory holds by default.

    Attributes:
        exemplars: Measurements with traces, newest first to stay.
        stats: Plain counts.
    """

    def __init__(self, *, clock: Clock, retention_s: float, limits: Limits = UNLIMITED) -> None:
        self.exemplars: Final = Exemplars()
        self.stats: Final = StoreStats()
        self._clock = clock
        self._retention_ms = round(retention_s * 1000)
        self._lock = threading.Lock()
        self._index = Index()
        self._admission = Admission(limits, self._index, self.stats, clock)
        self._restored_s: float | None = None
        # A source lives as long as somebody appends to it or a series of it is in the index.
        self._sources: WeakValueDictionary[str, Source] = WeakValueDictionary()
        # One selection for all readers with the same matchers, as long as there is one.
        self._selections: WeakValueDictionary[tuple[Matcher, ...], Selection] = (
            WeakValueDictionary()
        )

    @property
    def series_count(self) -> int:
        """How many series are held, ended ones included until retention frees them."""
        return len(self._index)

    def source(self, name: str) -> Source:
        """Return the source of that name, made when it is not there."""
        with self._lock:
            source = self._sources.get(name)
            if source is None:
                source = self._make(name)
            source.claim()
            return source

    def expire(self) -> None:
        """Free what is older than retention, also in sources nobody appends to any more.

        Appending frees in its own source; call this now and then for the others. It also ends
        the series of restored sources that did not come back.
        """
        now_ms = int(self._clock.time() * 1000)
        with self._lock:
            sources = list(self._sources.values())
            if self._is_claim_over():
                for source in sources:
                    source.end_unclaimed(now_ms)
            for source in sources:
                source.expire(now_ms - self._retention_ms)
            # Exact again: a source nobody holds any more went with its chunks uncounted.
            self.stats.bytes = sum(source.nbytes for source in sources)

    def images(self) -> list[SourceImage]:
        """Return all that is held, for a snapshot; cheap, as the arrays are shared."""
        with self._lock:
            return [source.image() for source in self._sources.values()]

    def restore(self, images: Sequence[SourceImage]) -> None:
        """Take in what a snapshot holds, before anything is appended.

        What is older than retention, or later than now, is left out. A source that nobody asks
        for within ``CLAIM_WITHIN_S`` ends; until then others may take its series over.
        """
        now_ms = int(self._clock.time() * 1000)
        with self._lock:
            for image in images:
                cut = _cut(image, now_ms - self._retention_ms, now_ms)
                if cut is not None:
                    source = self._make(image.name)
                    source.restore(cut)
                    source.expire(now_ms - self._retention_ms)
            self._restored_s = self._clock.monotonic()

    def _make(self, name: str) -> Source:
        source = Source(
            name,
            index=self._index,
            stats=self.stats,
            admission=self._admission,
            lock=self._lock,
            clock=self._clock,
            retention_ms=self._retention_ms,
        )
        self._sources[name] = source
        return source

    def _is_claim_over(self) -> bool:
        restored_s = self._restored_s
        if restored_s is None or self._clock.monotonic() < restored_s + CLAIM_WITHIN_S:
            return False
        self._restored_s = None
        return True

    def select(self, matchers: Sequence[Matcher]) -> Selection:
        """Return the series that satisfy every matcher."""
        with self._lock:
            return self._refresh(matchers, None)

    def read(
        self,
        matchers: Sequence[Matcher],
        previous: Selection | None,
        after_ms: int,
        until_ms: int,
        *,
        newest: bool = False,
    ) -> tuple[Selection, list[Block]]:
        """Return the matching series and their samples with ``after_ms < t <= until_ms``.

        Args:
            matchers: What to select.
            previous: The selection the same matchers had before, returned again when nothing
                about it has changed, so that work derived from it stays good. Readers with the
                same matchers get the same one.
            after_ms: Unix milliseconds, exclusive.
            until_ms: Unix milliseconds, inclusive.
            newest: Whether to leave out all but the newest time of each block.
        """
        with self._lock:
            selection = self._refresh(matchers, previous)
            blocks = []
            for part in selection.parts:
                read = part.source.newest if newest else part.source.window
                blocks.append(Block(part.positions, *read(part.rows, after_ms, until_ms)))
        return selection, blocks

    def label_names(self) -> list[str]:
        """Return every label name in use, sorted."""
        with self._lock:
            return self._index.names()

    def label_values(self, name: str) -> list[str]:
        """Return every value of a label in use, sorted."""
        with self._lock:
            return self._index.values(name)

    def _refresh(self, matchers: Sequence[Matcher], previous: Selection | None) -> Selection:
        name = previous.metric_name if previous is not None else _required_name(matchers)
        version = self._index.version(name)
        if previous is not None and previous.version == version and previous.index is self._index:
            return previous
        key = tuple(matchers)
        shared = self._selections.get(key)
        if shared is not None and shared.version == version:
            return shared
        selection = Selection(matchers, self._index, version)
        for known in (shared, previous):
            if known is not None and known.entries == selection.entries:
                known.version = version
                selection = known
                break
        self._selections[key] = selection
        return selection


def _required_name(matchers: Sequence[Matcher]) -> str:
    """Return the metric name every matching series has, empty when they may differ."""
    for matcher in matchers:
        if matcher.name == METRIC_NAME and matcher.op is MatchOp.EQUAL:
            return matcher.value
    return ""


def _rows_of(members: list[Entry]) -> Rows | slice:
    first, last = members[0].row, members[-1].row
    if last - first + 1 == len(members):
        return slice(first, last + 1)
    return np.array([entry.row for entry in members], dtype=np.intp)


def _cut(image: SourceImage, horizon_ms: int, now_ms: int) -> SourceImage | None:
    """Return an image without what lies outside of retention; None: nothing is left."""
    chunks: list[tuple[Times, Floats]] = []
    for times, values in image.chunks:
        low = int(times.searchsorted(horizon_ms, side="left"))
        high = int(times.searchsorted(now_ms, side="right"))
        if low == 0 and high == len(times):
            chunks.append((times, values))
        elif low < high:
            # A copy, so that what was cut off does not stay in memory.
            chunks.append((times[low:high].copy(), values[low:high].copy()))
    if not chunks:
        return None
    newest_ms = int(chunks[-1][0][-1])
    return replace(image, chunks=tuple(chunks), newest_ms=newest_ms)
