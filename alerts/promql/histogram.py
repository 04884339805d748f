"""Classic histograms: quantiles and fractions from ``le`` buckets.

Source: promql/quantile.go, BucketQuantile and BucketFraction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from alerts.promql.context import Context
from alerts.promql.notes import Forced
from alerts.promql.vectors import Bools, Floats, Frame, Groups, Ints, Vector
from alerts.series.labels import Labels

_BUCKET_LABEL: Final = "le"
_SMALL_DELTA: Final = 1e-12
"""Relative difference of neighbouring counts that is put down to rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where each series stands in its histogram.

    Attributes:
        rows: Series with a readable ``le``.
        unreadable: The other series.
        cell: ``(rows,)`` their place in ``bounds``, flattened.
        bounds: ``(histograms, buckets)`` upper bounds ascending, padded with NaN.
        shared: Whether two series share a place (``le`` written in two ways).
        frame: Label sets of the histograms.
    """

    rows: Ints
    unreadable: tuple[int, ...]
    cell: Ints
    bounds: Floats
    shared: bool
    frame: Frame


def quantile(slot: int, wanted: Floats, vector: Vector, context: Context, pos: int) -> Vector:
    """Return the quantile of each classic histogram at each step.

    Args:
        slot: The call's place in the memo.
        wanted: ``(steps,)`` quantiles.
        vector: Bucket series, cumulative counts.
        context: The evaluation.
        pos: Where the vector stands in the expression.
    """

    def estimate(layout: _Layout, bounds: Floats, raw: Floats, sizes: Ints) -> Floats:
        counts, fallen = _made_monotonic(raw, sizes)
        if fallen.any():
            fallen &= (wanted >= 0) & (wanted <= 1) & (_at(bounds, sizes - 1) == np.inf)
            _note_forced(layout.frame, bounds, raw, counts, fallen, context, pos)
        return _bucket_quantile(wanted, bounds, counts, sizes)

    return _per_histogram(slot, vector, context, pos, estimate)


def fraction(
    slot: int, lower: Floats, upper: Floats, vector: Vector, context: Context, pos: int
) -> Vector:
    """Return the fraction of observations between two values, per histogram and step.

    Args:
        slot: The call's place in the memo.
        lower: ``(steps,)`` the value observations must exceed.
        upper: ``(steps,)`` the value observations may reach.
        vector: Bucket series, cumulative counts.
        context: The evaluation.
        pos: Where the vector stands in the expression.
    """

    def estimate(_: _Layout, bounds: Floats, counts: Floats, sizes: Ints) -> Floats:
        return _bucket_fraction(lower, upper, bounds, counts, sizes)

    return _per_histogram(slot, vector, context, pos, estimate)


def _per_histogram(
    slot: int,
    vector: Vector,
    context: Context,
    pos: int,
    estimate: Callable[[_Layout, Floats, Floats, Ints], Floats],
) -> Vector:
    layout = context.memo.recall((slot, "layout"), (vector.frame,), lambda: _lay_out(vector.frame))
    for row in layout.unreadable:
        if vector.present[row].any():
            labels = vector.frame.labels[row]
            context.notes.bad_bucket(labels.get(_BUCKET_LABEL, ""), _name(labels, context), pos)
    if len(layout.rows) == 0:
        return Vector(layout.frame, vector.values[:0], vector.present[:0])
    bounds, counts, sizes = _buckets(layout, vector)
    estimates = Vector(layout.frame, estimate(layout, bounds, counts, sizes), sizes > 0)
    return context.without_names(slot, estimates)


def _name(labels: Labels, context: Context) -> str:
    """Return the metric's name for a note; without delayed removal of names there is none."""
    return labels.metric_name if context.delays_names else ""


def _note_forced(
    frame: Frame,
    bounds: Floats,
    raw: Floats,
    counts: Floats,
    fallen: Bools,
    context: Context,
    pos: int,
) -> None:
    """Note the histograms whose counts fell; shapes as ``_made_monotonic`` returns them."""
    changed: Bools = np.any(fallen, axis=0)
    rows = np.flatnonzero(np.any(changed, axis=1))
    by_name: dict[str, list[int]] = {}
    for row in rows.tolist():
        by_name.setdefault(_name(frame.labels[row], context), []).append(row)
    for name, members in by_name.items():
        here = fallen[:, members]
        bounds_here = bounds[:, members][here]
        times = context.times_ms[np.any(changed[members], axis=0)]
        forced = Forced(
            least=float(bounds_here.min()),
            most=float(bounds_here.max()),
            difference=float((counts - raw)[:, members][here].max()),
            samples=int(changed[members].sum()),
            first_ms=int(times[0]),
            last_ms=int(times[-1]),
        )
        context.notes.forced_monotonicity(forced, name, pos)


def _lay_out(frame: Frame) -> _Layout:
    rows: list[int] = []
    unreadable: list[int] = []
    bounds_of: list[float] = []
    keys: list[Labels] = []
    for row, labels in enumerate(frame.labels):
        bound = _parse_bound(labels.get(_BUCKET_LABEL, ""))
        if bound is None:
            unreadable.append(row)
        else:
            rows.append(row)
            bounds_of.append(bound)
            keys.append(labels.drop((_BUCKET_LABEL,)))
    groups = Groups(keys)
    members: list[set[float]] = [set() for _ in groups.keys]
    for number, bound in zip(groups.of_row.tolist(), bounds_of, strict=True):
        members[number].add(bound)
    ordered = [sorted(bounds) for bounds in members]
    width = max(map(len, ordered), default=0)
    matrix = np.full((len(ordered), width), np.nan)
    for number, bounds in enumerate(ordered):
        matrix[number, : len(bounds)] = bounds
    place = [{bound: at for at, bound in enumerate(bounds)} for bounds in ordered]
    cell = [
        number * width + place[number][bound]
        for number, bound in zip(groups.of_row.tolist(), bounds_of, strict=True)
    ]
    return _Layout(
        np.array(rows, dtype=np.intp),
        tuple(unreadable),
        np.array(cell, dtype=np.intp),
        matrix,
        len(set(cell)) != len(cell),
        Frame(groups.keys),  # type: ignore[arg-type]  # the keys are the label sets above
    )


