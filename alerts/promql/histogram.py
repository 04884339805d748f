"""Classic histograms: quantiles and fractions from ``le`` buckets.

Source: promql/quantile.go, BucketQuantile and BucketFraction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from alerts.promql.context import Context
from alerts.promql.vectors import Floats, Frame, Groups, Ints, Vector
from alerts.series.labels import Labels

_BUCKET_LABEL: Final = "le"
_SMALL_DELTA: Final = 1e-12
"""Relative difference of neighbouring counts that is put down to rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where each series stands in its histogram.

    Attributes:
        rows: Series with a readable ``le``.
        cell: ``(rows,)`` their place in ``bounds``, flattened.
        bounds: ``(histograms, buckets)`` upper bounds ascending, padded with NaN.
        shared: Whether two series share a place (``le`` written in two ways).
        frame: Label sets of the histograms.
    """

    rows: Ints
    cell: Ints
    bounds: Floats
    shared: bool
    frame: Frame


def quantile(slot: int, wanted: Floats, vector: Vector, context: Context) -> Vector:
    """Return the quantile of each classic histogram at each step.

    Args:
        slot: The call's place in the memo.
        wanted: ``(steps,)`` quantiles.
        vector: Bucket series, cumulative counts.
        context: The evaluation.
    """

    def estimate(bounds: Floats, counts: Floats, sizes: Ints) -> Floats:
        return _bucket_quantile(wanted, bounds, counts, sizes)

    return _per_histogram(slot, vector, context, estimate)


def fraction(slot: int, lower: Floats, upper: Floats, vector: Vector, context: Context) -> Vector:
    """Return the fraction of observations between two values, per histogram and step.

    Args:
        slot: The call's place in the memo.
        lower: ``(steps,)`` the value observations must exceed.
        upper: ``(steps,)`` the value observations may reach.
        vector: Bucket series, cumulative counts.
        context: The evaluation.
    """

    def estimate(bounds: Floats, counts: Floats, sizes: Ints) -> Floats:
        return _bucket_fraction(lower, upper, bounds, counts, sizes)

    return _per_histogram(slot, vector, context, estimate)


def _per_histogram(
    slot: int,
    vector: Vector,
    context: Context,
    estimate: Callable[[Floats, Floats, Ints], Floats],
) -> Vector:
    layout = context.memo.recall((slot, "layout"), (vector.frame,), lambda: _lay_out(vector.frame))
    if len(layout.rows) == 0:
        return Vector(layout.frame, vector.values[:0], vector.present[:0])
    bounds, counts, sizes = _buckets(layout, vector)
    estimates = Vector(layout.frame, estimate(bounds, counts, sizes), sizes > 0)
    return context.without_names(slot, estimates)


def _lay_out(frame: Frame) -> _Layout:
    rows: list[int] = []
    bounds_of: list[float] = []
    keys: list[Labels] = []
    for row, labels in enumerate(frame.labels):
        bound = _parse_bound(labels.get(_BUCKET_LABEL, ""))
        if bound is not None:
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


def _made_monotonic(counts: Floats, sizes: Ints) -> Floats:
    """Return counts that never fall, and do not rise by what is only rounding."""
    fixed = counts.copy()
    for at in range(1, len(fixed)):
        before, here = fixed[at - 1], fixed[at]
        close = np.abs(here - before) < _SMALL_DELTA * np.minimum(
            np.abs(here) + np.abs(before), np.finfo(np.float64).max
        )
        fixed[at] = np.where((close | (here < before)) & (at < sizes), before, here)
    return fixed


def _at(matrix: Floats, index: Ints) -> Floats:
    taken: Floats = np.take_along_axis(matrix, np.maximum(index, 0)[None], axis=0)[0]
    return taken


def _bucket_quantile(wanted: Floats, bounds: Floats, raw: Floats, sizes: Ints) -> Floats:
    counts = _made_monotonic(raw, sizes)
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
