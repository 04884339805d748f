"""Splits a template into texts and the tokens of its actions.

Source: Go, text/template/parse/lex.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from alerts.templates.errors import TemplateError


class Kind(Enum):
    """Kinds of tokens."""

    TEXT = auto()
    OPEN = auto()
    CLOSE = auto()
    SPACE = auto()
    STRING = auto()
    CHAR = auto()
    NUMBER = auto()
    BOOL = auto()
    NIL = auto()
    VARIABLE = auto()
    FIELD = auto()
    DOT = auto()
    WORD = auto()
    KEYWORD = auto()
    PIPE = auto()
    ASSIGN = auto()
    DECLARE = auto()
    LEFT = auto()
    RIGHT = auto()
    OTHER = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a template and where it begins."""

    kind: Kind
    text: str
    offset: int

    def __str__(self) -> str:
        match self.kind:
            case Kind.END:
                return "the end of the text"
            case Kind.CLOSE:
                return "}}"
            case _:
                return repr(self.text)


KEYWORDS: Final = frozenset(
    [
        "block",
        "break",
        "continue",
        "define",
        "else",
        "end",
        "if",
        "range",
        "template",
        "with",
    ]
)
_SPACE: Final = " \t\r\n"
_NUMBER: Final = r"""
    [-+]?(?: 0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][-+]?[0-9_]*)?
           | 0[oO][0-7_]* | 0[bB][01_]*
           | [0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9_]*)? )"""
_TOKEN: Final = re.compile(
    rf"""(?P<space>[ \t\r\n]+)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\[^\n])*')
    |(?P<variable>\$\w*)
    |(?P<field>\.(?![0-9])\w+)
    |(?P<number>(?=[-+]|\.[0-9]|[0-9]){_NUMBER})
    |(?P<dot>\.)
    |(?P<word>\w+)
    |(?P<declare>:=)
    |(?P<other>[!-~])""",
    re.VERBOSE,
)
_SINGLE: Final = {
    "|": Kind.PIPE,
    "=": Kind.ASSIGN,
    "(": Kind.LEFT,
    ")": Kind.RIGHT,
}
_KINDS: Final = {
    "space": Kind.SPACE,
    "string": Kind.STRING,
    "char": Kind.CHAR,
    "number": Kind.NUMBER,
    "variable": Kind.VARIABLE,
    "field": Kind.FIELD,
    "dot": Kind.DOT,
    "declare": Kind.DECLARE,
}
_MUST_END: Final = frozenset([Kind.VARIABLE, Kind.FIELD, Kind.DOT, Kind.WORD])
_TERMINATORS: Final = re.compile(r"[ \t\r\n.,|:)(]|\}\}|\Z")
_UNCLOSED: Final = {
    '"': "the quoted text has no end",
    "`": "the raw text has no end: ` is missing",
    "'": "the character constant has no end",
}


def lex(source: str) -> Iterator[Token]:
    """Yield the tokens of a template; comments are left out; the last one is of kind END.

    Raises:
        TemplateError: While iterating: a text or an action has no end, or a character is unknown.
    """
    position = 0
    while True:
        opening = source.find("{{", position)
        if opening < 0:
            if position < len(source):
                yield Token(Kind.TEXT, source[position:], position)
            yield Token(Kind.END, "", len(source))
            return
        text = source[position:opening]
        inside = opening + 2
        if source.startswith("-", inside) and source[inside + 1 : inside + 2] in tuple(_SPACE):
            text = text.rstrip(_SPACE)
            inside += 2
        if text:
            yield Token(Kind.TEXT, text, position)
        if source.startswith("/*", inside):
            position = _comment_end(source, inside)
            continue
        yield Token(Kind.OPEN, "{{", opening)
        for token in _action(source, opening, inside):
            yield token
            position = token.offset + len(token.text)
        yield Token(Kind.CLOSE, "}}", position)
        position = _close(source, position)


def _close(source: str, position: int) -> int:
    """Return where the text goes on after the delimiter at a position, trimming if it says so."""
    trim = _TRIM_CLOSE.match(source, position)
    if trim is None:
        return position + 2
    after = trim.end()
    while source[after : after + 1] in tuple(_SPACE):
        after += 1
    return after


_TRIM_CLOSE: Final = re.compile(r"[ \t\r\n]-\}\}")


def _comment_end(source: str, start: int) -> int:
    end = source.find("*/", start + 2)
    if end < 0:
        raise TemplateError("the comment has no end: */ is missing", start)
    end += 2
    if not source.startswith("}}", end) and _TRIM_CLOSE.match(source, end) is None:
        raise TemplateError("a comment fills its action: }} must follow */", end)
    return _close(source, end)


def _action(source: str, opening: int, start: int) -> Iterator[Token]:
    """Yield the tokens of an action up to its closing delimiter."""
    position = start
    depth = 0
    while True:
        if source.startswith("}}", position) or _TRIM_CLOSE.match(source, position):
            if depth:
                raise TemplateError("a parenthesis is not closed", position)
            # What is not yielded tells the caller where the delimiter is.
            yield Token(Kind.SPACE, "", position)
            return
        if position >= len(source):
            raise TemplateError("an action has no end: }} is missing", opening)
        token = _token(source, position)
        depth += (token.kind is Kind.LEFT) - (token.kind is Kind.RIGHT)
        if depth < 0:
            raise TemplateError("this parenthesis was never opened", position)
        position += len(token.text)
        yield token


def _token(source: str, position: int) -> Token:
    found = _TOKEN.match(source, position)
    if found is None or (found.lastgroup == "other" and found[0] in _UNCLOSED):
        character = source[position]
        message = _UNCLOSED.get(character, f"the character {character!r} has no meaning here")
        raise TemplateError(message, position)
    text = found[0]
    if found.lastgroup == "space":
        # The last space belongs to the delimiter when that is " -}}".
        last = found.end() - 1
        if last > position and _TRIM_CLOSE.match(source, last):
            text = text[:-1]
        return Token(Kind.SPACE, text, position)
    kind = _kind(found)
    if kind in _MUST_END and _TERMINATORS.match(source, found.end()) is None:
        message = f"the character {source[found.end()]!r} cannot follow {text!r}"
        raise TemplateError(message, found.end())
    following = source[found.end() : found.end() + 1]
    if kind is Kind.NUMBER and (following == "_" or following.isalnum() or following in ("+", "-")):
        raise TemplateError(f"{text + following!r} is no number", position)
    return Token(kind, text, position)


def _kind(found: re.Match[str]) -> Kind:
    group, text = found.lastgroup or "other", found[0]
    if group == "other":
        return _SINGLE.get(text, Kind.OTHER)
    if group != "word":
        return _KINDS[group]
    if text in KEYWORDS:
        return Kind.KEYWORD
    if text in ("true", "false"):
        return Kind.BOOL
    return Kind.NIL if text == "nil" else Kind.WORD
