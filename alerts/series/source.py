"""A source of samples: series that are collected together and so share one time axis.

An append writes one column of samples. A series has a row in all of them, which is used again once
no column can hold a sample of it.

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
from alerts.series.bits import STALE, Bools, Floats, is_stale, ordinary
from alerts.series.chunks import Rows, Times
from alerts.series.columns import Columns
from alerts.series.errors import SeriesError
from alerts.series.index import Entry, Index
from alerts.series.labels import Labels
from alerts.series.limits import Admission, StoreStats, series_bytes

if TYPE_CHECKING:
    import threading

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
        self._columns = Columns(stats, retention_ms)
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
        return self._label_bytes + self._columns.nbytes

    def image(self) -> SourceImage:
        """Return all of the source as it is now; the caller holds the store's lock."""
        return SourceImage(
            self.name,
            self._newest_ms or 0,
            tuple(entry.labels if entry else None for entry in self._entries),
            self._gone_ms.copy(),
            self._columns.pieces(),
            self._has_gaps,
        )

    def restore(self, image: SourceImage) -> None:
        """Become what an image shows; the caller holds the store's lock, and nothing is here yet.

        Until somebody claims the source its series may be taken over by another one.
        """
        self._columns.restore(image.chunks)
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
        has_dropped = self._columns.drop(horizon_ms)
        oldest_ms = self._columns.first_ms
        if oldest_ms is None:
            self._let_all_go()
            oldest_ms = horizon_ms
        elif not has_dropped:
            return
        for row in [row for row, gone_ms in self._gone_ms.items() if gone_ms < oldest_ms]:
            self._release(row)

    def window(self, rows: Rows | slice, after_ms: int, until_ms: int) -> tuple[Times, Floats]:
        """Return the samples with ``after_ms < t <= until_ms``; the caller holds the lock.

        Shapes: ``(time,)`` int64 and ``(time, series)`` float64, where absent samples are marked
        as ``alerts.series.bits`` says. May be a view; samples once written do not change.
        """
        return self._columns.window(rows, after_ms, until_ms)

    def newest(self, rows: Rows | slice, after_ms: int, until_ms: int) -> tuple[Times, Floats]:
        """Return as ``window``, but the newest time alone where it tells all there is to know.

        It does so where a series without a sample there has ended or not begun.
        """
        if self._has_gaps:
            return self._columns.window(rows, after_ms, until_ms)
        return self._columns.newest(rows, after_ms, until_ms)

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
        if self._free or len(self._entries) < len(self._alive):
            return 0
        return self._columns.newest_nbytes

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
        column = self._columns.add(timestamp_ms, len(self._entries), len(self._alive))
        self._newest_ms = timestamp_ms
        column[rows] = ordinary(values)
        if rows is not self._alive_rows:
            self._update_alive(timestamp_ms, rows, column)
        self._stats.samples += len(rows)
        self.expire(timestamp_ms - self._retention_ms)

    def _write_some(self, timestamp_ms: int, rows: Rows, values: Floats) -> None:
        """Write a column in which most series may have no sample, and see which of them live."""
        self._has_gaps = True
        column = self._columns.add(timestamp_ms, len(self._entries), len(self._alive))
        self._newest_ms = timestamp_ms
        column[rows] = ordinary(values)
        self._alive_rows = None
        for row, has_ended in zip(rows.tolist(), is_stale(values).tolist(), strict=True):
            self._alive[row] = not has_ended
            if has_ended:
                self._gone_ms[row] = timestamp_ms
                self._heard_ms.pop(row, None)
            else:
                self._gone_ms.pop(row, None)
                self._heard_ms[row] = timestamp_ms
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
