"""What the commands print: results to stdout, errors to stderr, colour on a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import typer

from alerts.errors import Problem

EXIT_OK = 0
EXIT_FAILED = 1
"""What was checked is bad, or something failed."""
EXIT_USAGE = 2
"""The command line or the configuration cannot be used."""


def write_line(text: str) -> None:
    """Write a line of a result, at once, so that a reader that went away is noticed here."""
    typer.echo(text)


def write_json(value: object) -> None:
    """Write a result for machines."""
    write_line(json.dumps(value, indent=2, ensure_ascii=False))


def write_yaml(text: str) -> None:
    """Write YAML; with colour for people."""
    if not sys.stdout.isatty():
        write_line(text)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "yaml", background_color="default", word_wrap=True))


def write_error(place: str, message: str) -> None:
    """Write one error: where, and what is wrong."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"{place}: {message}\n")
        return
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble((place, "bold red"), ": ", message)
    Console(stderr=True).print(line, soft_wrap=True)


def write_problems(problems: Iterable[Problem]) -> None:
    """Write problems, one a line, as ``file:line:column: message``."""
    for problem in problems:
        write_error(problem.place, problem.message)


def write_warnings(warnings: Iterable[Problem]) -> None:
    """Write what is legal and probably not meant, one a line."""
    for warning in warnings:
        write_error(warning.place, f"warning: {warning.message}")


def problems_as_data(problems: Iterable[Problem]) -> dict[str, object]:
    """Return the result of a check for machines."""
    found = [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "message": problem.message,
        }
        for problem in problems
    ]
    return {"ok": not found, "problems": found}
