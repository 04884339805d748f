"""``gatewatch rules``: look at rule files without starting anything."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alerts.errors import DocumentError, Problem
from service.cli import options
from service.cli.output import (
    EXIT_FAILED,
    problems_as_data,
    write_json,
    write_line,
    write_problems,
)

if TYPE_CHECKING:
    from alerts.rules.model import GroupDefinition

FilesArgument = Annotated[
    list[Path],
    typer.Argument(exists=True, dir_okay=False, metavar="FILE", hidden=True),
]


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(
        help="Look at rule files without starting anything.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.callback()(_group)
    group.command()(check)
    return group


def _group() -> None:
    """Look at rule files without starting anything."""


def check(files: FilesArgument, as_json: options.JSONOption = False) -> None:
    """Check rule files in Prometheus's format.

    Prints every problem as file:line:column. The exit code is 1 if there is one.
    """
    problems: tuple[Problem, ...] = ()
    groups: tuple[GroupDefinition, ...] = ()
    try:
        groups = read_rules(files)
    except DocumentError as error:
        problems = error.problems
    if as_json:
        write_json(problems_as_data(problems))
    elif problems:
        write_problems(problems)
    else:
        for file in files:
            counts = [len(group.rules) for group in groups if group.file == str(file)]
            write_line(f"{file}: good, groups: {len(counts)}, rules: {sum(counts)}")
    if problems:
        raise typer.Exit(EXIT_FAILED)


def read_rules(files: Iterable[Path]) -> tuple[GroupDefinition, ...]:
    """Read rule files as the running service would.

    Raises:
        DocumentError: Something is wrong; lists the problems of all files.
    """
    from alerts.clock import SystemClock
    from alerts.promql.engine import Engine
    from alerts.rules.file import load_rules
    from alerts.series.store import SeriesStore
    from service.config.settings import AlertsSettings

    defaults = AlertsSettings()
    store = SeriesStore(clock=SystemClock(), retention_s=defaults.retention)
    return load_rules(files, engine=Engine(store), default_interval_s=defaults.evaluation_interval)
