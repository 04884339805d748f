"""``gatewatch serve`` and ``demo``: the commands that run the service's parts."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer

from service.cli import options
from service.errors import ConfigurationError

Result = TypeVar("Result")


def serve(
    config: options.ConfigOption = None,
    port: Annotated[
        str | None,
        typer.Option(help="Short for --set gateway.port=N.", metavar="N"),
    ] = None,
    ops_port: Annotated[
        str | None,
        typer.Option(help="Short for --set operations.port=N.", metavar="N"),
    ] = None,
    settings: options.SetOption = None,
) -> None:
    """Run the gateway until it is told to stop (Ctrl-C or SIGTERM)."""
    # Text, so that what is no port is told as everywhere in the settings.
    ports = {"--port": ("gateway.port", port), "--ops-port": ("operations.port", ops_port)}
    given = {option: f"{key}={text}" for option, (key, text) in ports.items() if text is not None}
    configuration = options.Configuration(config, settings or (), given)
    from service.serving import serve as serve_settings

    work = serve_settings(configuration.settings, configuration.reread, configuration.located)
    try:
        code = run_to_end(work)
    except ConfigurationError as error:
        raise error.located(configuration.located) from error
    raise typer.Exit(code)


def demo() -> None:
    """Watch it all work, narrated, in about 15 seconds.

    Clients, a publisher, a check that fails, the alert, its webhook, and the end of the alert.
    Runs on free ports of this machine, needs nothing else, and ends by itself.
    """
    from service.demo import run_demo

    raise typer.Exit(run_to_end(run_demo()))


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, on uvloop where the platform has it."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)
