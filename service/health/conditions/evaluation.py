"""Whether conditions hold for what a probe found, and how to say that one does not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence

from alerts.durations import format_duration
from service.codec import JSONError, decode
from service.health.conditions.body_path import BodyPathError
from service.health.conditions.findings import Findings, Placeholder
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
from service.health.conditions.values import Missing, Value, as_text, from_json, is_same, number

MAX_SHOWN = 60
"""Characters of a value that was found that are shown."""

_ORDERS: dict[Operator, Callable[[float, float], bool]] = {
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}
_NONE = (Missing("missing"),)


def _as_it_is(text: str) -> str:
    return text


def unmet(
    conditions: Iterable[Condition], findings: Findings, hide: Callable[[str], str] = _as_it_is
) -> list[str]:
    """Return each condition that does not hold, with what was found: ``[STATUS] (503) < 300``.

    Args:
        conditions: What has to hold.
        findings: What was found.
        hide: Takes the secrets out of a text, before it is shortened.
    """
    reader = _Reader(findings)
    shown = (_failure(condition, reader, hide) for condition in conditions)
    return [text for text in shown if text is not None]


def _failure(condition: Condition, reader: _Reader, hide: Callable[[str], str]) -> str | None:
    """Return how a condition fails, for the first of the places it looks at; None if it holds."""
    for left in reader.values(condition.left):
        for right in reader.values(condition.right):
            if not _holds(condition, left, right):
                return (
                    f"{_shown(condition.left, left, hide)} {condition.operator} "
                    f"{_shown(condition.right, right, hide)}"
                )
    return None


def _holds(condition: Condition, left: Value, right: Value) -> bool:
    if isinstance(left, Missing) or isinstance(right, Missing):
        return False
    if condition.operator.orders:
        ours, theirs = number(left), number(right)
        if ours is None or theirs is None:
            return False
        return _ORDERS[condition.operator](ours, theirs)
    equal = _equal(condition, left, right)
    return equal if condition.operator is Operator.EQUAL else not equal


def _equal(condition: Condition, left: Value, right: Value) -> bool:
    for side, value in ((condition.left, right), (condition.right, left)):
        if isinstance(side, PatternCall):
            return side.pattern.matches(as_text(value))
        if isinstance(side, ChoiceCall):
            return any(is_same(value, option) for option in side.options)
    if any(isinstance(side, Literal) and side.quoted for side in (condition.left, condition.right)):
        return as_text(left) == as_text(right)
    return is_same(left, right)


def _shown(operand: Operand, value: Value, hide: Callable[[str], str]) -> str:
    if not isinstance(operand, Lookup):
        return operand.text
    if (
        operand.placeholder is Placeholder.CERTIFICATE_EXPIRATION
        and operand.function is None
        and isinstance(value, int | float)
    ):
        text = format_duration(value // 1000)
    else:
        text = " ".join(hide(as_text(value))[: MAX_SHOWN * 4].split())
    return f"{operand.text} ({text if len(text) <= MAX_SHOWN else f'{text[:MAX_SHOWN]}...'})"


class _Reader:
    """Looks up what placeholders stand for; the body is read as JSON once, when first needed."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._text = findings.body.decode(errors="replace").strip()
        self._document: tuple[object] | Missing | None = None

    def values(self, operand: Operand) -> Sequence[Value]:
        """Return what an operand stands for: one value, or one for each place of its path."""
        match operand:
            case Literal():
                return (operand.value,)
            case PatternCall() | ChoiceCall():
                return (operand.text,)
            case Lookup(placeholder=Placeholder.BODY, path=path) if path is not None:
                return self._in_body(operand)
            case Lookup(placeholder=Placeholder.BODY):
                return (self._whole_body(operand),)
            case Lookup():
                return (self._simple(operand),)

    def _simple(self, lookup: Lookup) -> Value:
        value = self._found(lookup)
        if lookup.function is Function.HAS:
            return str(not isinstance(value, Missing) and value != "").lower()
        if lookup.function is Function.LENGTH and not isinstance(value, Missing):
            return len(as_text(value))
        return value

    def _found(self, lookup: Lookup) -> Value:  # noqa: PLR0911 - one line for each placeholder
        findings = self._findings
        match lookup.placeholder:
            case Placeholder.STATUS:
                return findings.status or 0
            case Placeholder.RESPONSE_TIME:
                return int(findings.response_time_s * 1000)
            case Placeholder.IP:
                return findings.ip
            case Placeholder.CONNECTED:
                return str(findings.connected).lower()
            case Placeholder.DNS_RCODE:
                return findings.dns_rcode or Missing("no answer")
            case Placeholder.CERTIFICATE_EXPIRATION:
                expires_in_s = findings.certificate_expires_in_s
                return Missing("no certificate") if expires_in_s is None else expires_in_s * 1000
            case Placeholder.HEADER:
                wanted = lookup.header.lower()
                fields = findings.headers.items()
                return next((text for name, text in fields if name.lower() == wanted), _NONE[0])
            case Placeholder.BODY:
                return self._text

    def _whole_body(self, lookup: Lookup) -> Value:
        if lookup.function is Function.HAS:
            return str(bool(self._text)).lower()
        if lookup.function is Function.LENGTH:
            document = self._json()
            if not isinstance(document, Missing) and isinstance(document[0], list):
                return len(document[0])
            return len(self._text)
        return self._text

    def _in_body(self, lookup: Lookup) -> Sequence[Value]:
        document = self._json()
        found: Sequence[object] = ()
        problem = document if isinstance(document, Missing) else _NONE[0]
        if lookup.path is not None and not isinstance(document, Missing):
            try:
                found = lookup.path.find(document[0])
            except BodyPathError as error:
                problem = Missing(str(error))
        if lookup.function is Function.HAS:
            return (str(any(each is not None for each in found)).lower(),)
        if not found:
            return (problem,)
        if lookup.function is Function.LENGTH:
            return [_length(each) for each in found]
        return [from_json(each) for each in found]

    def _json(self) -> tuple[object] | Missing:
        if self._document is None:
            try:
                self._document = (decode(self._findings.body),)
            except JSONError:
                self._document = Missing("the body is not JSON" if self._text else "no body")
        return self._document


def _length(value: object) -> Value:
    if isinstance(value, list):
        return len(value)
    converted = from_json(value)
    return converted if isinstance(converted, Missing) else len(as_text(converted))
