"""The command, run as its users run it: to its end, in a directory."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from service.cli import main
from tests.support.process import run_command


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


def gatewatch(
    *arguments: str, directory: Path, environ: Mapping[str, str] | None = None
) -> Outcome:
    """Run ``gatewatch`` in a directory, with nothing of our settings in its environment."""
    ended = asyncio.run(run_command(*arguments, directory=directory, environ=environ))
    return Outcome(ended.code, ended.out, ended.err)


def gatewatch_inside(*arguments: str, directory: Path) -> Outcome:
    """Run the command in this process: much quicker, where a process of its own adds nothing."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(directory), redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return Outcome(code, out.getvalue(), err.getvalue())
