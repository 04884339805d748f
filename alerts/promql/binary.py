"""Binary operators: arithmetic, comparison and set operators over scalars and vectors.

Pairing series is label work, done once per pair of frames; per step only the presence of the
paired samples decides. Error texts follow Prometheus, promql/engine.go, VectorBinop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alerts.promql.context import Context
from alerts.promql.errors import PromQLError
from alerts.promql.nodes import COMPARISONS, Binary, Matching
from alerts.promql.vectors import (
    NAME_LABELS,
    Bools,
    Floats,
    Frame,
    Groups,
    Ints,
    Vector,
    collapse,
)
from alerts.series.labels import METRIC_NAME, Labels

_Operation = Callable[[Floats, Floats], NDArray[np.generic]]

OPERATIONS: Final[Mapping[str, _Operation]] = MappingProxyType(
    {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.divide,
        "%": np.fmod,
        "^": np.power,
        "atan2": np.arctan2,
        "==": np.equal,
        "!=": np.not_equal,
        ">": np.greater,
        "<": np.less,
        ">=": np.greater_equal,
        "<=": np.less_equal,
    }
)


def scalars(op: str, lhs: Floats, rhs: Floats) -> Floats:
    """Combine two scalars; a comparison gives 0 or 1."""
    return OPERATIONS[op](lhs, rhs).astype(np.float64)


def vector_and_scalar(
    node: Binary, vector: Vector, scalar: Floats, context: Context, *, swapped: bool
) -> Vector:
    """Combine each sample with a scalar; ``swapped`` when the scalar stands on the left."""
    sides = (scalar, vector.values) if swapped else (vector.values, scalar)
    result = OPERATIONS[node.op](*sides)
    if node.op in COMPARISONS and not node.return_bool:
        return Vector(
            vector.frame, vector.values, vector.present & result.astype(np.bool_, copy=False)
        )
    changed = Vector(vector.frame, result.astype(np.float64), vector.present)
    return context.without_names(node.slot, changed)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Which rows of the many side meet which of the one side.

    Attributes:
        many: ``(pairs,)`` rows of the side that may have several series per match group.
        one: ``(pairs,)`` rows of the other side.
        frame: Label sets of the results.
        unique: Whether no match group has two rows on the one side, nor, one-to-one, on either.
        one_groups: The one side's rows by match group.
        result_groups: Pairs whose results must not meet at a step; None when none can.
    """

    many: Ints
    one: Ints
    frame: Frame
    unique: bool
    one_groups: Groups
    result_groups: Groups | None


def vectors(node: Binary, lhs: Vector, rhs: Vector, context: Context) -> Vector:
    """Combine the samples of two vectors whose labels match.

    Raises:
        PromQLError: A match group has several samples on a side that may have one.
    """
    swapped = node.matching.cardinality == "one-to-many"
    many, one = (rhs, lhs) if swapped else (lhs, rhs)
    delays_names = context.delays_names

    def pair() -> _Pairs:
        return _pair(node, many.frame, one.frame, delays_names=delays_names, crowded=False)

    pairs = context.memo.recall((node.slot, "pairs"), (many.frame, one.frame), pair)
    if not pairs.unique:
        # Which rows meet depends on the samples now: look only at rows that have any.
        _check_one_side(node, many, one, pairs.one_groups)
        many, one = _inhabited(many), _inhabited(one)
        pairs = _pair(node, many.frame, one.frame, delays_names=delays_names, crowded=True)
    left, right = (one, many) if swapped else (many, one)
    left_rows, right_rows = (pairs.one, pairs.many) if swapped else (pairs.many, pairs.one)
    left_values = left.values[left_rows]
    result = OPERATIONS[node.op](left_values, right.values[right_rows])
    present = many.present[pairs.many] & one.present[pairs.one]
    if node.matching.cardinality == "one-to-one":
        # A match that a comparison then filters out is a match all the same.
        _check_results(node.matching, pairs.result_groups, present)
    if node.op in COMPARISONS and not node.return_bool:
        present &= result.astype(np.bool_)
        # A filter passes on what stands on the left, whichever side is the many side.
        result = left_values
    combined = Vector(pairs.frame, result.astype(np.float64), present)
    _check_results(node.matching, pairs.result_groups, present)
    groups = pairs.frame.groups
    if groups is None:
        return combined
    return collapse(combined, groups, pairs.frame.take(groups.firsts()))


def _check_results(matching: Matching, groups: Groups | None, present: Bools) -> None:
    """Refuse results that meet at a step though they must not."""
    if groups is None or not (groups.counts(present) > 1).any():
        return
    if matching.cardinality == "one-to-one":
        raise PromQLError(
            "multiple matches for labels: many-to-one matching must be explicit "
            "(group_left/group_right)"
        )
    raise PromQLError("multiple matches for labels: grouping labels must ensure unique matches")


def _check_one_side(node: Binary, many: Vector, one: Vector, groups: Groups) -> None:
    """Refuse several samples of one match group on the side that may have one."""
    crowded = groups.counts(one.present) > 1
    # Steps at which the other side is empty match nothing, and so are no error.
    crowded &= many.present.any(axis=0)
    if not crowded.any():
        return
    group, step = (int(place[0]) for place in np.nonzero(crowded))
    here = np.flatnonzero((groups.of_row == group) & one.present[:, step])
    first, second = sorted(one.frame.labels[row] for row in here.tolist())[:2]
    side = "left" if node.matching.cardinality == "one-to-many" else "right"
    key = Labels(groups.keys[group])  # type: ignore[arg-type]  # keys are pairs of labels
    raise PromQLError(
        f"found duplicate series for the match group {_braces(key)} on the {side} hand-side of "
        f"the operation: [{_braces(first)}, {_braces(second)}];many-to-many matching not "
        "allowed: matching labels must be unique on one side"
    )


