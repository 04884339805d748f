"""Conditions of Gatus, which are ours but for a few."""

from __future__ import annotations

import re

from service.config.health_settings import PLACEHOLDERS
from service.health.conditions.findings import Placeholder
from service.health.conditions.parser import ConditionError, parse_condition
from service.health.gatus.remarks import Place

_OPERATOR = re.compile(r" (?:==|!=|<=|>=|<|>) ")


def carried_conditions(place: Place, kind: str) -> list[str]:
    """Return the conditions of an endpoint that a check of a kind can have.

    Of the others the place says why they are left out.
    """
    listed = place.data.get("conditions")
    texts = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    kept = []
    for index, text in enumerate(texts):
        condition = quoted_as_in_gatus(text.replace("$$", "$"))
        problem = _problem(condition, kind)
        if problem is None:
            kept.append(condition)
        else:
            path = (*place.path, "conditions", index)
            message = f"the condition {text!r} is left out: {problem}"
            place.remarks.append(place.document.problem(path, message))
    if kind == "http" and not any(_mentions_status(text) for text in kept):
        kept.append("[STATUS] >= 0")  # Gatus takes any status unless a condition says otherwise
    return kept


def quoted_as_in_gatus(text: str) -> str:
    """Return a condition in which the quotes of Gatus, which are part of the text, stay so."""
    operator = _OPERATOR.search(text)
    if operator is None:
        return text
    sides = (text[: operator.start()].strip(), text[operator.end() :].strip())
    left, right = (_quoted(side) if side.startswith(('"', "'")) else side for side in sides)
    return f"{left}{operator[0]}{right}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _problem(text: str, kind: str) -> str | None:
    try:
        condition = parse_condition(text)
    except ConditionError as error:
        return str(error)
    for lookup in condition.lookups:
        if lookup.placeholder not in PLACEHOLDERS[kind]:
            return f"a {kind} check has no {lookup.placeholder}"
    return None


def _mentions_status(text: str) -> bool:
    return any(lookup.placeholder is Placeholder.STATUS for lookup in parse_condition(text).lookups)
