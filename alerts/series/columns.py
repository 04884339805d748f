"""The samples of a source: a column for each time, in chunks that are dropped whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from alerts.series.bits import Floats, empty_columns
from alerts.series.chunks import Chunk, Rows, Times, take
from alerts.series.limits import StoreStats

_FIRST_COLUMNS: Final = 8
_MAX_COLUMNS: Final = 256


class Columns:
    """Columns of samples, ascending in time. Whoever calls a method holds the store's lock.

    What was written does not change, so that readers may keep what they were given.
    """

    def __init__(self, stats: StoreStats, retention_ms: int) -> None:
        self._stats = stats
        self._retention_ms = retention_ms
        self._chunks: list[Chunk] = []

    @property
    def nbytes(self) -> int:
        """Bytes of memory they take."""
        return sum(chunk.nbytes for chunk in self._chunks)

    @property
    def newest_nbytes(self) -> int:
        """Bytes of the chunk that is written to; 0 when there is none."""
        return self._chunks[-1].nbytes if self._chunks else 0

    @property
    def first_ms(self) -> int | None:
        """The oldest time there is; None when there is none."""
        return self._chunks[0].first_ms if self._chunks else None

    def pieces(self) -> tuple[tuple[Times, Floats], ...]:
        """Return the times and values of each chunk, sharing its arrays."""
        return tuple(
            (chunk.times_ms[: chunk.count], chunk.values[: chunk.count]) for chunk in self._chunks
        )

    def restore(self, pieces: Iterable[tuple[Times, Floats]]) -> None:
        """Hold what ``pieces`` returned; there is nothing yet."""
        self._chunks = [Chunk(times, values, len(times)) for times, values in pieces]
        self._stats.bytes += self.nbytes

    def add(self, timestamp_ms: int, rows: int, capacity: int) -> Floats:
        """Add a time later than all others and return its column to write to, all absent.

        Args:
            timestamp_ms: The time, Unix milliseconds.
            rows: How many rows the column must have.
            capacity: How many it gets if it must grow for that.
        """
        chunk = self._writable(timestamp_ms, rows, capacity)
        chunk.times_ms[chunk.count] = timestamp_ms
        chunk.count += 1
        column: Floats = chunk.values[chunk.count - 1]
        return column

    def drop(self, horizon_ms: int) -> bool:
        """Drop the chunks that end before a time, and return whether there were any."""
        chunks = self._chunks
        kept = next(
            (at for at, chunk in enumerate(chunks) if chunk.last_ms >= horizon_ms), len(chunks)
        )
        self._stats.bytes -= sum(chunk.nbytes for chunk in chunks[:kept])
        self._chunks = chunks[kept:]
        return kept > 0

    def window(self, rows: Rows | slice, after_ms: int, until_ms: int) -> tuple[Times, Floats]:
        """Return the samples with ``after_ms < t <= until_ms``.

        Shapes: ``(time,)`` int64 and ``(time, series)`` float64, where absent samples are marked
        as ``alerts.series.bits`` says. May be a view.
        """
        pieces: list[tuple[Times, Floats]] = []
        for chunk in self._chunks:
            if chunk.last_ms <= after_ms or chunk.first_ms > until_ms:
                continue
            times = chunk.times_ms[: chunk.count]
            low = int(times.searchsorted(after_ms, side="right"))
            high = int(times.searchsorted(until_ms, side="right"))
            pieces.append((times[low:high], take(chunk.values[low:high], rows)))
        if len(pieces) == 1:
            return pieces[0]
        if not pieces:
            width = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
            return np.zeros(0, dtype=np.int64), empty_columns((0, width))
        return (
            np.concatenate([times for times, _ in pieces]),
            np.concatenate([values for _, values in pieces]),
        )

    def newest(self, rows: Rows | slice, after_ms: int, until_ms: int) -> tuple[Times, Floats]:
        """Return as ``window``, but of the newest time alone."""
        for chunk in reversed(self._chunks):
            if chunk.first_ms > until_ms:
                continue
            at = chunk.count - 1
            if chunk.last_ms > until_ms:
                at = int(chunk.times_ms[: chunk.count].searchsorted(until_ms, side="right")) - 1
            if chunk.times_ms[at] <= after_ms:
                break
            return chunk.times_ms[at : at + 1], take(chunk.values[at : at + 1], rows)
        return self.window(rows, after_ms, until_ms)

    def _writable(self, timestamp_ms: int, rows: int, capacity: int) -> Chunk:
        chunk = self._chunks[-1] if self._chunks else None
        if chunk is None or self._is_full(chunk, timestamp_ms):
            columns = _FIRST_COLUMNS if chunk is None else len(chunk.times_ms)
            chunk = Chunk.empty(columns, max(1, rows))
            self._stats.bytes += chunk.nbytes
            self._chunks.append(chunk)
            return chunk
        columns, width = chunk.values.shape
        if chunk.count == columns:
            columns *= 2
        if rows > width:
            width = capacity
        if (columns, width) != chunk.values.shape:
            self._stats.bytes -= chunk.nbytes
            chunk.resize(columns, width)
            self._stats.bytes += chunk.nbytes
        return chunk

    def _is_full(self, chunk: Chunk, timestamp_ms: int) -> bool:
        """A chunk ends at a number of columns, or earlier so that retention can free in parts."""
        if chunk.count >= _MAX_COLUMNS:
            return True
        spanned_ms = timestamp_ms - chunk.first_ms
        return chunk.count >= _FIRST_COLUMNS and 4 * spanned_ms > self._retention_ms