def _parse_bound(text: str) -> float | None:
    try:
        bound = float(text.replace("_", "x"))
    except ValueError:
        return None
    return None if np.isnan(bound) else bound


def _buckets(layout: _Layout, vector: Vector) -> tuple[Floats, Floats, Ints]:
    """Return bounds and counts packed to the start, and how many buckets there are.

    Shapes: bounds and counts ``(buckets, histograms, steps)``, sizes ``(histograms, steps)``.
    """
    histograms, width = layout.bounds.shape
    steps = vector.values.shape[1]
    counts = np.zeros((histograms * width, steps))
    present = np.zeros((histograms * width, steps), dtype=np.bool_)
    values, there = vector.values[layout.rows], vector.present[layout.rows]
    if layout.shared:
        np.add.at(counts, layout.cell, np.where(there, values, 0.0))
        np.logical_or.at(present, layout.cell, there)
    else:
        counts[layout.cell], present[layout.cell] = values, there
    shape = (histograms, width, steps)
    counts = counts.reshape(shape).transpose(1, 0, 2)
    present = present.reshape(shape).transpose(1, 0, 2)
    bounds = np.broadcast_to(layout.bounds.T[:, :, None], counts.shape)
    sizes = present.sum(axis=0)
    if (present != (np.arange(width)[:, None, None] < sizes)).any():
        order = np.argsort(~present, axis=0, kind="stable")
        counts = np.take_along_axis(counts, order, axis=0)
        bounds = np.take_along_axis(bounds, order, axis=0)
    return bounds, counts, sizes


def _made_monotonic(counts: Floats, sizes: Ints) -> tuple[Floats, Bools]:
    """Return counts that never fall nor rise by what is only rounding, and where they fell."""
    fixed = counts.copy()
    fallen = np.zeros(counts.shape, dtype=np.bool_)
    for at in range(1, len(fixed)):
        before, here = fixed[at - 1], fixed[at]
        close = np.abs(here - before) < _SMALL_DELTA * np.minimum(
            np.abs(here) + np.abs(before), np.finfo(np.float64).max
        )
        fallen[at] = ~close & (here < before) & (at < sizes)
        fixed[at] = np.where(fallen[at] | (close & (at < sizes)), before, here)
    return fixed, fallen


def _at(matrix: Floats, index: Ints) -> Floats:
    taken: Floats = np.take_along_axis(matrix, np.maximum(index, 0)[None], axis=0)[0]
    return taken


def _bucket_quantile(wanted: Floats, bounds: Floats, counts: Floats, sizes: Ints) -> Floats:
    top = sizes - 1
    observations = _at(counts, top)
    rank = np.where((wanted >= 0) & (wanted <= 1), wanted, 0.0) * observations
    below_top = np.arange(len(counts))[:, None, None] < top
    # The first bucket that reaches the rank; NaN counts never do.
    found = ((~(counts >= rank)) & below_top).sum(axis=0)
    upper, count = _at(bounds, found), _at(counts, found)
    lower = np.where(found > 0, _at(bounds, found - 1), 0.0)
    under = np.where(found > 0, _at(counts, found - 1), 0.0)
    inner = lower + (upper - lower) * ((rank - under) / (count - under))
    inner = np.where((found == 0) & (upper <= 0), upper, inner)
    inner = np.where(found == top, _at(bounds, top - 1), inner)
    usable = (sizes >= 2) & (_at(bounds, top) == np.inf) & (observations != 0)
    inner = np.where(usable, inner, np.nan)
    outer = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, np.nan))
    return np.where((wanted >= 0) & (wanted <= 1), inner, outer)


def _bucket_fraction(
    lower: Floats, upper: Floats, bounds: Floats, counts: Floats, sizes: Ints
) -> Floats:
    top = sizes - 1
    observations = _at(counts, top)
    between = _rank_of(upper, bounds, counts, sizes) - _rank_of(lower, bounds, counts, sizes)
    result = np.where(lower >= upper, 0.0, between / observations)
    usable = (_at(bounds, top) == np.inf) & (observations != 0)
    usable &= ~(np.isnan(lower) | np.isnan(upper))
    return np.where(usable, result, np.nan)


def _rank_of(value: Floats, bounds: Floats, counts: Floats, sizes: Ints) -> Floats:
    """Return how many observations are at most ``value``, interpolated within its bucket."""
    inside = np.arange(len(bounds))[:, None, None] < sizes
    index = ((bounds <= value) & inside).sum(axis=0)
    total = _at(counts, sizes - 1)
    # A first bucket that ends above zero starts at zero, any other has no lower bound.
    lowest = np.where(bounds[0] > 0, 0.0, -np.inf)
    lower = np.where(index > 0, _at(bounds, index - 1), lowest)
    under = np.where(index > 0, _at(counts, index - 1), 0.0)
    bucket = np.minimum(index, sizes - 1)
    upper, count = _at(bounds, bucket), _at(counts, bucket)
    rank = under + (count - under) * ((value - lower) / (upper - lower))
    # A bucket without a lower bound is not interpolated: all of it is below any number in it.
    rank = np.where(np.isneginf(lower), count, rank)
    rank = np.where(lower >= value, under, rank)
    rank = np.where(index >= sizes, total, rank)
    return np.where(rank > total, total, rank)
