"""``gatewatch health``: run checks once, and take over those of Gatus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli import options
from service.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    write_error,
    write_problems,
    write_yaml,
)
from service.cli.running import run_to_end


def build() -> typer.Typer:
    """Return the command, which is a group as well."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=True)(health)
    group.command("import-gatus")(import_gatus)
    return group


def health(
    context: typer.Context,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check", metavar="NAME", help="Run this check; can be repeated.", show_default=False
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="GROUP",
            help="Run the checks of this group; can be repeated.",
            show_default=False,
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit", metavar="FILE", help="Write JUnit XML, for CI.", show_default=False
        ),
    ] = None,
) -> None:
    """Run health checks once, now. The exit code is 1 if one fails.

    All of them, if neither --check nor --group says which. Checks that wait for pushes are
    skipped.
    """
    if context.invoked_subcommand is not None:
        return
    loaded = options.load(config, settings)
    from service.health.command import NoSuchCheckError, Selection, show_checks
    from service.health.report import as_junit

    selection = Selection(check or (), group or ())
    try:
        outcomes = run_to_end(show_checks(loaded.settings, selection, json_output=as_json))
    except NoSuchCheckError as error:
        write_error("health", str(error))
        raise typer.Exit(EXIT_USAGE) from error
    if junit is not None:
        try:
            junit.write_bytes(as_junit(outcomes))
        except OSError as error:
            write_error(str(junit), f"cannot be written: {error.strerror}")
            raise typer.Exit(EXIT_USAGE) from error
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(EXIT_FAILED)


def import_gatus(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", show_default=False, help="A configuration file of Gatus."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write it. Unset: standard output.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the section health of gatewatch.yaml out of a configuration of Gatus.

    What cannot be carried over is said on standard error, with its line.
    """
    import yaml

    from alerts.documents import read_document
    from service.health.gatus.importing import import_gatus as carry_over

    imported = carry_over(read_document(file))
    text = yaml.safe_dump(
        {"health": imported.health}, sort_keys=False, allow_unicode=True, width=100
    )
    if output is None:
        write_yaml(text.rstrip("\n"))
    else:
        try:
            # There may be tokens and passwords in it.
            output.touch(mode=0o600)
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            write_error(str(output), f"cannot be written: {error.strerror}")
            raise typer.Exit(EXIT_USAGE) from error
    write_problems(imported.remarks)
