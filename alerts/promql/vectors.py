"""What flows between the operators of a plan: series x steps matrices and windows of samples.

Labels and numbers are kept apart. A ``Frame`` holds the label sets and is compared by identity;
an operator works its labels out once per frame and after that only computes on matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from alerts.promql.errors import PromQLError
from alerts.series.labels import METRIC_NAME, Labels

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
Times = NDArray[np.int64]
_Number = TypeVar("_Number", np.float64, np.intp)

NAME_LABELS: Final = (METRIC_NAME, "__type__", "__unit__")
"""Labels that describe the metric itself and go when a value is no longer that metric."""


class Frame:
    """The label sets of a vector's rows.

    Attributes:
        labels: One label set per row.
        nameless: Which rows lose their ``NAME_LABELS`` when the query is done; None for no row.
    """

    def __init__(self, labels: Iterable[Labels], nameless: tuple[bool, ...] | None = None) -> None:
        self.labels: Final = tuple(labels)
        self.nameless: Final = nameless if nameless is not None and any(nameless) else None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def groups(self) -> Groups | None:
        """Rows with equal label sets, or None when no two rows have one."""
        groups = Groups(self.labels)
        return None if groups.count == len(self.labels) else groups

    @cached_property
    def shared(self) -> WeakValueDictionary[object, Any]:
        """What queries have worked out about the labels, for as long as one of them needs it."""
        return WeakValueDictionary()

    def take(self, rows: Sequence[int]) -> Frame:
        """Return the frame of some of the rows."""
        nameless = None if self.nameless is None else tuple(self.nameless[row] for row in rows)
        return Frame((self.labels[row] for row in rows), nameless)

    def final(self) -> Frame:
        """Return the frame with the names gone that were to go."""
        if self.nameless is None:
            return self
        return Frame(
            labels.drop(NAME_LABELS) if gone else labels
            for labels, gone in zip(self.labels, self.nameless, strict=True)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """Values of series at the steps of the evaluation.

    Shapes: ``values`` (series, steps) float64; ``present`` (series, steps) bool tells where there
    is a sample, and only there ``values`` means anything.
    """

    frame: Frame
    values: Floats
    present: Bools


class Groups:
    """Rows assigned to groups by key, in the order of the groups' first rows.

    Attributes:
        keys: The key of each group.
        of_row: ``(rows,)`` the group of each row.
        count: How many groups there are.
        order: Rows sorted by group, stable; None when they are sorted as they stand.
        starts: ``(groups,)`` where each group starts in ``order``.
        sizes: ``(groups,)`` how many rows each group has.
    """

    def __init__(self, keys: Iterable[object]) -> None:
        numbers: dict[object, int] = {}
        of_row = [numbers.setdefault(key, len(numbers)) for key in keys]
        self.keys: Final = tuple(numbers)
        self.of_row: Final[Ints] = np.array(of_row, dtype=np.intp)
        self.count: Final = len(numbers)
        self.sizes: Final[Ints] = np.bincount(self.of_row, minlength=self.count).astype(np.intp)
        self.starts: Final[Ints] = (np.cumsum(self.sizes) - self.sizes).astype(np.intp)
        in_order = bool(np.all(self.of_row[1:] >= self.of_row[:-1]))
        self.order: Final[Ints | None] = (
            None if in_order else np.argsort(self.of_row, kind="stable")
        )

    def reduce(self, operation: np.ufunc, values: NDArray[_Number]) -> NDArray[_Number]:
        """Reduce rows of ``(rows, steps)`` to ``(groups, steps)``; there must be a row."""
        # Steps-major, where a group's rows lie side by side, is the direction reduceat is fast in.
        steps_major = values.T if self.order is None else values.T[:, self.order]
        reduced: NDArray[_Number] = operation.reduceat(
            np.ascontiguousarray(steps_major), self.starts, axis=1
        )
        return reduced.T

    def counts(self, present: Bools) -> Ints:
        """Count where ``present`` per group: ``(groups, steps)``."""
        return self.reduce(np.add, present.astype(np.intp))

    def firsts(self) -> list[int]:
        """Return the first row of each group."""
        rows = self.starts if self.order is None else self.order[self.starts]
        return [int(row) for row in rows]


def merge_equal_labels(vector: Vector) -> Vector:
    """Return the vector with one row per label set.

    Raises:
        PromQLError: Two rows of one label set have a sample at the same step.
    """
    groups = vector.frame.groups
    if groups is None:
        return vector
    if (groups.counts(vector.present) > 1).any():
        raise PromQLError("vector cannot contain metrics with the same labelset")
    return collapse(vector, groups, vector.frame.take(groups.firsts()))


def collapse(vector: Vector, groups: Groups, frame: Frame) -> Vector:
    """Merge rows into their groups, where at most one row per group has a sample at a step."""
    rows = np.where(vector.present, np.arange(len(vector.frame))[:, None], -1)
    source = groups.reduce(np.maximum, rows)
    steps = np.arange(vector.values.shape[1])[None, :]
    return Vector(frame, vector.values[source, steps], source >= 0)
