"""The tables of docs/configuration.md, from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.config.shapes import settings_schema

Node = dict[str, Any]

_WORDS = {
    "duration": "duration",
    "byte-size": "size",
    "password": "secret text",
    "path": "path",
    "uri": "URL",
    "string": "text",
    "boolean": "`true` or `false`",
    "integer": "whole number",
    "number": "number",
}


def tables() -> str:
    """Return all tables, one for each section of the file."""
    schema = settings_schema()
    return "\n".join(_section("", schema, schema["$defs"]))


def _section(path: str, section: Node, definitions: Node) -> Iterator[str]:
    """Yield the lines of a section and then of those inside it."""
    rows: list[str] = []
    inner: list[tuple[str, Node]] = []
    required = section.get("required", ())
    for name, node in section["properties"].items():
        key = f"{path}.{name}" if path else name
        target = _target(node, definitions)
        items = _target(node.get("items", {}), definitions)
        if target is not None:
            note = " **Required.**" if name in required else ""
            inner.append((key, {**target, "description": node["description"] + note}))
        elif items is not None:
            inner.append((f"{key}[]", {**items, "description": node["description"]}))
        if target is None:
            default = "**required**" if name in required else _default(node)
            rows.append(f"| `{key}` | {_takes(node)} | {default} | {_cell(node['description'])} |")
    if rows:
        yield from (f"### {path}", "", section["description"], "")
        yield from ("| key | takes | default | meaning |", "|---|---|---|---|", *rows, "")
    for key, node in inner:
        yield from _section(key, node, definitions)


def _target(node: Node, definitions: Node) -> Node | None:
    """Return the section a node refers to, if it is set; None when it is a plain value."""
    given = next((one for one in node.get("anyOf", ()) if "$ref" in one), node)
    name = given.get("$ref", "").rpartition("/")[2]
    found: Node | None = definitions.get(name)
    return found


def _takes(node: Node) -> str:
    alternatives = [one for one in node.get("anyOf", [node]) if one.get("type") != "null"]
    kept = alternatives[0]
    if "enum" in kept:
        return " or ".join(f"`{value}`" for value in kept["enum"])
    if kept.get("type") == "array":
        items = kept["items"]
        if "$ref" in items:
            return "list of sections"
        return f"list of {_WORDS[items['type']]}s{_limits(items)}"
    if kept.get("type") == "object":
        return f"mapping of names to {_takes(kept['additionalProperties'])}"
    return _WORDS[kept.get("format") or kept["type"]] + _limits(kept)


def _limits(node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", {low} or more" if low is not None else ""


def _default(node: Node) -> str:
    default = node.get("default")
    match default:
        case None:
            return "unset"
        case "" | [] | {}:
            return "empty"
        case bool():
            return f"`{str(default).lower()}`"
        case _:
            return f"`{default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
