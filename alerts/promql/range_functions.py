"""Functions of range vectors: what one window of samples comes to.

Each works on whole batches of windows, along the depth axis, and returns values and presence of
shape (steps, series). The semantics, and the order of floating-point operations where it can be
seen, follow Prometheus, promql/functions.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from alerts.promql.errors import PromQLError
from alerts.promql.numeric import compensated_sum, quantile_sorted, sort_nan_first
from alerts.promql.selectors import Window
from alerts.promql.vectors import Bools, Floats

WindowFunction = Callable[..., tuple[Floats, Bools]]
"""Takes a ``Window`` and, for some, scalars of shape ``(steps,)``."""


def rate(window: Window) -> tuple[Floats, Bools]:
    """Return the per-second increase of counters, extrapolated to the window."""
    return _extrapolated(window, counter=True, per_second=True)


def increase(window: Window) -> tuple[Floats, Bools]:
    """Return the increase of counters, extrapolated to the window."""
    return _extrapolated(window, counter=True, per_second=False)


def delta(window: Window) -> tuple[Floats, Bools]:
    """Return the change of gauges, extrapolated to the window."""
    return _extrapolated(window, counter=False, per_second=False)


def _extrapolated(window: Window, *, counter: bool, per_second: bool) -> tuple[Floats, Bools]:
    """The change between first and last sample, stretched towards the ends of the window.

    It is stretched to an end of the window when the sample there is within 1.1 times the average
    distance of samples, else by half that distance; counters never to below zero.
    Source: promql/functions.go, extrapolatedRate.
    """
    first, last = window.values[0], window.last(window.values)
    change = last - first
    if counter:
        change = change + _lost_in_resets(window)
    first_ms, last_ms = window.times_ms[0], window.last(window.times_ms)
    ends_ms = window.ends_ms[:, None]
    to_start = (first_ms - (ends_ms - window.range_ms)) / 1000
    to_end = (ends_ms - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    average = sampled / (window.count - 1)
    threshold = average * 1.1
    to_start = np.where(to_start >= threshold, average / 2, to_start)
    to_end = np.where(to_end >= threshold, average / 2, to_end)
    if counter:
        near_zero = (change > 0) & (first >= 0)
        if near_zero.any():
            to_zero = sampled * (first / change)
            to_start = np.where(near_zero & (to_zero < to_start), to_zero, to_start)
    factor = (sampled + to_start + to_end) / sampled
    if per_second:
        factor = factor / (window.range_ms / 1000)
    return change * factor, window.count >= 2


def _lost_in_resets(window: Window) -> Floats | float:
    """Return what counters had reached when they were reset, per window."""
    before, after = window.values[:-1], window.values[1:]
    reset = after < before
    if not window.full:
        reset &= window.mask()[1:]
    if not reset.any():
        return 0.0
    lost: Floats = np.add.reduce(before, axis=0, where=reset)
    return lost


def irate(window: Window) -> tuple[Floats, Bools]:
    """Return the per-second increase between the last two samples."""
    return _between_last_two(window, counter=True)


def idelta(window: Window) -> tuple[Floats, Bools]:
    """Return the change between the last two samples."""
    return _between_last_two(window, counter=False)


def _between_last_two(window: Window, *, counter: bool) -> tuple[Floats, Bools]:
    last = window.last(window.values)
    previous = window.nth(window.values, window.count - 2)
    if not counter:
        return last - previous, window.count >= 2
    change = np.where(last < previous, last, last - previous)
    seconds = window.last(window.times_ms) - window.nth(window.times_ms, window.count - 2)
    return change / (seconds / 1000), window.count >= 2


def changes(window: Window) -> tuple[Floats, Bools]:
    """Return how often the value changed; NaN equals NaN here."""
    before, after = window.values[:-1], window.values[1:]
    changed = (after != before) & ~(np.isnan(after) & np.isnan(before))
    return (changed & window.mask()[1:]).sum(axis=0).astype(np.float64), window.count >= 1


def resets(window: Window) -> tuple[Floats, Bools]:
    """Return how often the value went down."""
    went_down = (window.values[1:] < window.values[:-1]) & window.mask()[1:]
    return went_down.sum(axis=0).astype(np.float64), window.count >= 1


def sum_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the sum, compensated for rounding."""
    return compensated_sum(_padded(window, 0.0)), window.count >= 1


