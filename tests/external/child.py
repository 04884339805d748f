"""A foreign program as a child process: its output in lines, and its end with the block."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Child:
    """A running program, whose output is kept.

    Attributes:
        lines: What it wrote so far to standard output and standard error.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self._process = process
        self._grown = asyncio.Condition()
        self._ended = False
        self.reading = asyncio.create_task(self._read())

    async def send(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def line(self, after: int) -> str:
        """Return the line with this number, counted from 0, waiting for it."""
        try:
            async with asyncio.timeout(10), self._grown:
                await self._grown.wait_for(lambda: len(self.lines) > after or self._ended)
        except TimeoutError:
            raise AssertionError(f"nothing more after: {self.lines[-20:]}") from None
        assert len(self.lines) > after, f"it ended: {self.lines[-20:]}"
        return self.lines[after]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            async with self._grown:
                self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                self._grown.notify_all()
        async with self._grown:
            self._ended = True
            self._grown.notify_all()


@asynccontextmanager
async def running(
    *command: str | Path, folder: Path, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run a program until the end of the block; it never outlives it."""
    process = await _start(command, folder, environ)
    child = Child(process)
    try:
        yield child
    finally:
        await end(process)
        await child.reading


async def run(
    *command: str | Path,
    folder: Path,
    given: str = "",
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> tuple[int | None, str]:
    """Run a program to its end and return its exit code and output.

    Raises:
        TimeoutError: It took too long, and was ended.
    """
    process = await _start(command, folder, environ)
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate(given.encode())
    finally:
        await end(process)
    return process.returncode, output.decode(errors="replace")


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process and its children, which package managers and Go leave the work to."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _start(
    command: Sequence[str | Path], folder: Path, environ: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        limit=1024 * 1024,
    )