def _braces(labels: Labels) -> str:
    """Show labels as Prometheus does in this error: everything inside the braces."""
    inside = ", ".join(f'{name}="{value}"' for name, value in labels.pairs)
    return f"{{{inside}}}"


def _inhabited(vector: Vector) -> Vector:
    rows = np.flatnonzero(vector.present.any(axis=1))
    return Vector(vector.frame.take(rows.tolist()), vector.values[rows], vector.present[rows])


_Key = tuple[tuple[str, str], ...]


def _match_key(labels: Labels, matching: Matching) -> _Key:
    """Return the labels by which series of two vectors find each other."""
    if matching.on:
        return tuple(pair for pair in labels.pairs if pair[0] in matching.labels)
    return tuple(
        pair for pair in labels.pairs if pair[0] != METRIC_NAME and pair[0] not in matching.labels
    )


def _pair(node: Binary, many: Frame, one: Frame, *, delays_names: bool, crowded: bool) -> _Pairs:
    """Pair the rows of two frames; of a crowded one side only when asked to.

    Where match groups have several rows on the one side, all combinations may be far too many:
    the caller first narrows the frames down to rows with samples.
    """
    matching = node.matching
    one_groups = Groups(_match_key(labels, matching) for labels in one.labels)
    members: dict[object, list[int]] = {}
    for row, number in enumerate(one_groups.of_row.tolist()):
        members.setdefault(one_groups.keys[number], []).append(row)
    pairs: list[tuple[int, int, _Key]] = []
    one_rows_unique = one_groups.count == len(one)
    for row, labels in enumerate(many.labels if one_rows_unique or crowded else ()):
        key = _match_key(labels, matching)
        pairs.extend((row, partner, key) for partner in members.get(key, ()))
    frame = _result_frame(node, many, one, pairs, delays_names=delays_names)
    by_key = matching.cardinality == "one-to-one"
    keys: list[object] = [key for _, _, key in pairs] if by_key else list(frame.labels)
    groups = Groups(keys)
    return _Pairs(
        np.array([pair[0] for pair in pairs], dtype=np.intp),
        np.array([pair[1] for pair in pairs], dtype=np.intp),
        frame,
        one_rows_unique,
        one_groups,
        groups if groups.count != len(pairs) else None,
    )


def _result_frame(
    node: Binary,
    many: Frame,
    one: Frame,
    pairs: list[tuple[int, int, _Key]],
    *,
    delays_names: bool,
) -> Frame:
    drops = node.op not in COMPARISONS or node.return_bool
    names_now = drops and not delays_names
    labels = [
        _result_labels(node.matching, many.labels[row], one.labels[partner], names_now)
        for row, partner, _ in pairs
    ]
    if drops and delays_names:
        return Frame(labels, (True,) * len(labels))
    if many.nameless is None:
        return Frame(labels)
    return Frame(labels, tuple(many.nameless[row] for row, _, _ in pairs))


def _result_labels(matching: Matching, many: Labels, one: Labels, drops_name: bool) -> Labels:
    """Source: promql/engine.go, resultMetric."""
    labels = many.drop(NAME_LABELS) if drops_name else many
    if matching.cardinality == "one-to-one":
        return labels.keep(matching.labels) if matching.on else labels.drop(matching.labels)
    if matching.include:
        return labels.merge({name: one.get(name, "") for name in matching.include})
    return labels


@dataclass(frozen=True, slots=True, eq=False)
class _SetMatch:
    """The match groups of both sides of a set operator, numbered together."""

    lhs: Ints
    rhs: Ints
    count: int


def set_operation(node: Binary, lhs: Vector, rhs: Vector, context: Context) -> Vector:
    """Return ``lhs and rhs``, ``lhs or rhs`` or ``lhs unless rhs``."""

    def match() -> _SetMatch:
        frames = (lhs.frame, rhs.frame)
        keys = [_match_key(labels, node.matching) for frame in frames for labels in frame.labels]
        groups = Groups(keys)
        split = len(lhs.frame)
        return _SetMatch(groups.of_row[:split], groups.of_row[split:], groups.count)

    frames = (lhs.frame, rhs.frame)
    matched = context.memo.recall((node.slot, "sets"), frames, match)
    if node.op == "or":
        taken = _groups_present(matched.lhs, lhs.present, matched.count)
        frame = context.memo.recall((node.slot, "union"), frames, lambda: _union(*frames))
        return Vector(
            frame,
            np.concatenate([lhs.values, rhs.values]),
            np.concatenate([lhs.present, rhs.present & ~taken[matched.rhs]]),
        )
    there = _groups_present(matched.rhs, rhs.present, matched.count)[matched.lhs]
    present = lhs.present & (there if node.op == "and" else ~there)
    return Vector(lhs.frame, lhs.values, present)


def _groups_present(of_row: Ints, present: Bools, count: int) -> Bools:
    """Tell for each group and step whether any of the group's rows has a sample."""
    there = np.zeros((count, present.shape[1]), dtype=np.bool_)
    np.logical_or.at(there, of_row, present)
    return there


def _union(lhs: Frame, rhs: Frame) -> Frame:
    nameless = tuple(
        gone for frame in (lhs, rhs) for gone in (frame.nameless or (False,) * len(frame))
    )
    return Frame(lhs.labels + rhs.labels, nameless)
