"""Functions of instant vectors and scalars: element by element, or of the vector as a whole.

Source of the semantics: promql/functions.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from alerts.promql.vectors import Bools, Floats, Frame, Vector
from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.matchers import Matcher, MatchOp

ElementFunction = Callable[..., Floats]
"""Takes values of shape (series, steps) and, for some, scalars of shape (steps,)."""


def _round(values: Floats, to_nearest: Floats | None = None) -> Floats:
    """Round halves up; the inverse is used as Prometheus does, for the same last digit."""
    inverse = np.float64(1.0) if to_nearest is None else 1.0 / to_nearest
    return np.floor(values * inverse + 0.5) / inverse


def _clamp(values: Floats, least: Floats, most: Floats) -> Floats:
    return np.maximum(least, np.minimum(most, values))


def _days(values: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    return _seconds(values).astype("datetime64[D]")


def _seconds(values: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    whole = np.where(np.isfinite(values), np.trunc(values), 0.0)
    return whole.astype(np.int64).astype("datetime64[s]")


def _calendar(part: Callable[[Floats], Floats]) -> ElementFunction:
    def of_finite(values: Floats) -> Floats:
        return np.where(np.isfinite(values), part(values), np.nan)

    return of_finite


def _since(values: Floats, unit: str, parent: str) -> Floats:
    """Count whole units since the start of the parent unit."""
    moments = _seconds(values)
    start = moments.astype(f"datetime64[{parent}]").astype(f"datetime64[{unit}]")
    elapsed = moments.astype(f"datetime64[{unit}]") - start
    return np.asarray(elapsed, dtype=np.float64)


def _days_in_month(values: Floats) -> Floats:
    months = _seconds(values).astype("datetime64[M]")
    days = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    return np.asarray(days, dtype=np.float64)


def _day_of_week(values: Floats) -> Floats:
    # 1970-01-01 was a Thursday, day 4 of a week that starts on Sunday.
    return (_days(values).astype(np.int64) + 4).astype(np.float64) % 7


ELEMENTWISE: Final[Mapping[str, ElementFunction]] = MappingProxyType(
    {
        "abs": np.abs,
        "acos": np.arccos,
        "acosh": np.arccosh,
        "asin": np.arcsin,
        "asinh": np.arcsinh,
        "atan": np.arctan,
        "atanh": np.arctanh,
        "ceil": np.ceil,
        "clamp": _clamp,
        "clamp_max": np.minimum,
        "clamp_min": np.maximum,
        "cos": np.cos,
        "cosh": np.cosh,
        "deg": lambda values: values * 180 / np.pi,
        "exp": np.exp,
        "floor": np.floor,
        "ln": np.log,
        "log10": np.log10,
        "log2": np.log2,
        "rad": lambda values: values * np.pi / 180,
        "round": _round,
        "sgn": np.sign,
        "sin": np.sin,
        "sinh": np.sinh,
        "sqrt": np.sqrt,
        "tan": np.tan,
        "tanh": np.tanh,
    }
)
CALENDAR: Final[Mapping[str, ElementFunction]] = MappingProxyType(
    {
        "day_of_month": _calendar(lambda values: _since(values, "D", "M") + 1),
        "day_of_week": _calendar(_day_of_week),
        "day_of_year": _calendar(lambda values: _since(values, "D", "Y") + 1),
        "days_in_month": _calendar(_days_in_month),
        "hour": _calendar(lambda values: _since(values, "h", "D")),
        "minute": _calendar(lambda values: _since(values, "m", "h")),
        "month": _calendar(lambda values: _since(values, "M", "Y") + 1),
        "year": _calendar(
            lambda values: _seconds(values).astype("datetime64[Y]").astype(np.float64) + 1970
        ),
    }
)
"""Functions of Unix seconds, UTC; without an argument they take the time of evaluation."""


def scalar(vector: Vector) -> Floats:
    """Return the value of the only sample at each step, NaN where there is none or several."""
    only = vector.present.sum(axis=0) == 1
    total = np.where(vector.present, vector.values, 0.0).sum(axis=0)
    return np.where(only, total, np.nan)


def from_scalar(value: Floats) -> Vector:
    """Return a vector with one sample without labels."""
    present = np.ones((1, len(value)), dtype=np.bool_)
    return Vector(Frame((Labels(),)), value[None, :].astype(np.float64), present)


def absent(matchers: tuple[Matcher, ...], present: Bools) -> Vector:
    """Return 1 at the steps where nothing is present, labelled by the equality matchers.

    Args:
        matchers: Those of the selector asked about; none when it was no selector.
        present: ``(series, steps)``.
    """
    gone = ~np.any(present, axis=0, keepdims=True)
    frame = Frame((_labels_of_absent(matchers),))
    return Vector(frame, np.ones(gone.shape), gone)


def _labels_of_absent(matchers: tuple[Matcher, ...]) -> Labels:
    """Source: promql/functions.go, createLabelsForAbsentFunction."""
    labels: dict[str, str] = {}
    ambiguous: set[str] = set()
    for matcher in matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in labels:
            labels[matcher.name] = matcher.value
        else:
            ambiguous.add(matcher.name)
    return Labels((name, value) for name, value in labels.items() if name not in ambiguous)


def sort_by_label(vector: Vector, names: list[str], *, descending: bool) -> Vector:
    """Order the samples of an instant query by labels, digits in them as numbers."""
    if vector.values.shape[1] != 1:
        return vector
    labels = vector.frame.labels

    def key(row: int) -> tuple[object, ...]:
        by_name = [_natural(labels[row].get(name, "")) for name in names]
        return (*by_name, labels[row].pairs)

    order = sorted(range(len(labels)), key=key, reverse=descending)
    return Vector(vector.frame.take(order), vector.values[order], vector.present[order])


def _natural(text: str) -> list[tuple[bool, int, str]]:
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def sort(vector: Vector, *, descending: bool) -> Vector:
    """Order the samples of an instant query by value, NaN last; a range query keeps its order."""
    if vector.values.shape[1] != 1:
        return vector
    values = vector.values[:, 0]
    keys = np.where(np.isnan(values), np.inf, -values if descending else values)
    order = np.lexsort((keys, np.isnan(values)))
    return Vector(vector.frame.take(order.tolist()), vector.values[order], vector.present[order])
