"""A foreign program as a child process: its output in lines, and its end with the block."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1024 * 1024,
    )
    child = Child(process)
    try:
        yield child
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await child.reading


async def run(
    *command: str | Path, folder: Path, given: str = "", environ: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Run a program to its end and return its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()
