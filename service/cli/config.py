"""``gatewatch config``: check, describe and show the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alerts.errors import Problem
from service.cli import options
from service.cli.output import (
    EXIT_FAILED,
    problems_as_data,
    write_json,
    write_line,
    write_problems,
    write_warnings,
    write_yaml,
)
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.config.sources import LoadedSettings

FileArgument = Annotated[
    Path | None,
    typer.Argument(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Unset: gatewatch.yaml, if it is here.",
        show_default=False,
    ),
]


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(
        help="Check, describe and show the configuration.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command()(check)
    group.command()(schema)
    group.command()(show)
    return group


def check(
    file: FileArgument = None,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Check the configuration and the files it names.

    Looks at the file, at GATEWATCH_* and OTEL_* variables and at --set, and prints every problem
    as file:line:column. The exit code is 1 if there is one.
    """
    from service.checking import doubts

    file = _one_of(file, config)
    problems: list[Problem] = []
    warnings: list[Problem] = []
    read: Path | None = file
    try:
        loaded = options.load(file, settings)
        read = loaded.file
        problems = _problems_of(loaded)
        warnings = [loaded.located(doubt) for doubt in doubts(loaded.settings)]
    except ConfigurationError as error:
        problems += error.problems
    if as_json:
        listed = problems_as_data(warnings)["problems"]
        write_json({**problems_as_data(problems), "warnings": listed})
    else:
        write_warnings(warnings)
        write_problems(problems)
        if not problems:
            write_line(f"{read or 'defaults (there is no gatewatch.yaml here)'}: good")
    if problems:
        raise typer.Exit(EXIT_FAILED)


def schema() -> None:
    """Print every key of the file, as a JSON schema.

    It says what each key means, what it takes and what its default is. Editors can use it.
    """
    from service.config.shapes import settings_schema

    write_json(settings_schema())


def show(
    file: FileArgument = None,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Print the settings in effect, as YAML.

    Behind each value that is not a default stands where it was set. Secrets are hidden.
    """
    from service.config.show import as_yaml, plain

    loaded = options.load(_one_of(file, config), settings)
    if as_json:
        write_json(plain(loaded.settings))
    else:
        write_yaml(as_yaml(loaded))


def _one_of(file: Path | None, config: Path | None) -> Path | None:
    if file is not None and config is not None:
        raise typer.BadParameter(f"{file} is given as well; name one file", param_hint="--config")
    return file or config


def _problems_of(loaded: LoadedSettings) -> list[Problem]:
    """Return what a process with these settings would be refused for."""
    from alerts.clock import SystemClock
    from alerts.promql.engine import Engine
    from alerts.series.store import SeriesStore
    from service.checking import read_configured

    settings = loaded.settings
    store = SeriesStore(clock=SystemClock(), retention_s=settings.alerts.retention)
    engine = Engine(store, features=settings.alerts.promql_features)
    try:
        read_configured(settings, engine=engine, environment=os.environ)
    except ConfigurationError as error:
        return list(error.located(loaded.located).problems)
    return []
