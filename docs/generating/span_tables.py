"""The tables of docs/traces.md, from the definitions of spans."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alerts.spans import SpanDefinition
from service.telemetry.span_definitions import SPAN_DEFINITIONS


def tables() -> str:
    """Return the list of spans and, for each, what it is and a table of its attributes."""
    lines = ["| span | kind | parent | links to |", "|---|---|---|---|"]
    for definition in SPAN_DEFINITIONS:
        cells = (
            f"[`{definition.name}`](#{_anchor(definition)})",
            definition.kind.name,
            definition.parent,
            definition.links or "nothing",
        )
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    for definition in SPAN_DEFINITIONS:
        lines += ["", *_section(definition)]
    return "\n".join(lines)


def _section(definition: SpanDefinition) -> Iterator[str]:
    yield from (f"### {_heading(definition)}", "", definition.when, "")
    yield from ("| attribute | there | meaning |", "|---|---|---|")
    for attribute in definition.attributes:
        there = "always" if attribute.always else "sometimes"
        yield f"| `{attribute.name}` | {there} | {_cell(attribute.meaning)} |"


def _heading(definition: SpanDefinition) -> str:
    """Return a heading that is unlike the others: some names differ by their kind only."""
    return f"{definition.name} {definition.kind.name}"


def _anchor(definition: SpanDefinition) -> str:
    text = re.sub(r"[^\w\- ]", "", _heading(definition).lower())
    return text.replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
