"""Bodies of requests: trees of YAML whose texts are templates.

What comes to nothing (an empty text, list or mapping, null) is left out. A mapping of one of these
keys stands for something else:

``$setting: NAME``     the value of a setting, with its type
``$json: TEMPLATE``    what a template writes, read as JSON
``$split: TEMPLATE``   the parts between the commas of what a template writes
``$payload: null``     Alertmanager's JSON for webhooks
``$first: [...]``      the first of these that comes to something
``$merge: [...]``      mappings put together, later ones on top
``$each_alert: ...``   a list of this for each alert, which is ``$alert``
``$keep: ...``         this, even when it comes to nothing
``$if: TEMPLATE``      with ``$then`` and maybe ``$else``: one of two

A name that begins with ``$`` itself is written with two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alerts.notify.templates import Text
from alerts.templates import nodes

EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
"""What is left out."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of a setting."""

    name: str


@dataclass(frozen=True, slots=True)
class Json:
    """What a template writes, read as JSON."""

    text: Text


@dataclass(frozen=True, slots=True)
class Split:
    """The parts between the commas of what a template writes."""

    text: Text


@dataclass(frozen=True, slots=True)
class Payload:
    """Alertmanager's JSON for webhooks."""


@dataclass(frozen=True, slots=True)
class First:
    """The first of several that comes to something."""

    options: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """Mappings put together, later ones on top."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class EachAlert:
    """A list of something for each alert."""

    inner: Tree


@dataclass(frozen=True, slots=True)
class Keep:
    """Something that stays even when it comes to nothing."""

    inner: Tree


@dataclass(frozen=True, slots=True)
class If:
    """One of two."""

    condition: Text
    then: Tree
    otherwise: Tree = None


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping."""

    fields: tuple[tuple[str, Tree], ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Tree, ...]


Directive = Setting | Json | Split | Payload | First | Merge | EachAlert | Keep | If
Tree = Text | Fields | Items | Directive | bool | int | float | None
"""A body or a part of it."""


class BodyError(ValueError):
    """A body that a channel's file makes impossible; says why."""


@dataclass(frozen=True, slots=True)
class BodyValues:
    """What the leaves of a body come to.

    Attributes:
        expand: Expands a template, for one alert if one is given.
        setting: Returns the value of a setting as JSON has it.
        payload: Returns Alertmanager's JSON for webhooks.
        alerts: Number of alerts.
    """

    expand: Callable[[Text, int | None], str]
    setting: Callable[[str], object]
    payload: Callable[[], object]
    alerts: int


def render(tree: Tree, values: BodyValues, alert: int | None = None) -> object:
    """Return a body ready for JSON.

    Args:
        tree: The body.
        values: What its leaves come to.
        alert: The alert it is for; None: for all of them.

    Raises:
        BodyError: A part of it is not what it must be.
        TemplateError: A template fails.
    """
    match tree:
        case Text():
            return values.expand(tree, alert)
        case Fields():
            pairs = ((name, render(item, values, alert), item) for name, item in tree.fields)
            return {
                name: value
                for name, value, item in pairs
                if value not in EMPTY or isinstance(item, Keep)
            }
        case Items():
            items = [(render(item, values, alert), item) for item in tree.items]
            return [value for value, item in items if value not in EMPTY or isinstance(item, Keep)]
        case None | bool() | int() | float():
            return tree
        case _:
            return _directive(tree, values, alert)


def _directive(  # noqa: PLR0911 - a case for each kind
    tree: Directive, values: BodyValues, alert: int | None
) -> object:
    match tree:
        case Setting():
            return values.setting(tree.name)
        case Json():
            return _json(values.expand(tree.text, alert))
        case Split():
            parts = values.expand(tree.text, alert).split(",")
            return [part.strip() for part in parts if part.strip()]
        case Payload():
            return values.payload()
        case First():
            found = (render(option, values, alert) for option in tree.options)
            return next((value for value in found if value not in EMPTY), None)
        case Merge():
            return _merged([render(part, values, alert) for part in tree.parts])
        case EachAlert():
            return [render(tree.inner, values, index) for index in range(values.alerts)]
        case Keep():
            return render(tree.inner, values, alert)
        case If():
            chosen = is_yes(values.expand(tree.condition, alert))
            return render(tree.then if chosen else tree.otherwise, values, alert)


def _json(text: str) -> object:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise BodyError(f"what $json came to is no JSON: {error}") from None


def _merged(parts: list[object]) -> dict[str, object]:
    merged: dict[str, object] = {}
    for part in parts:
        if isinstance(part, Mapping):
            merged |= part
        elif part not in EMPTY:
            raise BodyError("a part of $merge is no mapping")
    return merged


def is_yes(text: str) -> bool:
    """Whether what a condition came to means yes: anything but nothing and ``false``."""
    return text.strip() not in ("", "false", "<no value>")


def texts_in(tree: Tree) -> Iterator[Text]:
    """Yield all templates of a body."""
    match tree:
        case Text():
            yield tree
        case Json() | Split():
            yield tree.text
        case If():
            yield tree.condition
        case _:
            pass
    for inner in _inside(tree):
        yield from texts_in(inner)


def settings_in(tree: Tree) -> Iterator[str]:
    """Yield the names of all settings whose value stands in a body."""
    if isinstance(tree, Setting):
        yield tree.name
    for inner in _inside(tree):
        yield from settings_in(inner)


def _inside(tree: Tree) -> tuple[Tree, ...]:  # noqa: PLR0911 - a case for each kind
    match tree:
        case Fields():
            return tuple(item for _, item in tree.fields)
        case Items():
            return tree.items
        case First():
            return tree.options
        case Merge():
            return tree.parts
        case EachAlert() | Keep():
            return (tree.inner,)
        case If():
            return (tree.then, tree.otherwise)
        case _:
            return ()


def variables_in(tree: nodes.Tree) -> set[tuple[str, str]]:
    """Return the variables a template mentions, each with the first field behind it."""
    found: set[tuple[str, str]] = set()
    waiting: list[object] = [tree.body, *tree.defined.values()]
    while waiting:
        node = waiting.pop()
        if isinstance(node, nodes.Variable):
            found.add((node.name, node.names[0] if node.names else ""))
        elif isinstance(node, tuple):
            waiting += node
        elif hasattr(node, "__dataclass_fields__"):
            waiting += [getattr(node, name) for name in node.__dataclass_fields__]
    return found
