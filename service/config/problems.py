"""Validation, with every problem said in plain words and at the place where the value was given."""

from __future__ import annotations

import copy
import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alerts.documents import ValuePath
from alerts.errors import Problem
from service.config.hiding import hide_secrets_of_urls
from service.config.layers import Layers
from service.config.settings import Settings
from service.config.shapes import Shape, dotted, named, nearest
from service.config.types import HIDDEN
from service.errors import ConfigurationError

_LONGEST_SHOWN = 80
_WITHOUT_CONTENT: dict[type, str] = {type(None): "nothing", list: "a list", dict: "a mapping"}


def validate(layers: Layers, root: Shape) -> Settings:
    """Make settings of merged values.

    Contradictions are only found between values that are fine alone, so whatever is wrong is
    taken out and the rest looked at again, until nothing new is found.

    Raises:
        ConfigurationError: Lists every problem.
    """
    problems: list[Problem] = []
    removed: set[ValuePath] = set()
    values: dict[str, Any] = copy.deepcopy(layers.values)
    while details := _errors(values):
        for detail in details:
            concerned = _concerned(detail)
            if not any(_overlap(path, gone) for path in concerned for gone in removed):
                problems.append(_problem(detail, concerned, layers, root))
        wrong = [path for detail in details for path in _concerned(detail)]
        newly_removed = [path for path in wrong if _remove(values, path)]
        if not newly_removed:
            break
        removed.update(newly_removed)
    if problems:
        raise ConfigurationError(problems)
    return Settings.model_validate(layers.values)


def _errors(values: dict[str, Any]) -> list[ErrorDetails]:
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _concerned(detail: ErrorDetails) -> list[ValuePath]:
    place = detail["loc"]
    if detail["type"] == "contradiction":
        return [(*place, *path) for path in detail["ctx"]["paths"]]
    return [place]


def _overlap(one: ValuePath, other: ValuePath) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _remove(values: dict[str, Any], path: ValuePath) -> bool:
    """Take a value out; of a list with something wrong in it, the whole list."""
    inside = values
    for step, following in zip(path, (*path[1:], None), strict=True):
        value = inside.get(str(step))
        if following is None or isinstance(value, list):
            return inside.pop(str(step), None) is not None
        if not isinstance(value, dict):
            return False
        inside = value
    return False


def _problem(
    detail: ErrorDetails, concerned: list[ValuePath], layers: Layers, root: Shape
) -> Problem:
    path = next((one for one in concerned if layers.is_given(one)), concerned[0])
    source = layers.source(path)
    key = dotted(path)
    shape = root.find(path)
    match detail["type"]:
        case "extra_forbidden":
            around = root.find(path[:-1])
            known = around.keys if around is not None else ()
            near = nearest(str(path[-1]), known)
            hint = f"did you mean {near}?" if near else f"this section has {named(known)}"
            return source.problem(path, f"{key}: unknown key; {hint}", of_key=True)
        case "contradiction":
            message = detail["ctx"]["message"]
        case "value_error" if detail["input"] is not None:
            message = str(detail["ctx"]["error"])
        case "missing":
            message = f"missing; expected {_expected(shape)}"
        case kind:
            given = describe(detail["input"], hidden=shape is not None and shape.holds_secrets)
            more = ", and more than 0" if kind == "greater_than" else ""
            message = f"got {given}, expected {_expected(shape)}{more}"
    return source.problem(path, f"{key}: {message}")


def _expected(shape: Shape | None) -> str:
    return shape.expected() if shape is not None else "another value"


def describe(value: object, *, hidden: bool = False) -> str:
    """Say what was given, to follow "got"."""
    for kind, words in _WITHOUT_CONTENT.items():
        if isinstance(value, kind):
            return words
    if hidden:
        return HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        shown = hide_secrets_of_urls(value)
        return repr(shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}...")
    return f"the date {value}" if isinstance(value, datetime.date) else str(value)
