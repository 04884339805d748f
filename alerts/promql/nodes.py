"""The nodes of a plan: an expression parsed, checked and typed, ready to be evaluated.

``slot`` names a node's place in the memo, ``pos`` is the character where it starts in the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from alerts.promql.spans import Span
from alerts.promql.values import ValueKind
from alerts.series.matchers import Matcher

At = int | Literal["start", "end"] | None
"""The time an ``@`` modifier pins: Unix milliseconds, or an end of the query's range."""

Cardinality = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]

COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS: Final = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A number literal."""

    value: float
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class String:
    """A string literal; bytes that are no UTF-8 are surrogates in it."""

    value: str
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """An instant vector selector."""

    slot: int
    matchers: tuple[Matcher, ...]
    offset: Span
    at: At
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class RangeSelector:
    """A range vector selector."""

    selector: Selector
    range: Span
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class Subquery:
    """An expression evaluated over a range; ``step`` None means the engine's default."""

    expr: Node
    range: Span
    step: Span | None
    offset: Span
    at: At
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function call."""

    slot: int
    function: str
    args: tuple[Node, ...]
    kind: ValueKind
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class Negate:
    """Unary minus."""

    slot: int
    expr: Node
    kind: ValueKind
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """How the series of two vectors find each other.

    Attributes:
        cardinality: Which side may have several series per match group.
        on: Whether ``labels`` are the only ones compared, or the only ones not compared.
        labels: The labels of ``on`` or ``ignoring``.
        include: Labels that ``group_left`` or ``group_right`` takes over from the one side.
    """

    cardinality: Cardinality = "one-to-one"
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """A binary operation."""

    slot: int
    op: str
    lhs: Node
    rhs: Node
    return_bool: bool
    matching: Matching
    kind: ValueKind
    pos: int


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """An aggregation; ``labels`` are those of ``by``, or of ``without`` when that is set."""

    slot: int
    op: str
    expr: Node
    param: Node | None
    without: bool
    labels: tuple[str, ...]
    pos: int


Node = Number | String | Selector | RangeSelector | Subquery | Call | Negate | Binary | Aggregate


def kind_of(node: Node) -> ValueKind:
    """Return the type of a node's value."""
    match node:
        case Number():
            return "scalar"
        case String():
            return "string"
        case RangeSelector() | Subquery():
            return "matrix"
        case Call() | Negate() | Binary():
            return node.kind
        case Selector() | Aggregate():
            return "vector"


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes right below a node."""
    match node:
        case Number() | String() | Selector() | RangeSelector():
            return ()
        case Subquery() | Negate():
            return (node.expr,)
        case Call():
            return node.args
        case Binary():
            return (node.lhs, node.rhs)
        case Aggregate():
            return (node.expr,) if node.param is None else (node.param, node.expr)
