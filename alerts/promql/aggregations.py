"""Aggregations: groups of series at each step become one value, or are narrowed down.

Groups are assigned once per frame. Source of the semantics: promql/engine.go, aggregation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

import numpy as np

from alerts.promql.context import Context
from alerts.promql.errors import PromQLError
from alerts.promql.nodes import Aggregate
from alerts.promql.numbers import format_float
from alerts.promql.numeric import quantile_sorted, sort_nan_first
from alerts.promql.signatures import AGGREGATIONS
from alerts.promql.text import is_label_name
from alerts.promql.vectors import Bools, Floats, Frame, Groups, Ints, Vector
from alerts.series.labels import METRIC_NAME, Labels

_Reduction = Callable[["_Cells"], Floats]
NAMES: Final = frozenset(AGGREGATIONS)
"""Names of the aggregations."""

_CANCELLATION: Final = 1e4
"""How much larger than a sum its terms may be before it is added up exactly."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Grouping:
    """The rows of a frame in groups, and the label sets of these."""

    groups: Groups
    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """What a reduction works on.

    Shapes: ``values`` and ``present`` (series, steps); ``counts`` (groups, steps), how many samples
    each group has.
    """

    groups: Groups
    values: Floats
    present: Bools
    counts: Ints

    def reduce(self, operation: np.ufunc, filler: float) -> Floats:
        """Reduce the samples of each group; ``filler`` is the operation's neutral value."""
        return self.groups.reduce(operation, self.filled(filler))

    def filled(self, filler: float) -> Floats:
        """Return the values with ``filler`` where there is no sample."""
        if self.present.all():
            return self.values
        return np.where(self.present, self.values, filler)


def _sum(cells: _Cells) -> Floats:
    """Sum per group; exactly where plain addition would lose digits to cancellation."""
    terms = cells.filled(0.0)
    total = cells.groups.reduce(np.add, terms)
    if terms.min() >= 0:
        return total
    magnitude = cells.groups.reduce(np.add, np.abs(terms))
    doubtful = (np.abs(total) * _CANCELLATION < magnitude) & np.isfinite(magnitude)
    for group, step in np.argwhere(doubtful).tolist():
        members = terms[cells.groups.of_row == group, step]
        total[group, step] = math.fsum(members.tolist())
    return total


def _avg(cells: _Cells) -> Floats:
    total = _sum(cells)
    divisor = np.maximum(cells.counts, 1)
    mean = total / divisor
    if np.isinf(total).any():
        # The sum may be too large for a float where the mean is not.
        scaled = cells.filled(0.0) / divisor[cells.groups.of_row]
        mean = np.where(np.isinf(total), cells.groups.reduce(np.add, scaled), mean)
    return mean


def _stdvar(cells: _Cells) -> Floats:
    mean = _avg(cells)
    divisor = np.maximum(cells.counts, 1)
    # The mean itself is rounded; corrected once, equal samples have no variance at all.
    rest = np.where(cells.present, cells.values - mean[cells.groups.of_row], 0.0)
    mean = mean + cells.groups.reduce(np.add, rest) / divisor
    squares = np.where(cells.present, (cells.values - mean[cells.groups.of_row]) ** 2, 0.0)
    return cells.groups.reduce(np.add, squares) / divisor


_REDUCTIONS: Final[Mapping[str, _Reduction]] = MappingProxyType(
    {
        "avg": _avg,
        "count": lambda cells: cells.counts.astype(np.float64),
        "group": lambda cells: np.ones(cells.counts.shape),
        "max": lambda cells: cells.reduce(np.fmax, np.nan),
        "min": lambda cells: cells.reduce(np.fmin, np.nan),
        "stddev": lambda cells: np.sqrt(_stdvar(cells)),
        "stdvar": _stdvar,
        "sum": _sum,
    }
)


def aggregate(
    node: Aggregate, vector: Vector, param: Floats | str | None, context: Context
) -> Vector:
    """Aggregate a vector.

    Args:
        node: What to do.
        vector: What to do it to.
        param: The operator's parameter: ``(steps,)``, or the label of ``count_values``.
        context: The evaluation.

    Raises:
        PromQLError: The parameter cannot be used.
    """
    if isinstance(param, str):
        return _count_values(node, vector, param)
    grouping = context.memo.share(
        node.slot,
        ("groups", node.without, node.labels),
        vector.frame,
        lambda: _Grouping(*_groups(node, vector.frame)),
    )
    groups, frame = grouping.groups, grouping.frame
    if param is not None and node.op in ("topk", "bottomk"):
        return _select_k(groups, vector, param, largest=node.op == "topk")
    if groups.count == 0:
        return Vector(frame, vector.values, vector.present)
    counts = groups.counts(vector.present)
    if param is not None:
        values = _quantile(groups, vector, counts, param)
    else:
        values = _REDUCTIONS[node.op](_Cells(groups, vector.values, vector.present, counts))
    return Vector(frame, values, counts > 0)


