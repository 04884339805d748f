"""What may stand at each place of the configuration, told from the JSON schema of ``Settings``.

The schema is the one description of the settings that is data, so error messages, the names of
environment variables and ``gatewatch config schema`` are all made from it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from alerts.documents import ValuePath
from alerts.durations import format_duration
from service.config.settings import Settings
from service.config.types import format_size

JSONSchema = dict[str, Any]

_MOST_NAMED = 10


class Shape:
    """What may stand at one place: a section, a list, a mapping with free keys, or a scalar."""

    def __init__(self, node: JSONSchema, definitions: Mapping[str, JSONSchema]) -> None:
        """Take a node of a JSON schema and the schema's ``$defs``."""
        alternatives = node.get("anyOf", [node])
        self.is_nullable = any(one.get("type") == "null" for one in alternatives)
        """Whether the key may be given without a value."""
        kept = next(one for one in alternatives if one.get("type") != "null")
        self._node = definitions[kept["$ref"].rpartition("/")[2]] if "$ref" in kept else kept
        self._definitions = definitions

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a section; nothing for anything else."""
        return tuple(self._node.get("properties", ()))

    @property
    def is_container(self) -> bool:
        """Whether other values stand inside."""
        return self._node.get("type") in ("object", "array")

    @property
    def is_text(self) -> bool:
        """Whether it takes any text, even text that YAML would read as a number."""
        return self._node.get("type") == "string" and self._node.get("format") != "duration"

    @property
    def is_secret(self) -> bool:
        """Whether the value must not be printed."""
        return self._node.get("format") == "password"

    @property
    def holds_secrets(self) -> bool:
        """Whether the value, or one directly inside, must not be printed."""
        inside = [*self._node.get("properties", {}).values(), *self._items()]
        return self.is_secret or any(
            Shape(node, self._definitions).is_secret for node in inside if "$ref" not in node
        )

    def child(self, step: str | int) -> Shape | None:
        """Return what may stand under a key or at an index; None when nothing may."""
        properties = self._node.get("properties", {})
        if step in properties:
            return Shape(properties[step], self._definitions)
        items = self._items()
        if items and isinstance(step, int) == (self._node["type"] == "array"):
            return Shape(items[0], self._definitions)
        return None

    def find(self, path: ValuePath) -> Shape | None:
        """Return what may stand at a path from here; None when nothing may."""
        shape: Shape | None = self
        for step in path:
            shape = shape.child(step) if shape is not None else None
        return shape

    def paths(self) -> Iterator[tuple[str, ...]]:
        """Yield the path of every key, those of sections included."""
        for key in self.keys:
            yield (key,)
            child = self.child(key)
            if child is not None:
                yield from ((key, *inner) for inner in child.paths())

    def expected(self) -> str:
        """Say in words what may stand here, to follow "expected"."""
        node = self._node
        if "enum" in node:
            return f"one of {', '.join(node['enum'])}"
        if self.keys:
            return f"a section with {named(self.keys)}"
        kind: str = node.get("format") or node["type"]
        words = _EXPECTED.get(kind, kind)
        return f"{words}{_limits(node)}"

    def _items(self) -> Sequence[JSONSchema]:
        inside = (self._node.get("items"), self._node.get("additionalProperties"))
        return [node for node in inside if isinstance(node, dict)]


_DOTTED: Final = re.compile(r"[a-z_]+(?:\.[a-z_]+|\[[0-9]+\])*", re.ASCII)
_STEP: Final = re.compile(r"[a-z_]+|[0-9]+", re.ASCII)
_EXPECTED = {
    "string": "text (put it in quotes)",
    "password": "text (put it in quotes)",
    "path": "the path of a file or directory",
    "uri": "a URL such as http://127.0.0.1:8080/",
    "duration": "a duration such as 30s or 1h30m",
    "byte-size": "a size such as 512B or 64KiB",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
}


def _limits(node: JSONSchema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return ""


@cache
def settings_shape() -> Shape:
    """Return the shape of the whole file."""
    schema = Settings.model_json_schema()
    return Shape(schema, schema["$defs"])


def settings_schema() -> JSONSchema:
    """Return the JSON schema of the file, with defaults as people write them.

    Source: JSON Schema 2020-12.
    """
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    for section in (schema, *definitions.values()):
        for node in section["properties"].values():
            _tidy(node, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "gatewatch.yaml",
    }


def _tidy(node: JSONSchema, definitions: Mapping[str, JSONSchema]) -> None:
    """Write a property's default with its unit, and its description on one line."""
    node.pop("title", None)
    section = definitions.get(node.get("$ref", "").rpartition("/")[2], {})
    described = node.get("description") or section.get("description", "")
    node["description"] = " ".join(described.split())
    if "$ref" in node:
        node.pop("default", None)  # a section's defaults stand with its keys
    elif isinstance(node.get("default"), int | float):
        if node.get("format") == "duration":
            node["default"] = format_duration(node["default"])
        elif node.get("format") == "byte-size":
            node["default"] = format_size(node["default"])


def dotted(path: ValuePath) -> str:
    """Return a path as people write it: ``health.checks[2].http.url``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def undotted(text: str) -> ValuePath | None:
    """Return the path that ``dotted`` writes as a text; None when it writes none so."""
    if _DOTTED.fullmatch(text) is None:
        return None
    return tuple(int(step) if step.isdecimal() else step for step in _STEP.findall(text))


def named(keys: Sequence[str]) -> str:
    """Return the names of a section's keys, for a sentence; of many keys the first few."""
    if len(keys) <= _MOST_NAMED:
        return f"the keys {', '.join(keys)}"
    return f"keys such as {', '.join(keys[:_MOST_NAMED])}"


def nearest(given: str, known: Sequence[str]) -> str | None:
    """Return the known name that looks most like a given one; None when none is near."""
    near = difflib.get_close_matches(given, known, n=1)
    return near[0] if near else None
