"""Whether the two sides of a condition can be compared at all."""

from __future__ import annotations

from service.health.conditions.findings import Placeholder
from service.health.conditions.syntax import (
    ChoiceCall,
    Condition,
    Function,
    Literal,
    Lookup,
    Operand,
    PatternCall,
)
from service.health.conditions.values import number

_NUMBERS = frozenset(
    (Placeholder.STATUS, Placeholder.RESPONSE_TIME, Placeholder.CERTIFICATE_EXPIRATION)
)
_TEXTS = frozenset((Placeholder.IP, Placeholder.DNS_RCODE))


def disagreement(condition: Condition) -> str | None:
    """Return why a condition makes no sense, and what would; None when it makes sense."""
    left, right = condition.left, condition.right
    if not condition.lookups:
        return "neither side is a placeholder such as [STATUS]: nothing that is found is looked at"
    if sum(not lookup.is_singular for lookup in condition.lookups) > 1:
        return "only one path may lead to several places; name one, such as [BODY].items[0]"
    for one, other in ((left, right), (right, left)):
        problem = _side(one, other, orders=condition.operator.orders)
        if problem is not None:
            return problem
    return None


def _side(one: Operand, other: Operand, *, orders: bool) -> str | None:
    """Return what is wrong with one side, seen beside the other."""
    if isinstance(one, PatternCall | ChoiceCall):
        return f"{one.text.partition('(')[0]}() is compared with == or !=" if orders else None
    if isinstance(one, Lookup):
        if _is_truth(one):
            return _truth(one, other, orders=orders)
        if orders and one.placeholder in _TEXTS and one.function is None:
            return f"{one.text} is text; compare it with == or !="
        if _is_number(one):
            return _number(one, other)
    elif orders and (one.quoted or number(one.value) is None):
        return f"{one.text} is no number and no duration such as 500ms or 7d; text has == and !="
    return None


def _is_truth(lookup: Lookup) -> bool:
    return lookup.function is Function.HAS or (
        lookup.function is None and lookup.placeholder is Placeholder.CONNECTED
    )


def _is_number(lookup: Lookup) -> bool:
    return lookup.function is Function.LENGTH or (
        lookup.function is None and lookup.placeholder in _NUMBERS
    )


def _truth(lookup: Lookup, other: Operand, *, orders: bool) -> str | None:
    if orders:
        return f"{lookup.text} is true or false; compare it with == or !="
    if isinstance(other, Literal) and other.value not in ("true", "false"):
        return f"{lookup.text} is true or false, never {other.text}"
    return None


def _number(lookup: Lookup, other: Operand) -> str | None:
    if isinstance(other, Literal) and number(other.value) is None:
        what = "a number" if lookup.placeholder is Placeholder.STATUS else "a number or a duration"
        return f"{lookup.text} is compared with {what}, not with {other.text}"
    return None
