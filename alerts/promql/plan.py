"""Plans: the typed, checked form of an expression, and how one is made from a syntax tree.

Everything that can be known to be wrong or not covered without data is an error here, so that an
expression that was planned either evaluates to what Prometheus would answer or fails as it does.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import promql_parser as pp

from alerts.promql.errors import PromQLError
from alerts.promql.memo import Memo
from alerts.promql.parser import ParsedExpression, guarded, parse
from alerts.promql.values import ValueKind
from alerts.series.labels import METRIC_NAME
from alerts.series.matchers import Matcher, MatchOp

At = int | Literal["start", "end"] | None
"""The time an ``@`` modifier pins: Unix milliseconds, or an end of the query's range."""

Cardinality = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]

COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})
_MAX_DEPTH: Final = 150
"""Levels of operators and parentheses; each takes a few frames of the interpreter's stack."""
SET_OPERATORS: Final = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A number literal."""

    value: float


@dataclass(frozen=True, slots=True, eq=False)
class String:
    """A string literal."""

    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """An instant vector selector. ``slot`` names a node's place in the memo."""

    slot: int
    matchers: tuple[Matcher, ...]
    offset_ms: int
    at: At


@dataclass(frozen=True, slots=True, eq=False)
class RangeSelector:
    """A range vector selector."""

    selector: Selector
    range_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Subquery:
    """An expression evaluated over a range; ``step_ms`` None means the engine's default."""

    expr: Node
    range_ms: int
    step_ms: int | None
    offset_ms: int
    at: At


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function call."""

    slot: int
    function: str
    args: tuple[Node, ...]
    kind: ValueKind


@dataclass(frozen=True, slots=True, eq=False)
class Negate:
    """Unary minus."""

    slot: int
    expr: Node


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


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """An aggregation; ``labels`` are those of ``by``, or of ``without`` when that is set."""

    slot: int
    op: str
    expr: Node
    param: Node | None
    without: bool
    labels: tuple[str, ...]


Node = Number | String | Selector | RangeSelector | Subquery | Call | Negate | Binary | Aggregate


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A prepared expression.

    Attributes:
        expression: The text it was prepared from.
        kind: The type of its value.
        selectors: The matchers of each selector in it, in the order of the text.
        metric_names: Names that its selectors require by equality, sorted.
        root: The plan.
        memo: What evaluations have worked out about labels.
    """

    expression: str
    kind: ValueKind
    selectors: tuple[tuple[Matcher, ...], ...]
    metric_names: tuple[str, ...]
    root: Node
    memo: Memo


def kind_of(node: Node) -> ValueKind:
    """Return the type of a node's value."""
    kind: ValueKind = "vector"
    match node:
        case Number():
            kind = "scalar"
        case String():
            kind = "string"
        case RangeSelector() | Subquery():
            kind = "matrix"
        case Call():
            kind = node.kind
        case Negate():
            kind = kind_of(node.expr)
        case Binary():
            if kind_of(node.lhs) == "scalar" and kind_of(node.rhs) == "scalar":
                kind = "scalar"
        case Selector() | Aggregate():
            pass
    return kind


def prepare(expression: str, *, functions: Collection[str], aggregations: Collection[str]) -> Query:
    """Return the plan of an expression.

    Args:
        expression: PromQL.
        functions: Names of the functions that can be evaluated.
        aggregations: Names of the aggregations that can be evaluated.

    Raises:
        PromQLError: The expression is wrong, or uses what cannot be evaluated.
    """
    try:
        parsed = parse(expression)
        planner = _Planner(parsed, functions, aggregations)
        root = guarded(lambda: planner.node(parsed.tree))
        kind = kind_of(root)
    except PromQLError as error:
        raise PromQLError(error.message, expression=expression, offset=error.offset) from None
    names = {
        matcher.value
        for matchers in planner.selectors
        for matcher in matchers
        if matcher.name == METRIC_NAME and matcher.op is MatchOp.EQUAL
    }
    return Query(
        expression,
        kind,
        tuple(planner.selectors),
        tuple(sorted(names)),
        root,
        Memo(),
    )


_OPS: Final = (
    (pp.MatchOp.Equal, MatchOp.EQUAL),
    (pp.MatchOp.NotEqual, MatchOp.NOT_EQUAL),
    (pp.MatchOp.Re, MatchOp.REGEX),
    (pp.MatchOp.NotRe, MatchOp.NOT_REGEX),
)
_KINDS: Final[tuple[tuple[object, ValueKind], ...]] = (
    (pp.ValueType.Vector, "vector"),
    (pp.ValueType.Scalar, "scalar"),
    (pp.ValueType.Matrix, "matrix"),
    (pp.ValueType.String, "string"),
)
_CARDINALITIES: Final[tuple[tuple[object, Cardinality], ...]] = (
    (pp.VectorMatchCardinality.OneToOne, "one-to-one"),
    (pp.VectorMatchCardinality.ManyToOne, "many-to-one"),
    (pp.VectorMatchCardinality.OneToMany, "one-to-many"),
    (pp.VectorMatchCardinality.ManyToMany, "many-to-many"),
)


