"""``gatewatch notify``: send a test alert to a receiver and say what came back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import options
from service.cli.output import EXIT_FAILED, EXIT_USAGE, write_error, write_json, write_line

if TYPE_CHECKING:
    from alerts.routing.model import RoutingConfig
    from service.config.settings import AlertsSettings


def build() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(
        help="Try out the receivers of alerts.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(_group)
    group.command("test")(test)
    return group


def _group() -> None:
    """Try out the receivers of alerts."""


def test(
    receiver: Annotated[
        str, typer.Argument(metavar="RECEIVER", show_default=False, help="Name of a receiver.")
    ],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Send an alert that has ended.")
    ] = False,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Send a marked test alert through every channel of a receiver, now.

    Shows what was sent, with secrets hidden, what came back, and what that means. Nothing is
    tried twice. The exit code is 1 if a channel fails, 2 if there is no such receiver.
    """
    from service.cli.trial import as_data, as_lines, run_notify_test

    loaded = options.load(config, settings).settings
    routing = _routing(loaded.alerts)
    found = routing.receivers.get(receiver)
    if found is None:
        known = ", ".join(sorted(routing.receivers)) or "none"
        write_error("notify", f"there is no receiver {receiver!r}; defined are {known}")
        raise typer.Exit(EXIT_USAGE)
    outcomes = asyncio.run(run_notify_test(loaded, routing, found, resolved=resolved))
    if as_json:
        write_json(as_data(receiver, outcomes))
    else:
        if not outcomes:
            write_line(f"{receiver} has no channels: {_without(logs=found.logs)}")
        for outcome in outcomes:
            for line in as_lines(outcome):
                write_line(line)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(EXIT_FAILED)


def _without(*, logs: bool) -> str:
    return "its alerts are written to the log" if logs else "its alerts go nowhere"


def _routing(alerts: AlertsSettings) -> RoutingConfig:
    from alerts.routing.config import load_routing
    from alerts.routing.model import log_routing
    from service.channels import channel_reader

    if alerts.alertmanager_config is None:
        return log_routing()
    return load_routing(alerts.alertmanager_config, channels=channel_reader(alerts))
