"""The tree of commands, and what becomes of their errors."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from alerts.errors import AlertsError, DocumentError
from service.cli import config, health, notify, query, routes, rules, running, token
from service.cli.output import EXIT_FAILED, EXIT_USAGE, write_error, write_line, write_problems
from service.errors import ConfigurationError, GatewatchError

_NEGATION: Final = re.compile(r"-[^-ch]")
"""What no option of ``gatewatch query`` looks like."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Everything after the name of the command; None takes the process's own.

    Returns:
        The exit code. An error that a user can cause is printed to stderr, one line for each
        problem; anything else is a fault of ours and keeps its traceback.
    """
    command = typer.main.get_command(build())
    try:
        command(args=arguments, prog_name="gatewatch")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else EXIT_FAILED
        if code == EXIT_USAGE:
            _hint(sys.argv[1:] if arguments is None else arguments)
        return code
    except (ConfigurationError, DocumentError) as error:
        write_problems(error.problems)
        return EXIT_USAGE
    except (GatewatchError, AlertsError) as error:
        write_error("gatewatch", str(error))
        return EXIT_FAILED
    return 0


def _hint(arguments: Sequence[str]) -> None:
    """Say how an expression is given that looks like an option, such as ``-up``."""
    if arguments[:1] == ["query"]:
        lookalike = next((text for text in arguments if _NEGATION.match(text)), None)
        if lookalike is not None:
            example = f"gatewatch query -- {shlex.quote(lookalike)}"
            write_error("gatewatch", f"an expression that begins with - stands after --: {example}")


def build() -> typer.Typer:
    """Return the tree of commands."""
    tree = typer.Typer(
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="A real-time message gateway that watches itself.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    tree.callback()(_common)
    tree.command("serve")(running.serve)
    tree.command("demo")(running.demo)
    tree.add_typer(config.build(), name="config")
    tree.add_typer(rules.build(), name="rules")
    tree.add_typer(routes.build(), name="routes")
    tree.add_typer(notify.build(), name="notify")
    tree.add_typer(health.build(), name="health")
    tree.command("query")(query.query)
    tree.command("token")(token.token)
    return tree


def _print_version(wanted: bool) -> None:
    if wanted:
        write_line(f"gatewatch {importlib.metadata.version('gatewatch')}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """A real-time message gateway that watches itself."""
