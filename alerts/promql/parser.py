"""The parser: PromQL text to checked nodes, in one pass, by operator precedence.

Source: promql/parser/generated_parser.y and lex.go of Prometheus 3.14. Experimental syntax
(``anchored``, ``smoothed``, ``fill``) and native histogram operators are refused by name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from alerts.promql import spans
from alerts.promql.checks import check_binary, check_call, expect, failure, type_name
from alerts.promql.features import EXPERIMENTAL_FUNCTIONS
from alerts.promql.nodes import (
    Aggregate,
    At,
    Binary,
    Call,
    Cardinality,
    Matching,
    Negate,
    Node,
    Number,
    RangeSelector,
    Selector,
    String,
    Subquery,
    children,
    kind_of,
)
from alerts.promql.readers import MAX_DEPTH, PRECEDENCE, UNARY, DurationReader, too_deep
from alerts.promql.signatures import (
    AGGREGATIONS,
    FUNCTIONS,
    UNSUPPORTED,
)
from alerts.promql.spans import Span
from alerts.promql.text import readable
from alerts.promql.tokens import Token, tokenize
from alerts.series.labels import METRIC_NAME, quote
from alerts.series.matchers import Matcher, MatchOp

_NO_METRIC: Final = frozenset(
    {"atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"}
)
_FILLS: Final = frozenset({"fill", "fill_left", "fill_right"})
_EXTENDED: Final = frozenset({"anchored", "smoothed"})
_CARDINALITIES: Final[dict[str, Cardinality]] = {
    "group_left": "many-to-one",
    "group_right": "one-to-many",
}
_LATEST_S: Final = float(2**63) / 1000


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """What a text came to.

    Attributes:
        root: The expression.
        selectors: The matchers of each selector in it, in the order of the text.
    """

    root: Node
    selectors: tuple[tuple[Matcher, ...], ...]


def parse(expression: str, features: Collection[str] = ()) -> Parsed:
    """Parse and check one expression.

    Args:
        expression: PromQL.
        features: Features that are enabled.

    Raises:
        PromQLError: It is no PromQL, makes no sense, or uses what is not covered or enabled.
    """
    parser = _Parser(tokenize(expression), features)
    root = parser.whole()
    _check_depth(root)
    return Parsed(root, tuple(parser.selectors))


def _check_depth(root: Node) -> None:
    """Refuse what would be evaluated by too deep a recursion; left operands take no level."""
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise too_deep(node.pos)
        for at, child in enumerate(children(node)):
            same = at == 0 and isinstance(node, Binary) and isinstance(child, Binary)
            waiting.append((child, depth if same else depth + 1))


class _Parser(DurationReader):
    """Reads expressions, from left to right."""

    def __init__(self, tokens: list[Token], features: Collection[str]) -> None:
        super().__init__(tokens)
        self.selectors: Final[list[tuple[Matcher, ...]]] = []
        self._features = features
        self._slots = itertools.count()

    # Expressions

    def whole(self) -> Node:
        if self.is_at_end():
            raise failure(0, "no expression found in input")
        root = self.expression()
        if not self.is_at_end():
            self.unexpected("")
        return root

    def expression(self, least: int = 0) -> Node:
        self.enter()
        pos = self.now.pos
        node = self.unary() if self.is_operator("+", "-") else self.operand()
        while True:
            op = self.binary_operator()
            precedence = PRECEDENCE.get(op, -1)
            if precedence < max(least, 1):
                break
            self.advance()
            node = self.binary(op, node, precedence, pos)
        self.leave()
        return node

    def binary_operator(self) -> str:
        if self.now.kind == "operator":
            if self.now.text in ("</", ">/"):
                raise failure(
                    self.now.pos,
                    f"the operator {self.now.text} works on native histograms, which are not "
                    "supported",
                )
            return self.now.text
        return self.now.text.lower() if self.now.kind == "name" else ""

    def unary(self) -> Node:
        sign = self.advance()
        inner = self.expression(UNARY)
        kind = kind_of(inner)
        if kind not in ("scalar", "vector"):
            raise failure(
                sign.pos,
                "unary expression only allowed on expressions of type scalar or instant vector, "
                f'got "{type_name(kind)}"',
            )
        if sign.text == "+":
            return inner
        if isinstance(inner, Number):
            return Number(-inner.value, sign.pos)
        return Negate(next(self._slots), inner, kind, sign.pos)

    def binary(self, op: str, lhs: Node, precedence: int, pos: int) -> Node:
        return_bool = self.is_word("bool")
        if return_bool:
            self.advance()
        matching = self.matching()
        if self.is_word(*_FILLS) and self.is_call():
            raise failure(self.now.pos, "the experimental fill modifiers are not supported")
        # The one operator that groups from the right is the power.
        rhs = self.expression(precedence if op == "^" else precedence + 1)
        kind, matching = check_binary(
            op, lhs, rhs, return_bool=return_bool, matching=matching, pos=pos
        )
        return Binary(next(self._slots), op, lhs, rhs, return_bool, matching, kind, pos)

    def matching(self) -> Matching:
        if not self.is_word("on", "ignoring"):
            return Matching()
        on = self.advance().text.lower() == "on"
        labels = self.label_names()
        cardinality: Cardinality = "one-to-one"
        include: tuple[str, ...] = ()
        if self.is_word("group_left", "group_right"):
            cardinality = _CARDINALITIES[self.advance().text.lower()]
            if self.is_operator("("):
                include = self.label_names()
        return Matching(cardinality, on, labels, include)

    def label_names(self) -> tuple[str, ...]:
        self.require("(", "grouping opts")
        names: list[str] = []
        while not self.accept(")"):
            if self.now.kind not in ("name", "string") or ":" in self.now.text:
                self.unexpected("grouping opts", "label")
            names.append(readable(self.advance().text))
            if not self.is_operator(")"):
                self.require(",", "grouping opts")
        return tuple(names)

    # Operands

    def operand(self) -> Node:
        node = self.primary()
        while True:
            if self.is_operator("["):
                node = self.brackets(node)
            elif self.is_word("offset"):
                node = self.offset(node)
            elif self.is_operator("@"):
                node = self.at(node)
            elif self.is_word(*_EXTENDED):
                raise failure(
                    self.now.pos,
                    f"the experimental modifier {self.now.text.lower()} is not supported",
                )
            else:
                return node

    def primary(self) -> Node:
        token = self.now
        if token.kind == "number":
            self.advance()
            return Number(token.number, token.pos)
        if token.kind == "string":
            self.advance()
            return String(token.text, token.pos)
        if self.accept("("):
            inner = self.expression()
            self.require(")", "paren expression")
            return inner
        if self.is_operator("{"):
            return self.selector("", token.pos)
        if token.kind != "name":
            self.unexpected("")
        return self.named()

    def named(self) -> Node:
        token = self.now
        word = token.text.lower()
        followed_by_call = self.is_call()
        grouping = self._ahead.kind == "name" and self._ahead.text.lower() in ("by", "without")
        if (word in AGGREGATIONS or word in ("limitk", "limit_ratio")) and (
            followed_by_call or grouping
        ):
            return self.aggregation()
        if word in ("inf", "nan"):
            self.advance()
            return Number(float(word), token.pos)
        if word in _NO_METRIC:
            self.unexpected("")
        if followed_by_call:
            return self.call()
        self.advance()
        return self.selector(token.text, token.pos)

    def aggregation(self) -> Node:
        token = self.advance()
        op = token.text.lower()
        if op in UNSUPPORTED:
            raise failure(token.pos, f"the experimental aggregation {op}() is not supported")
        modifier = self.grouping()
        args = self.arguments()
        if modifier is None:
            modifier = self.grouping()
        without, labels = modifier or (False, ())
        wanted = AGGREGATIONS[op]
        if not args:
            raise failure(token.pos, "no arguments for aggregate expression provided")
        count = 1 if wanted is None else 2
        if len(args) != count:
            raise failure(
                token.pos,
                "wrong number of arguments for aggregate expression provided, "
                f"expected {count}, got {len(args)}",
            )
        expect(args[-1], "vector", "aggregation expression")
        if wanted is not None:
            expect(args[0], wanted, "aggregation parameter")
        param = None if wanted is None else args[0]
        return Aggregate(next(self._slots), op, args[-1], param, without, labels, token.pos)

    def grouping(self) -> tuple[bool, tuple[str, ...]] | None:
        if not self.is_word("by", "without"):
            return None
        without = self.advance().text.lower() == "without"
        return without, self.label_names()

    def call(self) -> Node:
        token = self.advance()
        name = token.text
        if name in UNSUPPORTED:
            raise failure(token.pos, f"the experimental function {name}() is not supported")
        signature = FUNCTIONS.get(name)
        if signature is None:
            raise failure(token.pos, f'unknown function with name "{name}"')
        if signature.experimental and EXPERIMENTAL_FUNCTIONS not in self._features:
            raise failure(
                token.pos,
                f'function "{name}" is not enabled; it is experimental and needs '
                f"{EXPERIMENTAL_FUNCTIONS} in alerts.promql_features or --enable-feature",
            )
        args = self.arguments()
        check_call(name, signature, args, token.pos)
        return Call(next(self._slots), name, args, signature.gives, token.pos)

    def arguments(self) -> tuple[Node, ...]:
        self.require("(", "call")
        args: list[Node] = []
        while not self.accept(")"):
            args.append(self.expression())
            if not self.is_operator(")"):
                self.require(",", "function call")
                if self.is_operator(")"):
                    raise failure(self.now.pos, "trailing commas not allowed in function call args")
        return tuple(args)

    # Selectors

    def selector(self, name: str, pos: int) -> Selector:
        matchers: list[Matcher] = []
        if name:
            matchers.append(Matcher(MatchOp.EQUAL, METRIC_NAME, name))
        if self.accept("{"):
            while not self.accept("}"):
                matchers.append(self.matcher(name))
                if name == "" and matchers[-1].name == METRIC_NAME:
                    name = matchers[-1].value if matchers[-1].op is MatchOp.EQUAL else ""
                if self.is_word("or"):
                    raise failure(
                        self.now.pos,
                        'matchers joined by "or" are not PromQL; write two selectors joined by '
                        "or, or a regular expression",
                    )
                if not self.is_operator("}"):
                    self.require(",", "label matching")
        if all(matcher.matches("") for matcher in matchers):
            raise failure(pos, "vector selector must contain at least one non-empty matcher")
        self.selectors.append(tuple(matchers))
        return Selector(next(self._slots), tuple(matchers), 0, None, pos)

    def matcher(self, name: str) -> Matcher:
        label = self.now
        if label.kind not in ("name", "string"):
            self.unexpected("label matching", 'identifier or "}"')
        self.advance()
        alone = label.kind == "string" and self.is_operator(",", "}")
        if alone or (label.text == METRIC_NAME and self.is_operator("=")):
            value = label.text if alone else self._ahead.text
            if name:
                raise failure(
                    label.pos,
                    f"metric name must not be set twice: {quote(name)} or {quote(value)}",
                )
        if alone:
            return Matcher(MatchOp.EQUAL, METRIC_NAME, readable(label.text))
        if not self.is_operator("=", "!=", "=~", "!~"):
            self.unexpected("label matching", "label matching operator")
        op = MatchOp(self.advance().text)
        if not self.is_string():
            self.unexpected("label matching", "string")
        wanted = self.advance()
        try:
            return Matcher(op, readable(label.text), readable(wanted.text))
        except ValueError as error:
            raise failure(wanted.pos, f"label {label.text}: {error}") from None

    # Ranges, offsets and times

    def brackets(self, node: Node) -> Node:
        opening = self.advance()
        length = self.span(positive=True)
        if self.accept(":"):
            step = None if self.is_operator("]") else self.span(positive=True)
            self.require("]", "subquery selector")
            if kind_of(node) != "vector":
                raise failure(
                    node.pos,
                    "subquery is only allowed on instant vector, "
                    f"got {type_name(kind_of(node))} instead",
                )
            return Subquery(node, length, step, 0, None, node.pos)
        self.require("]", "range selector")
        if not isinstance(node, Selector):
            raise failure(opening.pos, "ranges only allowed for vector selectors")
        if node.offset != 0:
            raise failure(opening.pos, "no offset modifiers allowed before range")
        if node.at is not None:
            raise failure(opening.pos, "no @ modifiers allowed before range")
        return RangeSelector(node, length, node.pos)

    def span(self, *, positive: bool) -> Span:
        pos = self.now.pos
        return spans.span(self.seconds(), positive=positive, pos=pos)

    def offset(self, node: Node) -> Node:
        pos = self.advance().pos
        length_pos = self.now.pos
        length = spans.span(self.seconds_operand(), positive=False, pos=length_pos)
        target = node.selector if isinstance(node, RangeSelector) else node
        if not isinstance(target, (Selector, Subquery)):
            raise failure(
                pos,
                "offset modifier must be preceded by an instant vector selector or range vector "
                "selector or a subquery",
            )
        if target.offset != 0:
            raise failure(pos, "offset may not be set multiple times")
        return _modified(node, length, target.at)

    def at(self, node: Node) -> Node:
        pos = self.advance().pos
        moment = self.moment()
        target = node.selector if isinstance(node, RangeSelector) else node
        if not isinstance(target, (Selector, Subquery)):
            raise failure(
                pos,
                "@ modifier must be preceded by an instant vector selector or range vector "
                "selector or a subquery",
            )
        if target.at is not None:
            raise failure(pos, "@ <timestamp> may not be set multiple times")
        return _modified(node, target.offset, moment)

    def moment(self) -> At:
        if self.is_word("start", "end"):
            word = self.advance().text.lower()
            self.require("(", "@")
            self.require(")", "@")
            return "start" if word == "start" else "end"
        pos = self.now.pos
        negative = self.is_operator("-")
        if negative or self.is_operator("+"):
            self.advance()
        if self.now.kind == "number":
            seconds = self.advance().number
        elif self.is_word("inf", "nan"):
            seconds = float(self.advance().text)
        else:
            self.unexpected("@", "timestamp")
        if negative:
            seconds = -seconds
        if not abs(seconds) < _LATEST_S:
            raise failure(pos, f"timestamp out of bounds for @ modifier: {seconds:f}")
        return math.floor(seconds * 1000 + 0.5)


def _modified(node: Node, offset: Span, at: At) -> Node:
    match node:
        case RangeSelector():
            selector = node.selector
            moved = Selector(selector.slot, selector.matchers, offset, at, selector.pos)
            return RangeSelector(moved, node.range, node.pos)
        case Selector():
            return Selector(node.slot, node.matchers, offset, at, node.pos)
        case Subquery():
            return Subquery(node.expr, node.range, node.step, offset, at, node.pos)
        case _:
            return node
