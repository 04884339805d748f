"""Sums and quantiles with the accuracy and the NaN rules of Prometheus, along the first axis."""

from __future__ import annotations

from typing import cast

import numpy as np

from alerts.promql.vectors import Bools, Floats, Ints


def compensated_sum(values: Floats) -> Floats:
    """Sum along the first axis with Neumaier's compensation.

    The running sums are one cumulative sum; what each addition rounded away is exact in floating
    point (Knuth's TwoSum), is summed as well, and added at the end.
    """
    if len(values) == 1:
        return cast("Floats", values[0])
    running = np.cumsum(values, axis=0)
    total: Floats = running[-1]
    before, after, added = running[:-1], running[1:], values[1:]
    grown = after - before
    lost = (before - (after - grown)) + (added - grown)
    correction = lost.sum(axis=0)
    return np.where(np.isfinite(total), total + correction, total)


def sort_nan_first(values: Floats, mask: Bools | None) -> Floats:
    """Sort along the first axis: NaN first, then ascending, then what ``mask`` leaves out."""
    keys = np.where(np.isnan(values), -np.inf, values)
    nan = np.isnan(values)
    if mask is not None:
        keys = np.where(mask, keys, np.inf)
        nan &= mask
    keys.sort(axis=0)
    shape = (len(values),) + (1,) * (values.ndim - 1)
    keys[np.arange(len(values)).reshape(shape) < nan.sum(axis=0)] = np.nan
    return keys


def quantile_sorted(ordered: Floats, count: Ints, quantile: Floats) -> Floats:
    """Interpolate quantiles in values sorted along the first axis.

    Source: promql/quantile.go, quantile: below 0 is -Inf, above 1 is +Inf, NaN stays NaN.

    Args:
        ordered: ``(depth, ...)``, the first ``count`` of each column sorted.
        count: Broadcasts to ``ordered[0]``.
        quantile: Broadcasts to ``ordered[0]``.
    """
    shape = ordered.shape[1:]
    wanted = np.broadcast_to(quantile, shape)
    inside = (wanted >= 0) & (wanted <= 1)
    rank = np.where(inside, wanted, 0.0) * (np.maximum(count, 1) - 1)
    lower = np.floor(rank).astype(np.intp)
    upper = np.minimum(np.maximum(count, 1) - 1, lower + 1)
    weight = rank - np.floor(rank)
    low = np.take_along_axis(ordered, lower[None], axis=0)[0]
    high = np.take_along_axis(ordered, np.broadcast_to(upper, shape)[None], axis=0)[0]
    inner = low * (1 - weight) + high * weight
    outer = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, np.nan))
    return np.where(inside, inner, outer)
