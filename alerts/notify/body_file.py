"""Reads the bodies of requests out of channel files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alerts.documents import ValuePath
from alerts.notify import body
from alerts.notify.templates import Text

Parse = Callable[[str, ValuePath], Text]
Report = Callable[[ValuePath, str], None]

_DIRECTIVES: Final = (
    "$setting",
    "$json",
    "$split",
    "$payload",
    "$first",
    "$merge",
    "$each_alert",
    "$keep",
    "$if",
)


def read_tree(data: object, path: ValuePath, parse: Parse, report: Report) -> body.Tree:
    """Return a body.

    Args:
        data: What is written.
        path: Where.
        parse: Parses a template at a place.
        report: Takes a problem at a place.
    """
    return _Reader(parse, report).tree(data, path)


class _Reader:
    def __init__(self, parse: Parse, report: Report) -> None:
        self._parse = parse
        self._report = report

    def tree(self, data: object, path: ValuePath) -> body.Tree:
        match data:
            case dict():
                return self._mapping({str(key): item for key, item in data.items()}, path)
            case list():
                return body.Items(
                    tuple(self.tree(item, (*path, index)) for index, item in enumerate(data))
                )
            case None | bool() | int() | float():
                return data
            case str():
                return self._parse(data, path)
            case _:
                self._report(path, "this is no text and no number; put it in quotes")
                return None

    def _mapping(self, data: dict[str, object], path: ValuePath) -> body.Tree:
        special = [key for key in data if key.startswith("$") and not key.startswith("$$")]
        if not special:
            # A name that begins with $ is written with two.
            pairs = (
                (
                    key.removeprefix("$") if key.startswith("$$") else key,
                    self.tree(item, (*path, key)),
                )
                for key, item in data.items()
            )
            return body.Fields(tuple(pairs))
        name = special[0]
        if name not in _DIRECTIVES:
            self._report((*path, name), f"there is no {name}; known are {', '.join(_DIRECTIVES)}")
            return None
        allowed = {"$if", "$then", "$else"} if name == "$if" else {name}
        for key in sorted(set(data) - allowed):
            self._report((*path, key), f"{key} cannot stand beside {name}")
        if name == "$if":
            return self._condition(data, path)
        return self._directive(name, data[name], (*path, name))

    def _condition(self, data: dict[str, object], path: ValuePath) -> body.Tree:
        if "$then" not in data:
            self._report(path, "$if needs $then")
        return body.If(
            self._text(data["$if"], (*path, "$if")),
            self.tree(data.get("$then"), (*path, "$then")),
            self.tree(data.get("$else"), (*path, "$else")),
        )

    def _directive(  # noqa: PLR0911 - a case for each kind
        self, name: str, data: object, path: ValuePath
    ) -> body.Tree:
        match name:
            case "$setting":
                return body.Setting(str(data))
            case "$json":
                return body.Json(self._text(data, path))
            case "$split":
                return body.Split(self._text(data, path))
            case "$payload":
                return body.Payload()
            case "$first":
                return body.First(self._several(name, data, path))
            case "$merge":
                return body.Merge(self._several(name, data, path))
            case "$each_alert":
                return body.EachAlert(self.tree(data, path))
            case _:
                return body.Keep(self.tree(data, path))

    def _several(self, name: str, data: object, path: ValuePath) -> tuple[body.Tree, ...]:
        if not isinstance(data, list):
            self._report(path, f"{name} takes a list")
            return ()
        return tuple(self.tree(item, (*path, index)) for index, item in enumerate(data))

    def _text(self, data: object, path: ValuePath) -> Text:
        if not isinstance(data, str):
            self._report(path, "this must be a template, which is a text")
            return Text("")
        return self._parse(data, path)