class _Planner:
    """Turns the library's tree into nodes."""

    def __init__(
        self,
        parsed: ParsedExpression,
        functions: Collection[str],
        aggregations: Collection[str],
    ) -> None:
        self.selectors: Final[list[tuple[Matcher, ...]]] = []
        self._parsed = parsed
        self._functions = functions
        self._aggregations = aggregations
        self._slots = itertools.count()
        self._depth = 0

    def node(self, tree: pp.Expr) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise PromQLError(
                f"the expression is nested more than {_MAX_DEPTH} levels deep; "
                "split it with recording rules"
            )
        planned = self._node(tree)
        self._depth -= 1
        return planned

    def _node(self, tree: pp.Expr) -> Node:
        match tree:
            case pp.ParenExpr():
                return self.node(tree.expr)
            case pp.NumberLiteral():
                return Number(tree.val)
            case pp.StringLiteral():
                return String(tree.val)
            case pp.VectorSelector():
                return self._selector(tree)
            case pp.MatrixSelector():
                selector = self._selector(tree.vector_selector)
                return RangeSelector(selector, _milliseconds(tree.range))
            case _:
                return self._compound(tree)

    def _compound(self, tree: pp.Expr) -> Node:
        match tree:
            case pp.UnaryExpr():
                return self._negate(tree)
            case pp.SubqueryExpr():
                return self._subquery(tree)
            case pp.Call():
                return self._call(tree)
            case pp.BinaryExpr():
                return self._binary(tree)
            case pp.AggregateExpr():
                return self._aggregate(tree)
            case _:
                raise PromQLError(f"{type(tree).__name__} is not supported")

    def _negate(self, tree: pp.UnaryExpr) -> Node:
        inner = self.node(tree.expr)
        if isinstance(inner, Number):
            return Number(-inner.value)
        return Negate(next(self._slots), inner)

    def _selector(self, tree: pp.VectorSelector) -> Selector:
        if tree.matchers.or_matchers:
            raise PromQLError(
                'matchers joined by "or" are not PromQL; write two selectors joined by or, '
                "or a regular expression"
            )
        matchers = []
        if tree.name:
            matchers.append(Matcher(MatchOp.EQUAL, METRIC_NAME, tree.name))
        for given in tree.matchers.matchers:
            op = next(ours for theirs, ours in _OPS if given.op == theirs)
            try:
                matchers.append(Matcher(op, given.name, given.value))
            except ValueError as error:
                raise PromQLError(f"label {given.name}: {error}") from None
        self.selectors.append(tuple(matchers))
        return Selector(
            next(self._slots), tuple(matchers), _milliseconds(tree.offset), self._at(tree.at)
        )

    def _subquery(self, tree: pp.SubqueryExpr) -> Subquery:
        step_ms = _milliseconds(tree.step) or None
        return Subquery(
            self.node(tree.expr),
            _milliseconds(tree.range),
            step_ms,
            _milliseconds(tree.offset),
            self._at(tree.at),
        )

    def _at(self, modifier: pp.AtModifier | None) -> At:
        if modifier is None:
            return None
        if modifier.type == pp.AtModifierType.Start:
            return "start"
        if modifier.type == pp.AtModifierType.End:
            return "end"
        return self._parsed.at_ms(modifier)

    def _call(self, tree: pp.Call) -> Call:
        name = tree.func.name
        if name not in self._functions:
            kind = "experimental function" if tree.func.experimental else "function"
            raise PromQLError(f"the {kind} {name}() is not supported")
        args = tuple(self.node(arg) for arg in tree.args)
        kind_name = next(ours for theirs, ours in _KINDS if tree.func.return_type == theirs)
        return Call(next(self._slots), name, args, kind_name)

    def _aggregate(self, tree: pp.AggregateExpr) -> Aggregate:
        op = str(tree.op)
        if op not in self._aggregations:
            raise PromQLError(f"the aggregation {op}() is not supported")
        modifier = tree.modifier
        labels = tuple(modifier.labels) if modifier is not None else ()
        without = modifier is not None and modifier.type == pp.AggModifierType.Without
        param = self.node(tree.param) if tree.param is not None else None
        return Aggregate(next(self._slots), op, self.node(tree.expr), param, without, labels)

    def _binary(self, tree: pp.BinaryExpr) -> Binary:
        op = str(tree.op)
        lhs, rhs = self.node(tree.lhs), self.node(tree.rhs)
        modifier = tree.modifier
        if modifier is None:
            return Binary(next(self._slots), op, lhs, rhs, False, Matching())
        if modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None:
            raise PromQLError("the experimental fill modifiers are not supported")
        on = modifier.matching is not None and (
            modifier.matching.type == pp.LabelModifierType.Include
        )
        matching = Matching(
            next(ours for theirs, ours in _CARDINALITIES if modifier.card == theirs),
            on,
            tuple(modifier.matching.labels) if modifier.matching is not None else (),
            tuple(modifier.group_labels or ()),
        )
        return Binary(next(self._slots), op, lhs, rhs, modifier.return_bool, matching)


def _milliseconds(duration: timedelta | None) -> int:
    """Return a duration of the library, or its absence, in milliseconds."""
    return 0 if duration is None else round(duration.total_seconds() * 1000)
