"""What a query answers with: samples, series of points, and the results that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.series.labels import Labels

ValueKind = Literal["vector", "scalar", "string", "matrix"]
"""The four types of PromQL; ``vector`` is the instant vector, ``matrix`` the range vector."""


class Sample(NamedTuple):
    """One element of an instant vector, at the timestamp of its query."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class SeriesPoints:
    """One series of a matrix.

    Shapes: ``timestamps_ms`` int64 and ``values`` float64, both ``(points,)``, ascending in time.
    """

    labels: Labels
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class InstantResult:
    """The answer to an instant query.

    Attributes:
        kind: Which of the other attributes holds the answer.
        timestamp_ms: The time the query was evaluated at.
        samples: The elements of a vector; a scalar is one sample without labels.
        text: The value of a string.
        series: The series of a matrix (a range selector or a subquery at the top).
        warnings: What is probably wrong with the query, in Prometheus's words.
        infos: What may be wrong with it.
    """

    kind: ValueKind
    timestamp_ms: int
    samples: tuple[Sample, ...] = ()
    text: str = ""
    series: tuple[SeriesPoints, ...] = ()
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RangeResult:
    """The answer to a range query: one series per label set, sorted by labels.

    ``warnings`` and ``infos`` are as those of an instant query.
    """

    series: tuple[SeriesPoints, ...]
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
