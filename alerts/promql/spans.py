"""Spans: ranges, steps and offsets, which may be arithmetic over the query's own step and range.

Source: Prometheus documentation, "Querying basics", duration expressions; promql/durations.go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from alerts.promql.errors import PromQLError

_MAX_S: Final = (2**63 - 1) / 1e9
"""What 64-bit nanoseconds hold, about 292 years."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """An operation on seconds that cannot be worked out before the query is known.

    Attributes:
        op: An operator, or ``step``, ``range``, ``min_of``, ``max_of``.
        operands: What it works on, in seconds.
        pos: Where it starts in the expression.
    """

    op: str
    operands: tuple[Operand, ...]
    pos: int


Operand = float | Arithmetic
"""Seconds, known already or not."""


@dataclass(frozen=True, slots=True)
class Later:
    """A span that is only known when the query is.

    Attributes:
        operand: How to work it out.
        positive: Whether it must be greater than zero, as ranges and steps must.
        pos: Where it starts in the expression.
    """

    operand: Arithmetic
    positive: bool
    pos: int


Span = int | Later
"""Milliseconds, known already or not."""


def combine(op: str, operands: tuple[Operand, ...], pos: int) -> Operand:
    """Apply an operator or function to seconds; at once when all of them are known.

    Raises:
        PromQLError: Division by zero, or a result no float can hold.
    """
    known = [operand for operand in operands if isinstance(operand, float)]
    if len(known) == len(operands) and op not in ("step", "range"):
        return _apply(op, known, pos)
    return Arithmetic(op, operands, pos)


def span(operand: Operand, *, positive: bool, pos: int) -> Span:
    """Return the span of an operand in milliseconds.

    Raises:
        PromQLError: It is out of range, or not positive though it must be.
    """
    if isinstance(operand, Arithmetic):
        return Later(operand, positive, pos)
    return _milliseconds(operand, positive=positive, pos=pos)


def resolve(value: Span, *, step_s: float, range_s: float) -> int:
    """Return the milliseconds of a span for a query with this step and range.

    Raises:
        PromQLError: As ``combine`` and ``span``.
    """
    if isinstance(value, int):
        return value
    seconds = _evaluate(value.operand, {"step": step_s, "range": range_s})
    return _milliseconds(seconds, positive=value.positive, pos=value.pos)


def _evaluate(operand: Operand, query: Mapping[str, float]) -> float:
    if isinstance(operand, float):
        return operand
    if operand.op in query:
        return query[operand.op]
    known = [_evaluate(inner, query) for inner in operand.operands]
    return _apply(operand.op, known, operand.pos)


def _milliseconds(seconds: float, *, positive: bool, pos: int) -> int:
    if positive and not seconds > 0:
        raise PromQLError("duration must be greater than 0", offset=pos)
    if not abs(seconds) <= _MAX_S:
        raise PromQLError("duration is out of range", offset=pos)
    # Written with a fraction, a number is meant to the nanosecond and cut to the millisecond.
    return math.trunc(round(seconds * 1e9) / 1e6)


def _negated(operands: list[float]) -> float:
    return -operands[0] if len(operands) == 1 else operands[0] - operands[1]


_OPERATIONS: Final[Mapping[str, Callable[[list[float]], float]]] = MappingProxyType(
    {
        "+": sum,
        "-": _negated,
        "*": math.prod,
        "/": lambda operands: operands[0] / operands[1],
        "%": lambda operands: math.fmod(*operands),
        "^": lambda operands: math.pow(*operands),
        "min_of": min,
        "max_of": max,
    }
)


def _apply(op: str, operands: list[float], pos: int) -> float:
    if op in "/%" and operands[1] == 0:
        name = "division" if op == "/" else "modulo"
        raise PromQLError(f"{name} by zero", offset=pos)
    try:
        return float(_OPERATIONS[op](operands))
    except (OverflowError, ValueError):
        raise PromQLError("duration is out of range", offset=pos) from None
