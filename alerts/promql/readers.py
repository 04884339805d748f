"""Reading tokens from left to right, and the small language of durations among them.

Source: promql/parser/generated_parser.y of Prometheus 3.14, duration_expr.
"""

from __future__ import annotations

from typing import Final, NoReturn

from alerts.promql import spans
from alerts.promql.checks import failure
from alerts.promql.signatures import AGGREGATIONS
from alerts.promql.spans import Operand
from alerts.promql.tokens import Token
from alerts.series.labels import quote

MAX_DEPTH: Final = 100
"""Levels of operators and parentheses; each takes a few frames of the interpreter's stack."""

PRECEDENCE: Final = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", ">", "<", ">=", "<="), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
UNARY: Final = 6
"""A sign binds tighter than ``*`` and less than ``^``."""

_SUM: Final = 4
_KEYWORDS: Final = frozenset(
    {"bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "without"}
)


def too_deep(pos: int) -> Exception:
    """Return the error for an expression nested too deeply."""
    return failure(
        pos,
        f"the expression is nested more than {MAX_DEPTH} levels deep; "
        "split it with recording rules",
    )


class TokenReader:
    """Reads tokens from left to right; each method leaves the next unread one in ``now``."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = iter(tokens)
        self._depth = 0
        self.now = next(self._tokens)
        self._ahead = next(self._tokens, self.now)

    def advance(self) -> Token:
        """Return the next token and go on to the one after it."""
        token = self.now
        self.now = self._ahead
        self._ahead = next(self._tokens, self._ahead)
        return token

    def is_at_end(self) -> bool:
        """Tell whether there is no token left."""
        return self.now.kind == "end"

    def is_string(self) -> bool:
        """Tell whether the next token is a string."""
        return self.now.kind == "string"

    def is_operator(self, *texts: str) -> bool:
        """Tell whether the next token is one of these operators or brackets."""
        return self.now.kind == "operator" and self.now.text in texts

    def is_word(self, *words: str) -> bool:
        """Tell whether the next token is one of these words, in any case."""
        return self.now.kind == "name" and self.now.text.lower() in words

    def is_call(self) -> bool:
        """Tell whether the token after the next one opens a parenthesis."""
        return self._ahead.kind == "operator" and self._ahead.text == "("

    def accept(self, text: str) -> bool:
        """Go past this operator if it comes next, and tell whether it did."""
        found = self.is_operator(text)
        if found:
            self.advance()
        return found

    def require(self, text: str, context: str) -> None:
        """Go past this operator.

        Raises:
            PromQLError: Something else comes next.
        """
        if not self.accept(text):
            self.unexpected(context, f'"{text}"')

    def unexpected(self, context: str, expected: str = "") -> NoReturn:
        """Refuse the next token.

        Raises:
            PromQLError: Always.
        """
        where = f" in {context}" if context else ""
        wanted = f", expected {expected}" if expected else ""
        raise failure(self.now.pos, f"unexpected {_describe(self.now)}{where}{wanted}")

    def enter(self) -> None:
        """Go one level deeper."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise too_deep(self.now.pos)

    def leave(self) -> None:
        """Come back up."""
        self._depth -= 1


class DurationReader(TokenReader):
    """Reads durations and arithmetic over them."""

    def seconds(self, least: int = _SUM) -> Operand:
        """Read arithmetic over durations."""
        self.enter()
        if self.is_operator("-", "+"):
            sign = self.advance()
            value = self.seconds(UNARY)
            left = spans.combine("-", (value,), sign.pos) if sign.text == "-" else value
        else:
            left = self.seconds_operand()
        while self.now.kind == "operator":
            op = self.now.text
            precedence = PRECEDENCE.get(op, -1)
            if precedence < least:
                break
            pos = self.advance().pos
            right = self.seconds(precedence if op == "^" else precedence + 1)
            left = spans.combine(op, (left, right), pos)
        self.leave()
        return left

    def seconds_operand(self) -> Operand:
        """Read one duration, with its sign; arithmetic only in parentheses."""
        token = self.now
        if token.kind == "number":
            return self.advance().number
        if self.accept("("):
            value = self.seconds()
            self.require(")", "duration expression")
            return value
        if self.is_operator("-", "+"):
            self.advance()
            value = self.seconds_operand()
            return spans.combine("-", (value,), token.pos) if token.text == "-" else value
        if not self.is_word("step", "range", "min_of", "max_of"):
            self.unexpected("duration expression", "number, duration, step(), or range()")
        function = self.advance().text.lower()
        self.require("(", "duration expression")
        operands: tuple[Operand, ...] = ()
        if function in ("min_of", "max_of"):
            first = self.seconds()
            self.require(",", "duration expression")
            operands = (first, self.seconds())
        self.require(")", "duration expression")
        return spans.combine(function, operands, token.pos)


def _describe(token: Token) -> str:
    """Return what Prometheus calls a token in messages."""
    word = token.text.lower()
    if token.kind in ("end", "number", "string"):
        quoted = quote(token.text)
        return "end of input" if token.kind == "end" else f"{token.kind} {quoted}"
    if word in PRECEDENCE or word in ("=", "=~", "!~"):
        return f"<op:{word}>"
    if word in AGGREGATIONS:
        return f"<aggr:{word}>"
    if word in _KEYWORDS:
        return f"<{word}>"
    return quote(word) if token.kind == "operator" else f"identifier {quote(token.text)}"
