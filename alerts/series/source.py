"""A source of samples: series that are collected together and so share one time axis.

Samples live in chunks, each a float64 matrix of time x series, so that an append writes one
contiguous row of memory and a window over many series is one slice. Chunks older than retention
are dropped whole; the row of a series is used again once no chunk can hold a sample of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from alerts.clock import Clock
from alerts.series.bits import STALE, Floats, empty_columns, ordinary
from alerts.series.errors import SeriesError
from alerts.series.index import Entry, Index
from alerts.series.labels import Labels

if TYPE_CHECKING:
    import threading

Rows = NDArray[np.intp]
Times = NDArray[np.int64]

_FIRST_COLUMNS: Final = 8
_MAX_COLUMNS: Final = 256
_FIRST_ROWS: Final = 1


@dataclass(slots=True)
class StoreStats:
    """Counts since the store was made; read them when metrics are collected."""

    samples: int = 0
    refused_out_of_order: int = 0
    refused_duplicate_timestamp: int = 0
    refused_duplicate_series: int = 0


class _Chunk:
    """Consecutive samples: ``values[:count]`` is time x row, ``times_ms[:count]`` ascends."""

    __slots__ = ("count", "times_ms", "values")

    def __init__(self, columns: int, rows: int) -> None:
        self.count = 0
        self.times_ms: Times = np.zeros(columns, dtype=np.int64)
        self.values = empty_columns((columns, rows))

    def resize(self, columns: int, rows: int) -> None:
        """Grow; readers keep the old arrays, whose contents never change."""
        times = np.zeros(columns, dtype=np.int64)
        times[: self.count] = self.times_ms[: self.count]
        values = empty_columns((columns, rows))
        values[: self.count, : self.values.shape[1]] = self.values[: self.count]
        self.times_ms, self.values = times, values

    @property
    def first_ms(self) -> int:
        return int(self.times_ms[0])

    @property
    def last_ms(self) -> int:
        return int(self.times_ms[self.count - 1])


class Source:
    """Appends samples of series that are collected together. Made by ``SeriesStore.source``.

    A series belongs to one source at a time. While its source has it alive, the same label set
    from another source is refused as a duplicate; once it has ended there, another source may
    take it over, and its older samples are forgotten.
    """

    def __init__(
        self,
        name: str,
        *,
        index: Index,
        stats: StoreStats,
        lock: threading.Lock,
        clock: Clock,
        retention_ms: int,
    ) -> None:
        self.name: Final = name
        self._index = index
        self._stats = stats
        self._lock = lock
        self._clock = clock
        self._retention_ms = retention_ms
        self._chunks: list[_Chunk] = []
        self._entries: list[Entry | None] = []
        self._row_of: dict[Labels, int] = {}
        self._alive = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self._alive_rows: Rows | None = None
        self._gone_ms: dict[int, int] = {}
        self._free: list[int] = []
        self._newest_ms: int | None = None

    @property
    def newest_ms(self) -> int | None:
        """The timestamp of the latest append, None before the first."""
        return self._newest_ms

    def append(self, timestamp_ms: int, samples: Iterable[tuple[Labels, float]]) -> int:
        """Append what one collection found; series of the one before that are absent now end.

        A label set that comes twice counts once, the first time; the others, and series another
        source has alive, are left out and counted in ``stats.refused_duplicate_series``.

        Args:
            timestamp_ms: Unix time in milliseconds, later than the last append's.
            samples: Label sets and values. No samples at all ends every series of the source.

        Returns:
            How many samples were taken.

        Raises:
            SeriesError: The timestamp is not later than the last one; nothing was taken.
        """
        taken = samples if isinstance(samples, (list, tuple)) else list(samples)
        with self._lock:
            self._check_order(timestamp_ms, len(taken))
            found: dict[int, float] = {}
            for labels, value in taken:
                row = self._row_of.get(labels)
                if row is None:
                    row = self._register(labels)
                if row is None or row in found:
                    self._stats.refused_duplicate_series += 1
                    continue
                found[row] = value
            rows = np.fromiter(found, dtype=np.intp, count=len(found))
            values = np.fromiter(found.values(), dtype=np.float64, count=len(found))
            self._write(timestamp_ms, rows, values)
        return len(found)

    def rows(self, labels: Sequence[Labels]) -> Rows:
        """Return the rows of series for ``append_column``, registering those that are new.

        Rows stay good while they are appended at least once per retention.

        Shapes: ``(len(labels),)`` intp, in the order of ``labels``.

        Raises:
            SeriesError: A label set comes twice, or another source has it alive.
        """
        with self._lock:
            rows: list[int] = []
            for label_set in labels:
                row = self._row_of.get(label_set)
                if row is None:
                    row = self._register(label_set)
                if row is None:
                    raise SeriesError(
                        "duplicate_series",
                        f"{label_set!r} is alive in another source; source {self.name!r} must "
                        "tell its series apart by a label",
                    )
                rows.append(row)
        if len(set(rows)) != len(rows):
            raise SeriesError(
                "duplicate_series", f"source {self.name!r} asks for rows of one label set twice"
            )
        return np.array(rows, dtype=np.intp)

    def append_column(self, timestamp_ms: int, rows: Rows, values: Floats) -> None:
        """Append one collection of series whose rows are known; fastest with the same ``rows``.

        Shapes: ``rows`` from ``rows()`` and ``values`` float64, both ``(series,)``.

        Raises:
            SeriesError: The timestamp is not later than the last one, or a row is not held any
                more; nothing was taken.
        """
        with self._lock:
            self._check_order(timestamp_ms, len(rows))
            if rows is not self._alive_rows and any(
                row >= len(self._entries) or self._entries[row] is None for row in rows.tolist()
            ):
                raise SeriesError(
                    "unknown_row",
                    f"source {self.name!r} does not hold all these rows any more; ask rows() again",
                )
            self._write(timestamp_ms, rows, values)

    def expire(self, horizon_ms: int) -> None:
        """Free what ended before ``horizon_ms``; the caller holds the store's lock."""
        chunks = self._chunks
        kept = next(
            (at for at, chunk in enumerate(chunks) if chunk.last_ms >= horizon_ms), len(chunks)
        )
        if kept:
            # A new list: a reader may be walking the old one.
            self._chunks = chunks[kept:]
        elif chunks:
            return
        if not self._chunks:
            self._let_all_go()
        oldest_ms = self._chunks[0].first_ms if self._chunks else horizon_ms
        for row in [row for row, gone_ms in self._gone_ms.items() if gone_ms < oldest_ms]:
            self._release(row)

    def window(self, rows: Rows | slice, after_ms: int, until_ms: int) -> tuple[Times, Floats]:
        """Return the samples with ``after_ms < t <= until_ms``; the caller holds the lock.

        Shapes: ``(time,)`` int64 and ``(time, series)`` float64, where absent samples are marked
        as ``alerts.series.bits`` says. May be a view; samples once written do not change.
        """
        pieces: list[tuple[Times, Floats]] = []
        for chunk in self._chunks:
            if chunk.last_ms <= after_ms or chunk.first_ms > until_ms:
                continue
            times = chunk.times_ms[: chunk.count]
            low = int(times.searchsorted(after_ms, side="right"))
            high = int(times.searchsorted(until_ms, side="right"))
            pieces.append((times[low:high], _take(chunk.values[low:high], rows)))
        if len(pieces) == 1:
            return pieces[0]
        if not pieces:
            width = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
            return np.zeros(0, dtype=np.int64), empty_columns((0, width))
        return (
            np.concatenate([times for times, _ in pieces]),
            np.concatenate([values for _, values in pieces]),
        )

    def _check_order(self, timestamp_ms: int, samples: int) -> None:
        newest = self._newest_ms
        if newest is None or timestamp_ms > newest:
            return
        if timestamp_ms == newest:
            self._stats.refused_duplicate_timestamp += samples
            raise SeriesError(
                "duplicate_timestamp",
                f"source {self.name!r} already has samples at {timestamp_ms} ms",
            )
        self._stats.refused_out_of_order += samples
        raise SeriesError(
            "out_of_order",
            f"source {self.name!r} has samples at {newest} ms; "
            f"{timestamp_ms} ms comes {newest - timestamp_ms} ms too late",
        )

    def _register(self, labels: Labels) -> int | None:
        """Give a new series a row; None when another source has the series alive."""
        held = self._index.get(labels)
        if held is not None and not held.source._give_up(held):  # noqa: SLF001 - same class
            return None
        if self._free:
            row = heapq.heappop(self._free)
        else:
            row = len(self._entries)
            self._entries.append(None)
        if row >= len(self._alive):
            alive = np.zeros(2 * len(self._alive), dtype=np.bool_)
            alive[: len(self._alive)] = self._alive
            self._alive = alive
        entry = Entry(labels, self, row)
        self._entries[row] = entry
        self._row_of[labels] = row
        self._index.add(entry)
        # Not alive before its first sample: a registration nobody follows up is freed as well.
        self._gone_ms[row] = max(self._newest_ms or 0, int(self._clock.time() * 1000))
        return row

    def _give_up(self, entry: Entry) -> bool:
        """Let another source have a series, unless it is alive here."""
        if self._alive[entry.row]:
            return False
        self._forget(entry)
        return True

    def _forget(self, entry: Entry) -> None:
        self._index.remove(entry)
        del self._row_of[entry.labels]
        self._entries[entry.row] = None

    def _let_all_go(self) -> None:
        """Nothing was appended for a whole retention: what was alive is not any more."""
        for row in np.flatnonzero(self._alive).tolist():
            self._gone_ms[row] = self._newest_ms or 0
        self._alive[:] = False
        self._alive_rows = None

    def _release(self, row: int) -> None:
        del self._gone_ms[row]
        entry = self._entries[row]
        if entry is not None:
            self._forget(entry)
        heapq.heappush(self._free, row)

    def _write(self, timestamp_ms: int, rows: Rows, values: Floats) -> None:
        chunk = self._writable_chunk(timestamp_ms)
        column = chunk.values[chunk.count]
        column[rows] = ordinary(values)
        if rows is not self._alive_rows:
            self._update_alive(timestamp_ms, rows, column)
        chunk.times_ms[chunk.count] = timestamp_ms
        chunk.count += 1
        self._newest_ms = timestamp_ms
        self._stats.samples += len(rows)
        self.expire(timestamp_ms - self._retention_ms)

    def _update_alive(self, timestamp_ms: int, rows: Rows, column: Floats) -> None:
        before = self._alive
        now = np.zeros(len(before), dtype=np.bool_)
        now[rows] = True
        ended = np.flatnonzero(before & ~now)
        column[ended] = STALE
        for row in ended.tolist():
            self._gone_ms[row] = timestamp_ms
        for row in np.flatnonzero(now & ~before).tolist():
            self._gone_ms.pop(row, None)
        self._alive = now
        self._alive_rows = rows

    def _writable_chunk(self, timestamp_ms: int) -> _Chunk:
        chunk = self._chunks[-1] if self._chunks else None
        if chunk is None or self._is_full(chunk, timestamp_ms):
            columns = _FIRST_COLUMNS if chunk is None else len(chunk.times_ms)
            chunk = _Chunk(columns, max(1, len(self._entries)))
            self._chunks = [*self._chunks, chunk]
            return chunk
        columns = len(chunk.times_ms)
        if chunk.count == columns:
            columns *= 2
        rows = chunk.values.shape[1]
        if len(self._entries) > rows:
            rows = len(self._alive)
        if columns != len(chunk.times_ms) or rows != chunk.values.shape[1]:
            chunk.resize(columns, rows)
        return chunk

    def _is_full(self, chunk: _Chunk, timestamp_ms: int) -> bool:
        """A chunk ends at a number of columns, or earlier so that retention can free in parts."""
        if chunk.count >= _MAX_COLUMNS:
            return True
        spanned_ms = timestamp_ms - chunk.first_ms
        return chunk.count >= _FIRST_COLUMNS and 4 * spanned_ms > self._retention_ms


def _take(values: Floats, rows: Rows | slice) -> Floats:
    """Return columns of a time x row matrix; rows it is too narrow for hold no samples."""
    width = values.shape[1]
    if isinstance(rows, slice):
        if rows.stop <= width:
            return values[:, rows]
        rows = np.arange(rows.start, rows.stop, dtype=np.intp)
    if len(rows) == 0 or int(rows.max()) < width:
        return values.take(rows, axis=1)
    taken = empty_columns((values.shape[0], len(rows)))
    inside = rows < width
    taken[:, inside] = values[:, rows[inside]]
    return taken
