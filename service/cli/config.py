"""``gatewatch config``: check, describe and show the configuration."""

from __future__ import annotations

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
    write_yaml,
)
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.config.settings import AlertsSettings

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
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Check the configuration and the files it names.

    Looks at the file, at GATEWATCH_* variables and at --set, and prints every problem as
    file:line:column. The exit code is 1 if there is one.
    """
    problems: list[Problem] = []
    read: Path | None = file
    try:
        loaded = options.load(file, settings)
        read = loaded.file
        problems += _problems_of_named_files(loaded.settings.alerts)
    except ConfigurationError as error:
        problems += error.problems
    if as_json:
        write_json(problems_as_data(problems))
    elif problems:
        write_problems(problems)
    else:
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
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Print the settings in effect, as YAML.

    Behind each value that is not a default stands where it was set. Secrets are hidden.
    """
    from service.config.show import as_yaml, plain

    loaded = options.load(config, settings)
    if as_json:
        write_json(plain(loaded.settings))
    else:
        write_yaml(as_yaml(loaded))


def _problems_of_named_files(alerts: AlertsSettings) -> list[Problem]:
    """Return what is wrong with the files that the configuration names."""
    from alerts.routing.config import load_routing
    from alerts.rules.file import find_rule_files
    from service.channels import channel_reader
    from service.cli.rules import read_rules

    problems: list[Problem] = []
    try:
        read_rules(find_rule_files(alerts.rule_files, base_dir=Path()))
    except DocumentError as error:
        problems += error.problems
    if alerts.alertmanager_config is not None:
        try:
            load_routing(alerts.alertmanager_config, channels=channel_reader(alerts))
        except DocumentError as error:
            problems += error.problems
    return problems