def avg_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the mean, also where the sum is too large for a float."""
    values = _padded(window, 0.0)
    total = compensated_sum(values)
    mean = total / window.count
    overflown = np.isinf(total)
    if overflown.any():
        finite = np.isfinite(values).all(axis=0)
        scaled = compensated_sum(values / window.count)
        mean = np.where(overflown & finite, scaled, mean)
    return mean, window.count >= 1


def count_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the number of samples."""
    return window.count.astype(np.float64), window.count >= 1


def present_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return 1 for every series with a sample."""
    return np.ones(window.count.shape), window.count >= 1


def last_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the last sample."""
    return window.last(window.values), window.count >= 1


def first_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the first sample."""
    return window.values[0], window.count >= 1


def min_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the least value; NaN only when there is nothing else."""
    return np.fmin.reduce(_padded(window, np.nan), axis=0), window.count >= 1


def max_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the greatest value; NaN only when there is nothing else."""
    return np.fmax.reduce(_padded(window, np.nan), axis=0), window.count >= 1


def stdvar_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the population variance."""
    mean, present = avg_over_time(window)
    mask = window.mask()
    # The mean itself is rounded; corrected once, equal samples have no variance at all.
    mean = mean + compensated_sum(np.where(mask, window.values - mean, 0.0)) / window.count
    squares = np.where(mask, (window.values - mean) ** 2, 0.0)
    return compensated_sum(squares) / window.count, present


def stddev_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the population standard deviation."""
    variance, present = stdvar_over_time(window)
    return np.sqrt(variance), present


def quantile_over_time(window: Window, quantile: Floats) -> tuple[Floats, Bools]:
    """Return the quantile, interpolated between samples; NaN counts as the least value."""
    ordered = sort_nan_first(window.values, None if window.full else window.mask())
    return quantile_sorted(ordered, window.count, quantile[:, None]), window.count >= 1


def mad_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return the median of the distances from the median; NaN when there is one."""
    half = np.full(1, 0.5)
    mask = None if window.full else window.mask()
    median = quantile_sorted(sort_nan_first(window.values, mask), window.count, half)
    distances = np.abs(window.values - median)
    deviation = quantile_sorted(sort_nan_first(distances, mask), window.count, half)
    undefined = (np.isnan(window.values) & window.mask()).any(axis=0)
    return np.where(undefined, np.nan, deviation), window.count >= 1


def ts_of_first_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return when the first sample was, in Unix seconds."""
    return window.times_ms[0] / 1000, window.count >= 1


def ts_of_last_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return when the last sample was, in Unix seconds."""
    return window.last(window.times_ms) / 1000, window.count >= 1


