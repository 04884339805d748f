"""A source of samples: series that are collected together and so share one time axis.

Samples live in chunks, each a float64 matrix of time x series, so that an append writes one
contiguous row of memory and a window over many series is one slice. Chunks older than retention
are dropped whole; the row of a series is used again once no chunk can hold a sample of it.

A source that is scraped has all of its series at every time, and what is missing has ended. One
that is sent to has some of them at some times: a series ends when it is told to, or is quiet.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from alerts.clock import Clock
from alerts.series.bits import STALE, Bools, Floats, empty_columns, is_stale, ordinary
from alerts.series.chunks import Chunk, Rows, Times, take
from alerts.series.errors import SeriesError
from alerts.series.index import Entry, Index
from alerts.series.labels import Labels
from alerts.series.limits import Admission, StoreStats, series_bytes

if TYPE_CHECKING:
    import threading

_FIRST_COLUMNS: Final = 8
_MAX_COLUMNS: Final = 256
_FIRST_ROWS: Final = 1
_OVER_LIMIT: Final = -1
_DUPLICATE: Final = -2

QUIET_MS: Final = 300_000
"""How long a series of ``append_some`` goes on without a sample: as long as a query looks back."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """All of a source at one moment, for a snapshot; sharing the arrays of the source.

    Attributes:
        name: The source.
        newest_ms: Its latest append.
        labels: The series by row; None where a row has none.
        gone_ms: When the rows that are not alive had their last sample.
        chunks: Times, ``(time,)`` int64, and values, ``(time, rows)`` float64; ascending.
        has_gaps: Whether a series without a sample at a time may go on after it.
    """

    name: str
    newest_ms: int
    labels: tuple[Labels | None, ...]
    gone_ms: dict[int, int]
    chunks: tuple[tuple[Times, Floats], ...]
    has_gaps: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the samples of ``Source.append_some``.

    Attributes:
        taken: How many samples are in the store.
        duplicate: Series another source has alive, or that came twice.
        over_limit: New series over the limits.
    """

    taken: int
    duplicate: tuple[Labels, ...] = ()
    over_limit: tuple[Labels, ...] = ()


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
        admission: Admission,
        lock: threading.Lock,
        clock: Clock,
        retention_ms: int,
    ) -> None:
        self.name: Final = name
        self._index = index
        self._stats = stats
        self._admission = admission
        self._lock = lock
        self._clock = clock
        self._retention_ms = retention_ms
        self._chunks: list[Chunk] = []
        self._entries: list[Entry | None] = []
        self._row_of: dict[Labels, int] = {}
        self._alive = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self._alive_rows: Rows | None = None
        self._gone_ms: dict[int, int] = {}
        self._free: list[int] = []
        self._newest_ms: int | None = None
        self._label_bytes = 0
        self._is_claimed = True
        self._refused: tuple[Rows, Rows, Bools] | None = None
        self._has_gaps = False
        self._heard_ms: dict[int, int] = {}
        self._next_quiet_ms = 0

    @property
    def newest_ms(self) -> int | None:
        """The timestamp of the latest append, None before the first."""
        return self._newest_ms

    def append(self, timestamp_ms: int, samples: Iterable[tuple[Labels, float]]) -> int:
        """Append what one collection found; series of the one before that are absent now end.

        A label set that comes twice counts once, the first time; the others, series another
        source has alive, and new series over the limits are left out and counted in ``stats``.

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
                if row in found:
                    self._stats.refused_duplicate_series += 1
                elif row >= 0:
                    found[row] = value
            rows = np.fromiter(found, dtype=np.intp, count=len(found))
            values = np.fromiter(found.values(), dtype=np.float64, count=len(found))
            self._write(timestamp_ms, rows, values)
        return len(found)

    def rows(self, labels: Sequence[Labels]) -> Rows:
        """Return the rows of series for ``append_column``, registering those that are new.

        Rows stay good while they are appended at least once per retention. A new series over the
        limits has the row -1: its samples are left out and counted.

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
                if row == _DUPLICATE:
                    raise SeriesError(
                        "duplicate_series",
                        f"{label_set!r} is alive in another source; source {self.name!r} must "
                        "tell its series apart by a label",
                    )
                rows.append(row)
        held = [row for row in rows if row >= 0]
        if len(set(held)) != len(held):
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
            rows, values = self._held(rows, values)
            if rows is not self._alive_rows and any(
                row >= len(self._entries) or self._entries[row] is None for row in rows.tolist()
            ):
                raise SeriesError(
                    "unknown_row",
                    f"source {self.name!r} does not hold all these rows any more; ask rows() again",
                )
            self._write(timestamp_ms, rows, values)

    def append_some(
        self,
        timestamp_ms: int,
        samples: Sequence[tuple[Labels, float]],
        ended: Iterable[Labels] = (),
    ) -> Appended:
        """Append samples of some series; the others go on, for ``QUIET_MS`` at most.

        Whoever appends this way to a source uses no other.

        Args:
            timestamp_ms: Unix time in milliseconds, later than the last append's.
            samples: Label sets and values.
            ended: Series that end here; those that are not held are passed over.

        Raises:
            SeriesError: The timestamp is not later than the last one; nothing was taken.
        """
        with self._lock:
            self._check_order(timestamp_ms, len(samples))
            gone = (self._row_of.get(labels) for labels in ended)
            found = {row: STALE for row in gone if row is not None and self._alive[row]}
            ends = len(found)
            duplicate: list[Labels] = []
            over_limit: list[Labels] = []
            for labels, value in samples:
                row = self._row_of.get(labels)
                if row is None:
                    row = self._register(labels)
                if row == _OVER_LIMIT:
                    over_limit.append(labels)
                elif row == _DUPLICATE:
                    duplicate.append(labels)
                elif row in found:
                    self._stats.refused_duplicate_series += 1
                    duplicate.append(labels)
                else:
                    found[row] = value
            if found:
                rows = np.fromiter(found, dtype=np.intp, count=len(found))
                values = np.fromiter(found.values(), dtype=np.float64, count=len(found))
                self._write_some(timestamp_ms, rows, values)
        return Appended(len(found) - ends, tuple(duplicate), tuple(over_limit))

    def end(self, timestamp_ms: int) -> None:
        """End every series at a time, or just after the last append if that is later."""
        with self._lock:
            self._end(timestamp_ms)

    def end_unclaimed(self, timestamp_ms: int) -> None:
        """End every series of a restored source nobody has come back to; under the store's lock."""
        if not self._is_claimed:
            self._end(timestamp_ms)

    def claim(self) -> None:
        """Note that somebody appends to the source; the caller holds the store's lock."""
        self._is_claimed = True

    @property
    def nbytes(self) -> int:
        """Memory of the samples and about that of the labels; under the store's lock."""
        return self._label_bytes + sum(chunk.nbytes for chunk in self._chunks)

    def image(self) -> SourceImage:
        """Return all of the source as it is now; the caller holds the store's lock."""
        return SourceImage(
            self.name,
            self._newest_ms or 0,
            tuple(entry.labels if entry else None for entry in self._entries),
            self._gone_ms.copy(),
            tuple(
                (chunk.times_ms[: chunk.count], chunk.values[: chunk.count])
                for chunk in self._chunks
            ),
            self._has_gaps,
        )

    def restore(self, image: SourceImage) -> None:
        """Become what an image shows; the caller holds the store's lock, and nothing is here yet.

        Until somebody claims the source its series may be taken over by another one.
        """
        self._chunks = [Chunk(times, values, len(times)) for times, values in image.chunks]
        self._stats.bytes += sum(chunk.nbytes for chunk in self._chunks)
        self._newest_ms = image.newest_ms
        self._gone_ms = image.gone_ms
        self._alive = np.zeros(max(_FIRST_ROWS, len(image.labels)), dtype=np.bool_)
        for row, labels in enumerate(image.labels):
            self._entries.append(None)
            if labels is not None:
                self._enter(labels, row)
                self._alive[row] = row not in self._gone_ms
            elif row not in self._gone_ms:
                heapq.heappush(self._free, row)
        self._is_claimed = False
        self._has_gaps = image.has_gaps
        if image.has_gaps:
            alive = np.flatnonzero(self._alive).tolist()
            self._heard_ms = dict.fromkeys(alive, image.newest_ms)

    def expire(self, horizon_ms: int) -> None:
        """Free what ended before ``horizon_ms``; the caller holds the store's lock."""
        chunks = self._chunks
        kept = next(
            (at for at, chunk in enumerate(chunks) if chunk.last_ms >= horizon_ms), len(chunks)
        )
        if kept:
            self._stats.bytes -= sum(chunk.nbytes for chunk in chunks[:kept])
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
        """Return as ``window``, but the newest time alone where it tells all there is to know.

        It does so where a series without a sample there has ended or not begun.
        """
        if self._has_gaps:
            return self.window(rows, after_ms, until_ms)
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

    def _register(self, labels: Labels) -> int:
        """Give a new series a row; ``_DUPLICATE`` or ``_OVER_LIMIT``, counted, if it gets none."""
        held = self._index.get(labels)
        if held is not None and not held.source._give_up(held):  # noqa: SLF001 - same class
            self._stats.refused_duplicate_series += 1
            return _DUPLICATE
        if not self._admission.admits(labels, self._growth()):
            return _OVER_LIMIT
        if self._free:
            row = heapq.heappop(self._free)
        else:
            row = len(self._entries)
            self._entries.append(None)
        if row >= len(self._alive):
            alive = np.zeros(2 * len(self._alive), dtype=np.bool_)
            alive[: len(self._alive)] = self._alive
            self._alive = alive
        self._enter(labels, row)
        # Not alive before its first sample: a registration nobody follows up is freed as well.
        self._gone_ms[row] = max(self._newest_ms or 0, int(self._clock.time() * 1000))
        return row

    def _enter(self, labels: Labels, row: int) -> None:
        entry = Entry(labels, self, row)
        self._entries[row] = entry
        self._row_of[labels] = row
        self._index.add(entry)
        size = series_bytes(labels)
        self._label_bytes += size
        self._stats.bytes += size

    def _growth(self) -> int:
        """Return how many bytes one more series makes the newest chunk grow by."""
        if self._free or not self._chunks or len(self._entries) < len(self._alive):
            return 0
        return self._chunks[-1].nbytes

    def _held(self, rows: Rows, values: Floats) -> tuple[Rows, Floats]:
        """Leave out the rows of series that were refused."""
        if rows is self._alive_rows or not len(rows) or rows.min() >= 0:
            return rows, values
        if self._refused is None or self._refused[0] is not rows:
            there = rows >= 0
            self._refused = (rows, rows[there], there)
        _, kept, there = self._refused
        self._admission.refused("max_series", len(rows) - len(kept))
        return kept, values[there]

    def _end(self, timestamp_ms: int) -> None:
        if self._alive.any():
            nothing = np.zeros(0, dtype=np.intp)
            at_ms = max(timestamp_ms, (self._newest_ms or 0) + 1)
            self._write(at_ms, nothing, np.zeros(0))

    def _give_up(self, entry: Entry) -> bool:
        """Let another source have a series, unless it is alive here."""
        if self._alive[entry.row]:
            if self._is_claimed:
                return False
            self._alive[entry.row] = False
            self._gone_ms[entry.row] = self._newest_ms or 0
        self._forget(entry)
        return True

    def _forget(self, entry: Entry) -> None:
        self._index.remove(entry)
        del self._row_of[entry.labels]
        size = series_bytes(entry.labels)
        self._label_bytes -= size
        self._stats.bytes -= size
        self._entries[entry.row] = None
        self._heard_ms.pop(entry.row, None)

    def _let_all_go(self) -> None:
        """Nothing was appended for a whole retention: what was alive is not any more."""
        for row in np.flatnonzero(self._alive).tolist():
            self._gone_ms[row] = self._newest_ms or 0
        self._alive[:] = False
        self._alive_rows = None
        self._heard_ms.clear()

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

    def _write_some(self, timestamp_ms: int, rows: Rows, values: Floats) -> None:
        """Write a column in which most series may have no sample, and see which of them live."""
        self._has_gaps = True
        chunk = self._writable_chunk(timestamp_ms)
        chunk.values[chunk.count][rows] = ordinary(values)
        self._alive_rows = None
        for row, has_ended in zip(rows.tolist(), is_stale(values).tolist(), strict=True):
            self._alive[row] = not has_ended
            if has_ended:
                self._gone_ms[row] = timestamp_ms
                self._heard_ms.pop(row, None)
            else:
                self._gone_ms.pop(row, None)
                self._heard_ms[row] = timestamp_ms
        chunk.times_ms[chunk.count] = timestamp_ms
        chunk.count += 1
        self._newest_ms = timestamp_ms
        self._stats.samples += len(rows)
        self._let_quiet_go(timestamp_ms)
        self.expire(timestamp_ms - self._retention_ms)

    def _let_quiet_go(self, timestamp_ms: int) -> None:
        """End the series that had no sample for too long. Looks at all of them now and then."""
        if timestamp_ms < self._next_quiet_ms:
            return
        self._next_quiet_ms = timestamp_ms + QUIET_MS // 5
        for row, heard_ms in list(self._heard_ms.items()):
            if heard_ms <= timestamp_ms - QUIET_MS:
                self._alive[row] = False
                self._gone_ms[row] = self._heard_ms.pop(row)

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

    def _writable_chunk(self, timestamp_ms: int) -> Chunk:
        chunk = self._chunks[-1] if self._chunks else None
        if chunk is None or self._is_full(chunk, timestamp_ms):
            columns = _FIRST_COLUMNS if chunk is None else len(chunk.times_ms)
            chunk = Chunk.empty(columns, max(1, len(self._entries)))
            self._stats.bytes += chunk.nbytes
            self._chunks = [*self._chunks, chunk]
            return chunk
        columns = len(chunk.times_ms)
        if chunk.count == columns:
            columns *= 2
        rows = chunk.values.shape[1]
        if len(self._entries) > rows:
            rows = len(self._alive)
        if columns != len(chunk.times_ms) or rows != chunk.values.shape[1]:
            self._stats.bytes -= chunk.nbytes
            chunk.resize(columns, rows)
            self._stats.bytes += chunk.nbytes
        return chunk

    def _is_full(self, chunk: Chunk, timestamp_ms: int) -> bool:
        """A chunk ends at a number of columns, or earlier so that retention can free in parts."""
        if chunk.count >= _MAX_COLUMNS:
            return True
        spanned_ms = timestamp_ms - chunk.first_ms
        return chunk.count >= _FIRST_COLUMNS and 4 * spanned_ms > self._retention_ms
