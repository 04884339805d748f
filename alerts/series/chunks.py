"""Chunks: consecutive samples of one source, a float64 matrix of time x row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alerts.series.bits import Floats, empty_columns

Rows = NDArray[np.intp]
Times = NDArray[np.int64]


class Chunk:
    """Consecutive samples: ``values[:count]`` is time x row, ``times_ms[:count]`` ascends.

    What lies below ``count`` never changes, so that a reader may keep a view of it.
    """

    __slots__ = ("count", "times_ms", "values")

    def __init__(self, times_ms: Times, values: Floats, count: int) -> None:
        self.times_ms = times_ms
        self.values = values
        self.count = count

    @classmethod
    def empty(cls, columns: int, rows: int) -> Chunk:
        """Return a chunk with room for so many times and series."""
        return cls(np.zeros(columns, dtype=np.int64), empty_columns((columns, rows)), 0)

    @property
    def nbytes(self) -> int:
        """Bytes of memory it takes."""
        return self.times_ms.nbytes + self.values.nbytes

    @property
    def first_ms(self) -> int:
        """The first timestamp; there must be one."""
        return int(self.times_ms[0])

    @property
    def last_ms(self) -> int:
        """The last timestamp; there must be one."""
        return int(self.times_ms[self.count - 1])

    def resize(self, columns: int, rows: int) -> None:
        """Grow; readers keep the old arrays, whose contents never change."""
        times = np.zeros(columns, dtype=np.int64)
        times[: self.count] = self.times_ms[: self.count]
        values = empty_columns((columns, rows))
        values[: self.count, : self.values.shape[1]] = self.values[: self.count]
        self.times_ms, self.values = times, values


def take(values: Floats, rows: Rows | slice) -> Floats:
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
