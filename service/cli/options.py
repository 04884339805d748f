"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alerts.errors import Problem

if TYPE_CHECKING:
    from service.config.settings import Settings
    from service.config.sources import LoadedSettings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration. Unset: gatewatch.yaml, if it is here.",
        show_default=False,
    ),
]

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting, such as gateway.port=9000; can be repeated.",
        show_default=False,
    ),
]

JSONOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def load(
    file: Path | None, overrides: Sequence[str] | None, options: Mapping[str, str] | None = None
) -> LoadedSettings:
    """Load the settings as the command line and the environment of this process say.

    Args:
        file: What ``--config`` says.
        overrides: What ``--set`` says.
        options: Options that are short for an override, with that override.

    Raises:
        ConfigurationError: Lists every problem.
    """
    from service.config.sources import load_settings

    return load_settings(file, environ=os.environ, overrides=overrides or (), options=options or {})


class Configuration:
    """The settings of a process that reads them again, and the places of those read last."""

    def __init__(
        self, file: Path | None, overrides: Sequence[str], options: Mapping[str, str]
    ) -> None:
        """Read them; arguments as ``load``.

        Raises:
            ConfigurationError: Lists every problem.
        """
        self._file = file
        self._overrides = overrides
        self._options = options
        self._loaded = load(file, overrides, options)

    @property
    def settings(self) -> Settings:
        """The settings that were read last."""
        return self._loaded.settings

    def reread(self) -> Settings:
        """Read them again.

        Raises:
            ConfigurationError: Lists every problem; those read before stay.
        """
        self._loaded = load(self._file, self._overrides, self._options)
        return self._loaded.settings

    def located(self, problem: Problem) -> Problem:
        """Return a problem with one of them at the place where it was given."""
        return self._loaded.located(problem)
