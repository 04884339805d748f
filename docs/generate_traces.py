"""Writes the tables of docs/traces.md from the definitions of spans, so that they cannot be wrong.

python docs/generate_traces.py           writes them
python docs/generate_traces.py --check   says whether they are right; exit code 1 if not
"""  # noqa: INP001 - a script

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from alerts.spans import SpanDefinition
from service.telemetry.span_definitions import SPAN_DEFINITIONS

PAGE = Path(__file__).parent / "traces.md"
BEGIN = "<!-- tables: begin (python docs/generate_traces.py) -->"
END = "<!-- tables: end -->"


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


def renewed(page: str) -> str:
    """Return the page with its tables written anew.

    Raises:
        ValueError: The page has no place for the tables.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if pattern.search(page) is None:
        raise ValueError(f"{PAGE} has no lines {BEGIN} and {END}")
    text = f"{BEGIN}\n\n{tables()}\n\n{END}"
    return pattern.sub(lambda _: text, page)


def main(arguments: list[str]) -> int:
    """Write or check the page and return the exit code."""
    page = PAGE.read_text("utf-8")
    text = renewed(page)
    if arguments == ["--check"]:
        if text != page:
            sys.stderr.write("docs/traces.md is out of date: python docs/generate_traces.py\n")
        return int(text != page)
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
