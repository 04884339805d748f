"""Reads conditions: ``<operand> <operator> <operand>``, with blanks around the operator.

Operands are placeholders (``[STATUS]``, ``[BODY].items[0].id``, ``[HEADER].Content-Type``), the
functions ``len() has() pat() any()``, and text, in quotes where it has to be. What cannot hold, or
compares what has nothing to compare, is refused here and not found out in production.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import NoReturn

from service.errors import GatewatchError
from service.health.conditions.agreement import disagreement
from service.health.conditions.body_path import BodyPath, BodyPathError, closing_bracket
from service.health.conditions.findings import Placeholder
from service.health.conditions.pattern import Pattern, PatternError
from service.health.conditions.syntax import (
    ChoiceCall,
    Condition,
    Function,
    Literal,
    Lookup,
    Operand,
    Operator,
    PatternCall,
)

MAX_LENGTH = 2000
"""Characters of a condition at most."""

_OPERATOR = re.compile(r"\s+(==|!=|<=|>=|<|>)(?:\s+|$)")
_GLUED = re.compile(r"[^\s=!<>](==|!=|<=|>=|<|>)|(==|!=|<=|>=|<|>)[^\s=]")
_CALL = re.compile(r"([A-Za-z_]+)\(")
_NAME = re.compile(r"\[([A-Za-z_]+)\]")
_HEADER = re.compile(r"\.([!#$%&'*+.^_`|~0-9A-Za-z-]+)")
_PLACEHOLDERS = {placeholder.value: placeholder for placeholder in Placeholder}
_REFUSED = {
    "[DOMAIN_EXPIRATION]": "when a domain expires stands in WHOIS and RDAP, which are not asked; "
    "leave this condition out",
    "[CONTEXT]": "there are no suites, and so no context of one; leave this condition out",
}
_FORM = "write <value> <operator> <value>, such as [STATUS] == 200"


class ConditionError(GatewatchError, ValueError):
    """A text that is no condition.

    Attributes:
        message: What is wrong and what would be right.
        position: Where in the text, from 1.
    """

    def __init__(self, message: str, position: int) -> None:
        self.message = message
        self.position = position
        super().__init__(f"at character {position}: {message}")


def parse_condition(text: str) -> Condition:
    """Return the condition a text stands for.

    Raises:
        ConditionError: It is none, or one that can never hold or never fail.
    """
    if len(text) > MAX_LENGTH:
        _refuse(f"the condition has more than {MAX_LENGTH} characters", MAX_LENGTH)
    start = len(text) - len(text.lstrip())
    end = _end_of_left(text, start)
    found = _OPERATOR.match(text, end)
    if found is None:
        _refuse_without_operator(text, end)
    left = _operand(text[start:end], start)
    right_text = text[found.end() :].rstrip()
    if not right_text:
        _refuse(f"there is nothing behind {found[1]}; {_FORM}", len(text.rstrip()))
    right = _operand(right_text, found.end())
    if isinstance(right, Literal) and not right.quoted:
        second = _OPERATOR.search(right_text)
        if second is not None:
            _refuse(
                "a condition has one operator; put a text that contains one in quotes",
                found.end() + second.start(1),
            )
    condition = Condition(text.strip(), left, Operator(found[1]), right)
    problem = disagreement(condition)
    if problem is not None:
        _refuse(problem, found.start(1))
    return condition


def _refuse(message: str, offset: int) -> NoReturn:
    raise ConditionError(message, offset + 1)


def _refuse_without_operator(text: str, end: int) -> NoReturn:
    if not text.strip():
        _refuse(f"the condition is empty; {_FORM}", 0)
    glued = _GLUED.search(text)
    if glued is not None:
        which = 1 if glued[1] else 2
        _refuse(f"put blanks on both sides of {glued[which]}", glued.start(which))
    _refuse(f"an operator is missing, one of {' '.join(Operator)}; {_FORM}", end)


def _end_of_left(text: str, start: int) -> int:
    """Return where the left operand ends: before an operator, or where one is missing."""
    if text[start : start + 1] in ('"', "'"):
        return _end_of_quotes(text, start)
    if text.startswith(("pat(", "any("), start):  # what is inside may have operators in it
        closed = re.compile(r"\)(?=\s+(?:==|!=|<=|>=|<|>)(?:\s|$))").search(text, start)
        return closed.end() if closed is not None else len(text.rstrip())
    position = start
    while position < len(text):
        if _OPERATOR.match(text, position) is not None:
            return position
        closing = closing_bracket(text, position) if text[position] == "[" else None
        position = closing if closing is not None else position + 1
    return len(text.rstrip())


def _end_of_quotes(text: str, start: int) -> int:
    position = start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == text[start]:
            return position + 1
        position += 1
    _refuse(f"the quote {text[start]} is not closed", start)


def _operand(text: str, offset: int) -> Operand:
    if text.startswith(('"', "'")):
        return _quoted(text, offset)
    call = _CALL.match(text)
    if call is not None:
        return _call(text, call[1], call.end(), offset)
    return _lookup(text, offset, None, text) or Literal(text, text)


def _quoted(text: str, offset: int) -> Literal:
    end = _end_of_quotes_at(text, 0, offset)
    if end != len(text):
        _refuse("text in quotes ends here; put all of it in quotes", offset + end)
    return Literal(text, re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL), quoted=True)


def _end_of_quotes_at(text: str, start: int, offset: int) -> int:
    try:
        return _end_of_quotes(text, start)
    except ConditionError as error:
        raise ConditionError(error.message, error.position + offset) from error


def _call(text: str, name: str, start: int, offset: int) -> Operand:
    known = [*Function, "pat", "any"]
    if name not in known:
        if not text.endswith(")"):
            return Literal(text, text)  # a text such as "f(x) is off"
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {near[0]}()?" if near else f"there are {', '.join(known)}"
        _refuse(f"{name}() is no function of conditions; {hint}", offset)
    if not text.endswith(")"):
        _refuse(f"the ) of {name}( is missing", offset + len(text))
    inner = text[start:-1]
    if name == "pat":
        try:
            return PatternCall(text, Pattern(inner))
        except PatternError as error:
            raise ConditionError(str(error), offset + start + error.offset + 1) from error
    if name == "any":
        return ChoiceCall(text, tuple(_options(inner, offset + start)))
    stripped = inner.strip()
    lookup = _lookup(stripped, offset + start, Function(name), text)
    if lookup is None:
        _refuse(f"{name}() asks about a placeholder, such as {name}([BODY].items)", offset + start)
    return lookup


def _options(text: str, offset: int) -> Iterator[str]:
    """Yield what stands between the commas; commas in quotes are no such commas."""
    position = 0
    while position <= len(text):
        position += len(text[position:]) - len(text[position:].lstrip())
        is_quoted = text.startswith(('"', "'"), position)
        behind = _end_of_quotes_at(text, position, offset) if is_quoted else position
        comma = text.find(",", behind)
        end = comma if comma >= 0 else len(text)
        option = text[position:end].strip()
        yield _quoted(option, offset + position).value if is_quoted else option
        position = end + 1


def _lookup(text: str, offset: int, function: Function | None, whole: str) -> Lookup | None:
    """Return the placeholder a text begins with, None if it begins with none."""
    match = _NAME.match(text)
    if match is None:
        return None
    name = match[0].upper()
    rest, place = text[match.end() :], offset + match.end()
    if name in _REFUSED:
        _refuse(f"{name}: {_REFUSED[name]}", offset)
    if name not in _PLACEHOLDERS:
        near = difflib.get_close_matches(name, _PLACEHOLDERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_PLACEHOLDERS)}"
        _refuse(f"{match[0]} is no placeholder; {hint}", offset)
    placeholder = _PLACEHOLDERS[name]
    if placeholder is Placeholder.BODY:
        return Lookup(whole, placeholder, path=_path(rest, place), function=function)
    if placeholder is Placeholder.HEADER:
        header = _HEADER.fullmatch(rest)
        if header is None:
            _refuse("name the header, as in [HEADER].Content-Type", place)
        return Lookup(whole, placeholder, header=header[1], function=function)
    if rest:
        _refuse(f"nothing may stand behind {name}; only [BODY] and [HEADER] have a path", place)
    return Lookup(whole, placeholder, function=function)


def _path(text: str, offset: int) -> BodyPath | None:
    if not text:
        return None
    try:
        return BodyPath(text)
    except BodyPathError as error:
        raise ConditionError(str(error), offset + error.offset + 1) from error