def _groups(node: Aggregate, frame: Frame) -> tuple[Groups, Frame]:
    """Assign the rows of a frame to the groups of ``by`` or ``without``."""
    if node.without:
        dropped = {*node.labels, METRIC_NAME}
        without = Groups(labels.drop(dropped) for labels in frame.labels)
        return without, Frame(cast("tuple[Labels, ...]", without.keys))
    names = node.labels
    groups = Groups(tuple([labels.get(name, "") for name in names]) for labels in frame.labels)
    keys = cast("tuple[tuple[str, ...], ...]", groups.keys)
    nameless = None
    if frame.nameless is not None:
        gone = np.zeros(groups.count, dtype=np.bool_)
        gone[groups.of_row[np.array(frame.nameless)]] = True
        nameless = tuple(gone.tolist())
    return groups, Frame((Labels(zip(names, key, strict=True)) for key in keys), nameless)


def _in_order(groups: Groups, vector: Vector, keys: Floats) -> Ints:
    """Return per step the rows sorted by group, then presence, then key: ``(steps, rows)``."""
    of_row = np.broadcast_to(groups.of_row, keys.T.shape)
    return np.lexsort((keys.T, ~vector.present.T, of_row), axis=-1)


def _select_k(groups: Groups, vector: Vector, param: Floats, *, largest: bool) -> Vector:
    """Keep the k largest or smallest samples of each group; NaN is taken last."""
    limits = _checked_k(param)
    if groups.count == 0:
        return vector
    keys = -vector.values if largest else vector.values
    order = _in_order(groups, vector, np.where(np.isnan(keys), np.inf, keys))
    rank = np.arange(len(groups.of_row)) - np.repeat(groups.starts, groups.sizes)
    chosen = np.zeros(vector.present.T.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order, rank[None, :] < limits[:, None], axis=-1)
    present = vector.present & chosen.T
    if vector.present.shape[1] != 1:
        return Vector(vector.frame, vector.values, present)
    # An instant answer lists the samples of each group best first.
    best = order[0]
    rows = best[present[best, 0]]
    return Vector(vector.frame.take(rows.tolist()), vector.values[rows], present[rows])


def _checked_k(param: Floats) -> Floats:
    if np.isnan(param).any():
        raise PromQLError("Parameter value is NaN")
    beyond = param[np.abs(param) >= 2.0**63]
    if len(beyond):
        way = "overflows" if beyond[0] > 0 else "underflows"
        raise PromQLError(f"Scalar value {format_float(float(beyond[0]))} {way} int64")
    return np.trunc(param)


def _quantile(groups: Groups, vector: Vector, counts: Ints, param: Floats) -> Floats:
    """Return the quantile of each group: groups padded to the same size, sorted together."""
    depth = int(groups.sizes.max())
    rank = np.arange(len(groups.of_row)) - np.repeat(groups.starts, groups.sizes)
    order = np.arange(len(rank)) if groups.order is None else groups.order
    shape = (depth, groups.count, vector.values.shape[1])
    values = np.zeros(shape)
    mask = np.zeros(shape, dtype=np.bool_)
    values[rank, groups.of_row[order]] = vector.values[order]
    mask[rank, groups.of_row[order]] = vector.present[order]
    return quantile_sorted(sort_nan_first(values, mask), counts, param[None, :])


def _count_values(node: Aggregate, vector: Vector, label: str) -> Vector:
    """Count equal values per group; each value becomes a label, so rows depend on the samples."""
    if not is_label_name(label):
        raise PromQLError(f'invalid label name "{label}"')
    steps = vector.values.shape[1]
    kept = {*node.labels, label} if not node.without else set(node.labels) - {label}
    found: dict[Labels, Floats] = {}
    for row, step in np.argwhere(vector.present).tolist():
        labels = vector.frame.labels[row].merge(
            {label: format_float(float(vector.values[row, step]))}
        )
        key = labels.drop({*kept, METRIC_NAME}) if node.without else labels.keep(kept)
        found.setdefault(key, np.zeros(steps))[step] += 1
    values = np.array(list(found.values())).reshape(len(found), steps)
    return Vector(Frame(found), values, values > 0)