def ts_of_max_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return when the greatest value was last seen, in Unix seconds."""
    return _ts_of_last(window, window.values == max_over_time(window)[0])


def ts_of_min_over_time(window: Window) -> tuple[Floats, Bools]:
    """Return when the least value was last seen, in Unix seconds."""
    return _ts_of_last(window, window.values == min_over_time(window)[0])


def _ts_of_last(window: Window, wanted: Bools) -> tuple[Floats, Bools]:
    """Return the time of the last sample that is wanted; all are where only NaN is there."""
    mask = np.broadcast_to(window.mask(), window.values.shape)
    wanted = (wanted | np.isnan(window.values).all(axis=0)) & mask
    place = np.where(wanted, np.arange(window.depth)[:, None, None], -1).max(axis=0)
    return window.nth(window.times_ms, place) / 1000, window.count >= 1


def double_exponential_smoothing(
    window: Window, smoothing: Floats, trend: Floats
) -> tuple[Floats, Bools]:
    """Return the value smoothed with a trend (Holt's linear method).

    Raises:
        PromQLError: A factor is not between 0 and 1.
    """
    for name, factor in (("smoothing", smoothing), ("trend", trend)):
        wrong = factor[~((factor > 0) & (factor < 1))]
        if len(wrong):
            raise PromQLError(
                f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {wrong[0]:f}"
            )
    values = window.values
    mask = np.broadcast_to(window.mask(), values.shape)
    before = level = values[0]
    slope = values[min(1, window.depth - 1)] - values[0]
    sf, tf = smoothing[:, None], trend[:, None]
    for at in range(1, window.depth):
        grown = slope if at == 1 else tf * (level - before) + (1 - tf) * slope
        smoothed = sf * values[at] + (1 - sf) * (level + grown)
        before = np.where(mask[at], level, before)
        slope = np.where(mask[at], grown, slope)
        level = np.where(mask[at], smoothed, level)
    return level, window.count >= 2


def deriv(window: Window) -> tuple[Floats, Bools]:
    """Return the per-second slope of the least-squares line."""
    slope, _ = _regression(window, window.times_ms[0])
    return slope, window.count >= 2


def predict_linear(window: Window, now_ms: Floats, seconds: Floats) -> tuple[Floats, Bools]:
    """Return where the least-squares line is ``seconds`` after the time of evaluation."""
    slope, intercept = _regression(window, now_ms[:, None])
    return slope * seconds[:, None] + intercept, window.count >= 2


def _regression(window: Window, origin_ms: Floats) -> tuple[Floats, Floats]:
    """Return slope per second and value at ``origin_ms`` of the least-squares line."""
    mask = window.mask()
    count = window.count
    x = np.where(mask, (window.times_ms - origin_ms) / 1000, 0.0)
    y = np.where(mask, window.values, 0.0)
    mean_x = compensated_sum(x) / count
    mean_y = compensated_sum(y) / count
    from_x = np.where(mask, x - mean_x, 0.0)
    from_y = np.where(mask, y - mean_y, 0.0)
    slope = compensated_sum(from_x * from_y) / compensated_sum(from_x * from_x)
    intercept = mean_y - slope * mean_x
    # A constant line is exact; infinite values have none.
    constant = ((window.values == window.values[0]) | ~mask).all(axis=0)
    infinite = np.isinf(window.values[0])
    slope = np.where(constant, np.where(infinite, np.nan, 0.0), slope)
    intercept = np.where(constant, np.where(infinite, np.nan, window.values[0]), intercept)
    return slope, intercept


def _padded(window: Window, filler: float) -> Floats:
    """Return the values with the padding replaced."""
    return window.values if window.full else np.where(window.mask(), window.values, filler)


FUNCTIONS: Final[Mapping[str, WindowFunction]] = MappingProxyType(
    {
        "avg_over_time": avg_over_time,
        "changes": changes,
        "count_over_time": count_over_time,
        "delta": delta,
        "deriv": deriv,
        "double_exponential_smoothing": double_exponential_smoothing,
        "first_over_time": first_over_time,
        "idelta": idelta,
        "increase": increase,
        "irate": irate,
        "last_over_time": last_over_time,
        "mad_over_time": mad_over_time,
        "max_over_time": max_over_time,
        "min_over_time": min_over_time,
        "predict_linear": predict_linear,
        "present_over_time": present_over_time,
        "quantile_over_time": quantile_over_time,
        "rate": rate,
        "resets": resets,
        "stddev_over_time": stddev_over_time,
        "stdvar_over_time": stdvar_over_time,
        "sum_over_time": sum_over_time,
        "ts_of_first_over_time": ts_of_first_over_time,
        "ts_of_last_over_time": ts_of_last_over_time,
        "ts_of_max_over_time": ts_of_max_over_time,
        "ts_of_min_over_time": ts_of_min_over_time,
    }
)
KEEP_NAMES: Final = frozenset({"first_over_time", "last_over_time"})
"""Functions whose value is still the metric's."""
