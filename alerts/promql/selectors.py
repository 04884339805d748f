"""Selectors: the latest sample at each step, and the windows of samples before each step.

Source: Prometheus "Querying basics": a range is left-open, ``(t - range, t]``, and so is the
lookback; a staleness marker ends a series, and is no sample in a range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from alerts.promql.context import Context
from alerts.promql.nodes import At, RangeSelector, Selector
from alerts.promql.vectors import Bools, Floats, Frame, Ints, Times, Vector
from alerts.series.bits import is_absent, is_missing, is_stale
from alerts.series.store import Block, Selection

_MAX_WINDOW_ELEMENTS: Final = 2_000_000
"""How much of a range query is expanded into windows at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Samples in the windows of some series at some steps, the oldest first.

    Shapes: ``values`` (depth, steps, series) float64; ``times_ms`` the same or with one series,
    float64; ``count`` (steps, series or 1) tells how many of the depth are samples, the rest is
    padding at the end; ``ends_ms`` (steps,) where the windows end.

    Attributes:
        positions: The series' rows in the frame.
        steps: The steps concerned.
        full: Whether there is no padding anywhere.
        range_ms: How long a window is.
    """

    positions: slice | Ints
    steps: slice
    ends_ms: Times
    times_ms: Floats
    values: Floats
    count: Ints
    full: bool
    range_ms: int

    @property
    def depth(self) -> int:
        """The most samples any window has."""
        return len(self.values)

    def mask(self) -> Bools:
        """Tell samples from padding: broadcasts to the shape of ``values``."""
        return np.less(np.arange(self.depth)[:, None, None], self.count)

    def last(self, matrix: Floats) -> Floats:
        """Return the last sample's entry of ``times_ms`` or ``values``."""
        if self.full:
            return cast("Floats", matrix[-1])
        return self.nth(matrix, self.count - 1)

    def nth(self, matrix: Floats, index: Ints) -> Floats:
        """Return the entry of the sample with a number; where there is none, any entry."""
        clipped = np.broadcast_to(
            np.maximum(index, 0), np.broadcast_shapes(index.shape, matrix.shape[1:])
        )
        wide = np.broadcast_to(matrix, (len(matrix), *clipped.shape))
        taken: Floats = np.take_along_axis(wide, clipped[None], axis=0)[0]
        return taken


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A range vector: windows of all series of a frame, cut when they are walked.

    Attributes:
        frame: The series.
        blocks: Samples by shared time axis.
        ends_ms: ``(steps,)``, or one element when every step has the same window.
        range_ms: How long a window is.
    """

    frame: Frame
    blocks: list[Block]
    ends_ms: Times
    range_ms: int

    def __iter__(self) -> Iterator[Window]:
        for block in self.blocks:
            for positions, times, values, absent in _split_gappy(block):
                yield from _cut(positions, times, values, absent, self.ends_ms, self.range_ms)


def pinned(context: Context, at: At, offset_ms: int) -> Times:
    """Return the times a selector looks at: one per step, or a single one pinned by ``@``."""
    if at is None:
        return context.times_ms - offset_ms if offset_ms else context.times_ms
    moment = (
        {"start": context.start_ms, "end": context.end_ms}.get(at) if isinstance(at, str) else at
    )
    return np.array([moment], dtype=np.int64) - offset_ms


def instant_vector(selector: Selector, context: Context) -> tuple[Vector, Times]:
    """Return the latest fresh sample of each matching series at each step, and its timestamp.

    Shapes: the timestamps are ``(series, steps)`` int64 milliseconds.
    """
    times = pinned(context, selector.at, context.milliseconds(selector.offset))
    first_ms, last_ms = int(times[0]) - context.lookback_ms, int(times[-1])
    frame, blocks = _read(selector, context, first_ms, last_ms, newest=len(times) == 1)
    shape = (len(times), len(frame))
    context.budget.take(context.steps * len(frame))
    if len(blocks) == 1 and context.steps == len(blocks[0].times_ms) == 1:
        return _only(frame, blocks[0])
    values = np.zeros(shape)
    present = np.zeros(shape, dtype=np.bool_)
    sampled = np.zeros(shape, dtype=np.int64)
    for block in blocks:
        if len(block.times_ms):
            found = _latest(block, times, context.lookback_ms)
            values[:, block.positions], present[:, block.positions] = found[0], found[1]
            sampled[:, block.positions] = found[2]
    if len(times) != context.steps:
        full = (context.steps, len(frame))
        values = np.broadcast_to(values, full)
        present = np.broadcast_to(present, full)
        sampled = np.broadcast_to(sampled, full)
    return Vector(frame, values.T, present.T), sampled.T


def range_vector(selector: RangeSelector, context: Context) -> Windows:
    """Return the windows of each matching series."""
    inner = selector.selector
    times = pinned(context, inner.at, context.milliseconds(inner.offset))
    range_ms = context.milliseconds(selector.range)
    frame, blocks = _read(inner, context, int(times[0]) - range_ms, int(times[-1]))
    context.budget.take(sum(block.values.size for block in blocks))
    return Windows(frame, blocks, times, range_ms)


def _read(
    selector: Selector, context: Context, after_ms: int, until_ms: int, *, newest: bool = False
) -> tuple[Frame, list[Block]]:
    memo = context.memo
    name = (selector.slot, "selection")
    previous = cast("Selection | None", memo.latest(name))
    selection, blocks = context.store.read(
        selector.matchers, previous, after_ms, until_ms, newest=newest
    )
    if selection is not previous:
        memo.remember(name, selection)
    frame = memo.share(selector.slot, "frame", selection, lambda: Frame(selection.labels))
    return frame, blocks


def _only(frame: Frame, block: Block) -> tuple[Vector, Times]:
    """Return the one sample each series has, as ``instant_vector``: what most rules look at.

    Such a block holds all series of the frame, as they are the only part of their selection.
    """
    values = block.values.T.copy()
    present = np.isfinite(values)
    if np.count_nonzero(present) != present.size:
        present = ~is_absent(values)
    sampled = np.empty(values.shape, dtype=np.int64)
    sampled.fill(block.times_ms[0])
    return Vector(frame, values, present), sampled


def _latest(block: Block, times: Times, lookback_ms: int) -> tuple[Floats, Bools, Times]:
    """Return value, presence and timestamp of the latest samples: ``(steps, series)`` each."""
    index = block.times_ms.searchsorted(times, side="right") - 1
    fresh = (index >= 0) & (block.times_ms[index] > times - lookback_ms)
    values = block.values[index]
    present = np.broadcast_to(fresh[:, None], values.shape)
    sampled = np.broadcast_to(block.times_ms[index][:, None], values.shape)
    if not np.isnan(values).any():
        return values, present, sampled
    gaps = is_missing(values) & present
    gappy = np.flatnonzero(gaps.any(axis=0))
    present = present.copy()
    if len(gappy):
        sampled = sampled.copy()
        columns = block.values[:, gappy]
        filled = np.where(is_missing(columns), -1, np.arange(len(columns))[:, None])
        np.maximum.accumulate(filled, axis=0, out=filled)
        found = filled[index]
        when = block.times_ms[found]
        values[:, gappy] = np.take_along_axis(columns, np.maximum(found, 0), axis=0)
        sampled[:, gappy] = when
        reached = (index >= 0)[:, None] & (found >= 0)
        present[:, gappy] = reached & (when > (times - lookback_ms)[:, None])
    present &= ~is_stale(values)
    return values, present, sampled


def _split_gappy(
    block: Block,
) -> Iterator[tuple[slice | Ints, Times, Floats, Bools | None]]:
    """Yield the series without gaps, which share all their times, apart from those with gaps."""
    values = block.values
    if values.size == 0:
        return
    absent = is_absent(values) if np.isnan(values).any() else None
    if absent is None or not absent.any():
        yield block.positions, block.times_ms, values, None
        return
    gappy = absent.any(axis=0)
    positions = block.positions
    rows = np.arange(positions.start, positions.stop) if isinstance(positions, slice) else positions
    if not gappy.all():
        yield rows[~gappy], block.times_ms, values[:, ~gappy], None
    yield rows[gappy], block.times_ms, values[:, gappy], absent[:, gappy]


def _cut(
    positions: slice | Ints,
    times: Times,
    values: Floats,
    absent: Bools | None,
    ends_ms: Times,
    range_ms: int,
) -> Iterator[Window]:
    """Cut one window per step, in batches of steps that bound the memory used."""
    low = times.searchsorted(ends_ms - range_ms, side="right")
    high = times.searchsorted(ends_ms, side="right")
    count = high - low
    per_step = max(1, int(count.max()) * values.shape[1])
    batch = max(1, _MAX_WINDOW_ELEMENTS // per_step)
    for start in range(0, len(ends_ms), batch):
        steps = slice(start, min(start + batch, len(ends_ms)))
        depth = int(count[steps].max())
        if depth == 0:
            continue
        if steps.stop - steps.start == 1:
            rows = slice(int(low[start]), int(high[start]))
            cut = values[rows][:, None]
            cut_times = times[rows][:, None, None].astype(np.float64)
            cut_absent = None if absent is None else absent[rows][:, None]
            valid = None
        else:
            index = low[None, steps] + np.arange(depth)[:, None]
            valid = (index < high[steps])[:, :, None]
            np.minimum(index, len(times) - 1, out=index)
            cut = values[index]
            cut_times = times[index][:, :, None].astype(np.float64)
            cut_absent = None if absent is None else absent[index]
        window = (cut_times, cut, count[steps][:, None])
        if cut_absent is not None:
            window = _pack(cut_times, cut, ~cut_absent if valid is None else ~cut_absent & valid)
        full = bool((window[2] == len(window[1])).all())
        yield Window(positions, steps, ends_ms[steps], *window, full, range_ms)


def _pack(times: Floats, values: Floats, present: Bools) -> tuple[Floats, Floats, Ints]:
    """Move the samples of each window to its start, in order, and the gaps to its end."""
    order = np.argsort(~present, axis=0, kind="stable")
    return (
        np.take_along_axis(np.broadcast_to(times, values.shape), order, axis=0),
        np.take_along_axis(values, order, axis=0),
        present.sum(axis=0),
    )
