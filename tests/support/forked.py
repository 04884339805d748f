"""The command as a process of its own that need not import everything once more.

A start of the command is nearly all imports, and the tests start it hundreds of times. Here a
process that has them done is forked: it has a number, a directory, an environment, streams and
signals of its own like any other, and runs what the installed script runs. Tests of how a process
ends and of a first message (fixture ``installed`` of ``tests/e2e``) and those with programs from
elsewhere (``tests/external``) start it as it was installed.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import pkgutil
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final, Self

import alerts
import service
from service.cli import main

_LINE_LIMIT: Final = 1024 * 1024
_SCRIPTS_AND_THREADS: Final = (".__main__", ".migrations.env", ".grpc")
"""Modules that are run rather than imported, or start threads, which do not survive a fork."""
_MORE: Final = (
    *("alembic.command", "alembic.script", "jsonpath", "sqlalchemy.dialects.sqlite.aiosqlite"),
    *("rich.console", "rich.table", "uvloop"),
)
"""What the command's own modules import while they run."""


class ForkedCommand:
    """A command that runs; what it has of ``asyncio.subprocess.Process`` is the same there.

    Attributes:
        stdout: What it prints.
        stderr: What it logs.
    """

    def __init__(
        self, process: ForkServerProcess, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self._process = process
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._end)

    @classmethod
    async def start(
        cls, arguments: Sequence[str], *, directory: Path, environ: Mapping[str, str]
    ) -> Self:
        """Start the command in a directory, with an environment."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_imported())
        out, its_out = context.Pipe(duplex=False)
        err, its_err = context.Pipe(duplex=False)
        process = context.Process(
            target=_run,
            args=(list(arguments), directory, dict(environ), its_out, its_err),
            daemon=True,  # it never outlives the tests
        )
        # The first one waits for the imports.
        await asyncio.to_thread(process.start)
        for end in (its_out, its_err):
            end.close()
        return cls(process, await _reader(out), await _reader(err))

    @property
    def pid(self) -> int:
        """Its number in the system."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The code it ended with, the number of a signal below zero; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()

    async def wait(self) -> int:
        """Wait until it has ended and return the code."""
        await self._ended.wait()
        code = self.returncode
        assert code is not None
        return code

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait until it has ended and return what it printed and what it logged."""
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._ended.set()


def _imported() -> list[str]:
    """Return the names of the modules a forked process begins with."""
    own = [
        found.name
        for package in (alerts, service)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith(_SCRIPTS_AND_THREADS)
    ]
    return [__name__, *own, *_MORE]


async def _reader(connection: Connection) -> asyncio.StreamReader:
    """Return a stream of what comes out of a pipe."""
    pipe = os.fdopen(os.dup(connection.fileno()), "rb", buffering=0)
    connection.close()
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader


def _run(
    arguments: list[str], directory: Path, environ: dict[str, str], out: Connection, err: Connection
) -> None:
    """Become the command: what a process gets from who starts it, then what the script does."""
    for number, connection in ((1, out), (2, err)):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["gatewatch", *arguments]
    code = main(arguments)
    # The end of an interpreter, in its order; multiprocessing would wait for threads once more.
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
