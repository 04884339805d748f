"""The words of PromQL: text cut into tokens that know where they stand.

Source: promql/parser/lex.go; strings are Go's, numbers are Go's or durations.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal, NamedTuple

from alerts.durations import parse_duration
from alerts.errors import DurationError
from alerts.promql.errors import PromQLError

_MAX_LENGTH: Final = 65_536
_MAX_INTEGER: Final = 2**63 - 1

Kind = Literal["number", "string", "name", "operator", "end"]


class Token(NamedTuple):
    """One word.

    Attributes:
        kind: What it is.
        text: As written; for a string, what it stands for; operators and the end have no other.
        pos: Where it starts.
        number: What a number or duration comes to.
        number_is_duration: Whether it was written with units.
    """

    kind: Kind
    text: str
    pos: int
    number: float = 0.0
    number_is_duration: bool = False


_TOKEN: Final = re.compile(
    r"""
      (?P<space>[ \t\r\n]+ | \#[^\n]*)
    | (?P<string>"(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | `[^`]*`)
    | (?P<duration>(?:[0-9]+(?:ms|[ywdhms]))+(?![\w.]))
    | (?P<number>0[xX][0-9a-fA-F_]+(?![\w.])
        | (?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?(?![\w.]))
    | (?P<broken>\.?[0-9][\w.]*)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>=~|!~|==|!=|>=|<=|</|>/|[-+*/%^=<>(){}\[\],:@])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_METRIC_NAME: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
_OPENING: Final = {")": "(", "}": "{", "]": "["}
_PAREN_NAMES: Final = {"(": "parenthesis", "{": "brace", "[": "bracket"}


def tokenize(expression: str) -> list[Token]:
    """Return the tokens of an expression, the end included.

    Raises:
        PromQLError: It cannot be cut into tokens, its parentheses do not match, or it is too long.
    """
    if len(expression) > _MAX_LENGTH:
        raise PromQLError(
            f"the expression is {len(expression)} characters long; the limit is {_MAX_LENGTH}"
        )
    tokens: list[Token] = []
    around: list[str] = []
    pos = 0
    while pos < len(expression):
        # Only outside braces and brackets is a colon part of a name.
        inside = around and around[-1] != "("
        match = None if inside or "[" in around else _METRIC_NAME.match(expression, pos)
        if match is not None:
            tokens.append(Token("name", match[0], pos))
        else:
            match = _TOKEN.match(expression, pos)
            if match is None:
                raise _unexpected(expression, pos)
            _add(match, tokens, around)
        pos = match.end()
    if around:
        raise PromQLError(
            f"parse error: unclosed left {_PAREN_NAMES[around[-1]]}", offset=len(expression)
        )
    tokens.append(Token("end", "", len(expression)))
    return tokens


def _add(match: re.Match[str], tokens: list[Token], around: list[str]) -> None:
    """Add the token that was matched, and keep the parentheses."""
    text, pos = match[0], match.start()
    match match.lastgroup:
        case "string":
            tokens.append(Token("string", _unquote(text, pos), pos))
        case "duration":
            try:
                seconds = parse_duration(text)
            except DurationError as error:
                raise PromQLError(f"parse error: {error}", offset=pos) from None
            tokens.append(Token("number", text, pos, seconds, number_is_duration=True))
        case "number":
            tokens.append(Token("number", text, pos, _number(text, pos)))
        case "broken":
            message = f'parse error: bad number or duration syntax: "{text}"'
            raise PromQLError(message, offset=pos)
        case "name":
            tokens.append(Token("name", text, pos))
        case "operator":
            if text in "({[":
                around.append(text)
            elif text in _OPENING and (not around or around.pop() != _OPENING[text]):
                name = _PAREN_NAMES[_OPENING[text]]
                raise PromQLError(f"parse error: unexpected right {name} '{text}'", offset=pos)
            tokens.append(Token("operator", text, pos))
        case _:
            pass


def _unexpected(expression: str, pos: int) -> PromQLError:
    character = expression[pos]
    if character in "\"'":
        return PromQLError("parse error: unterminated quoted string", offset=pos)
    if character == "`":
        return PromQLError("parse error: unterminated raw string", offset=pos)
    return PromQLError(f"parse error: unexpected character: {character!r}", offset=pos)


def _number(text: str, pos: int) -> float:
    """Return what a number comes to, read as Go reads it: an integer if it is one, else a float."""
    try:
        if text[:2] in ("0x", "0X"):
            return float(_integer(text, 16))
        if re.fullmatch(r"0[0-7_]*[0-7]", text):
            # Go reads integers with a leading zero as octal, those that are too large as decimal.
            octal = int(text, 8)
            return float(octal if octal <= _MAX_INTEGER else text)
        number = float(text)
    except ValueError:
        raise _bad_number(text, "invalid syntax", pos) from None
    if math.isinf(number):
        raise _bad_number(text, "value out of range", pos)
    return number


def _integer(text: str, base: int) -> int:
    number = int(text, base)
    if number > _MAX_INTEGER:
        raise ValueError("Go has no such integer, and no such float either")
    return number


def _bad_number(text: str, reason: str, pos: int) -> PromQLError:
    """Return the error with the words of Go's strconv, as Prometheus passes them on."""
    message = f'error parsing number: strconv.ParseFloat: parsing "{text}": {reason}'
    return PromQLError(f"parse error: {message}", offset=pos)


_ESCAPE: Final = re.compile(
    rb"\\(?:(?P<plain>[abfnrtv\\'\"])|(?P<octal>[0-7]{3})|x(?P<byte>[0-9a-fA-F]{2})"
    rb"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<wrong>.?))",
    re.DOTALL,
)
_PLAIN: Final = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"\\": b"\\",
    b"'": b"'",
    b'"': b'"',
}


def _unquote(text: str, pos: int) -> str:
    """Return what a string literal stands for; its bytes need not be UTF-8."""
    inside = text[1:-1]
    if text[0] == "`" or "\\" not in inside:
        return inside

    def meaning(escape: re.Match[bytes]) -> bytes:
        if escape["plain"] is not None:
            return _PLAIN[escape["plain"]]
        digits = escape["octal"] or escape["byte"]
        if digits is not None:
            value = int(digits, 8 if escape["octal"] else 16)
            if value < 256:
                return bytes((value,))
        digits = escape["short"] or escape["long"]
        if digits is not None:
            value = int(digits, 16)
            if value <= 0x10FFFF and not 0xD800 <= value < 0xE000:
                return chr(value).encode()
        shown = escape[0].decode(errors="replace")
        raise PromQLError(f"parse error: unknown escape sequence {shown} in string", offset=pos)

    encoded = inside.encode("utf-8", "surrogatepass")
    return _ESCAPE.sub(meaning, encoded).decode("utf-8", "surrogateescape")
