"""The processes of a benchmark: what they use and print, and that none outlives it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 60.0
_LINE_BYTES: Final = 1 << 20


class Child:
    """A process of this benchmark."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def cpu_s(self) -> float:
        """CPU seconds since it began, of all its threads."""
        # As clock_getcpuclockid(3) makes it: /proc counts in steps of 10 ms.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else float("nan")

    async def lines(self) -> AsyncIterator[str]:
        """Return what it prints, line by line."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            yield line.decode().rstrip("\n")

    async def line(self) -> str:
        """Return the next line it prints."""
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.lines():
                return line
        raise SystemExit(f"a program of the benchmark ended: {await self.process.wait()}")


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _die_with_parent() -> None:
    """Have the kernel end a child when this process is gone, however it went."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


@asynccontextmanager
async def running(
    *command: str | Path, log: Path | None = None, core: int | None = None
) -> AsyncIterator[Child]:
    """Run a program until the end of the block, its output to be read here or in a file.

    Args:
        command: What to run.
        log: Where its output goes; None: it is read here.
        core: The only core that it runs on; None: all that this process may use.
    """

    def prepare() -> None:
        _die_with_parent()
        if core is not None:
            os.sched_setaffinity(0, {core})

    with ExitStack() as files:
        output = asyncio.subprocess.PIPE if log is None else files.enter_context(log.open("wb"))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=None if log is None else output,
            preexec_fn=prepare,
            limit=_LINE_BYTES,
        )
        try:
            yield Child(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
