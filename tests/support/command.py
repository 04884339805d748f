"""The installed command, run as its users run it: a process of its own."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from service.cli import main


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
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWATCH_")}
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=directory,
        env={**clean, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def gatewatch_inside(*arguments: str, directory: Path) -> Outcome:
    """Run the command in this process: much quicker, where a process of its own adds nothing."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(directory), redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return Outcome(code, out.getvalue(), err.getvalue())
