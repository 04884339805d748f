"""Parses PromQL text with ``promql_parser`` and closes the gaps between it and Prometheus.

The library runs natively and has ways to fail that Python code cannot catch or would not expect:
deeply nested input overflows its stack, some accepted input panics when read, and MetricsQL's
``or`` matchers are accepted. What it gets wrong is rewritten or refused here, before or after.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import promql_parser

from alerts.promql.errors import PromQLError

_MAX_LENGTH: Final = 65_536
_MAX_OPERATORS: Final = 1_000
"""The library's stack holds about ten times as many; its time grows with their square."""

_TOKEN: Final = re.compile(
    r"""
      (?P<string>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*`)
    | (?P<comment>\#[^\n]*)
    | (?P<zero_offset>\boffset\s+-?0+(?:ms|[ywdhms])(?![\w.]))
    | (?P<negative_at>@\s*-\s*(?P<at>[0-9][0-9_.eE]*)(?![\w.]))
    | (?P<word>[A-Za-z_:][\w:]*)
    | (?P<number>0[xX][0-9a-fA-F_]+ | [0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]+)?[a-z0-9]*)
    | (?P<operator>[-+*/%^(] | [<>=!]=?)
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD_OPERATORS: Final = frozenset({"and", "or", "unless", "atan2"})
_FIRST_STAND_IN: Final = 253_402_200_000
"""Unix seconds near the end of year 9999: a time nobody means, standing in for a negative one."""


_LATEST_SECONDS: Final = 253_402_300_799
_OUT_OF_RANGE: Final = "a number, duration or time in the expression is out of range"

T = TypeVar("T")


class ParsedExpression:
    """A syntax tree, and the negative ``@`` times that stand-ins in it mean.

    Attributes:
        tree: The library's tree.
    """

    def __init__(self, tree: promql_parser.Expr, stand_ins: dict[int, float]) -> None:
        self.tree: Final = tree
        self._stand_ins = stand_ins

    def at_ms(self, modifier: promql_parser.AtModifier) -> int:
        """Return the time of an ``@`` modifier with a number, in Unix milliseconds."""
        moment = guarded(lambda: modifier.at)
        if moment is None:
            raise PromQLError("the time after @ is missing")
        seconds = moment.timestamp()
        seconds = self._stand_ins.get(round(seconds), seconds)
        if abs(seconds) > _LATEST_SECONDS:
            raise PromQLError(f"the time {seconds} after @ is out of range")
        return round(seconds * 1000)


def parse(expression: str) -> ParsedExpression:
    """Parse one expression.

    Raises:
        PromQLError: It is no PromQL.
    """
    if len(expression) > _MAX_LENGTH:
        raise PromQLError(
            f"the expression is {len(expression)} characters long; the limit is {_MAX_LENGTH}"
        )
    text, stand_ins = _rewrite(expression)
    tree = guarded(lambda: promql_parser.parse(text))
    return ParsedExpression(tree, stand_ins)


def guarded(read: Callable[[], T]) -> T:
    """Call what reads from the library, which may raise anything, even panic.

    Raises:
        PromQLError: The library refused or failed.
    """
    try:
        return read()
    except PromQLError:
        raise
    except ValueError as error:
        raise PromQLError(str(error) or "invalid PromQL") from None
    except OverflowError:
        raise PromQLError(_OUT_OF_RANGE) from None
    except BaseException as error:
        # A panic of the library derives from BaseException alone and must not pass for an exit.
        if type(error).__name__ != "PanicException":
            raise
        raise PromQLError(_OUT_OF_RANGE) from None


def _rewrite(expression: str) -> tuple[str, dict[int, float]]:
    """Return the text the library understands, and what its stand-ins mean."""
    stand_ins: dict[int, float] = {}
    fresh = (at for at in itertools.count(_FIRST_STAND_IN) if str(at) not in expression)
    pieces: list[str] = []
    end = 0
    operators = 0
    for match in _TOKEN.finditer(expression):
        pieces.append(expression[end : match.start()])
        end = match.end()
        operators += _is_operator(match)
        pieces.append(_replacement(match, fresh, stand_ins))
    if operators > _MAX_OPERATORS:
        raise PromQLError(
            f"the expression has {operators} operators and parentheses; the limit is "
            f"{_MAX_OPERATORS}"
        )
    pieces.append(expression[end:])
    return "".join(pieces), stand_ins


def _is_operator(match: re.Match[str]) -> bool:
    return match.lastgroup == "operator" or match.group("word") in _WORD_OPERATORS


def _replacement(match: re.Match[str], fresh: Iterator[int], stand_ins: dict[int, float]) -> str:
    if match["zero_offset"]:
        return " "
    if match["negative_at"]:
        try:
            seconds = -float(match["at"])
        except ValueError:
            return match[0]
        stand_in = next(fresh)
        stand_ins[stand_in] = seconds
        return f"@ {stand_in}"
    if match["number"]:
        return re.sub(r"(?<=[0-9a-fA-F])_(?=[0-9a-fA-F])", "", match[0])
    return match[0]
