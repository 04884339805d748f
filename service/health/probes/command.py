"""The command probe: a program that ends with code 0."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from alerts.clock import Clock
from service.config.hiding import is_telling
from service.config.service_probe_settings import CommandProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes import attributes as names
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.state import ProbeResult

MAX_OUTPUT_BYTES = 64 * 1024
"""What is kept of the output; the rest is read and forgotten."""

_SHOWN = 200
_INHERITED = ("PATH", "HOME", "LANG", "TZ")


class CommandProbe:
    """Runs a program in a process group of its own, which is killed when the run ends."""

    def __init__(
        self,
        settings: CommandProbeSettings,
        *,
        clock: Clock,
        environment: Mapping[str, str],
        expectations: Expectations,
    ) -> None:
        self._settings = settings
        self._clock = clock
        # Not all of ours: there may be secrets in it, such as GATEWATCH_GATEWAY__API_KEY.
        inherited = {name: environment[name] for name in _INHERITED if name in environment}
        self._environment = {**inherited, **settings.environment}
        secrets = (value for name, value in settings.environment.items() if is_telling(name))
        self._expectations = Expectations(expectations.conditions, tuple(filter(None, secrets)))

    @property
    def target(self) -> str:
        """Return the program; its arguments may hold secrets."""
        return f"command {shlex.quote(self._settings.argv[0])}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Run it once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        settings = self._settings
        run.connected, run.awaited = True, "end of the program"
        try:
            code, output, complaint = await _execute(
                settings.argv, self._environment, settings.directory
            )
        except (OSError, ValueError) as error:
            raise ProbeError(Fault(f"it cannot be run: {error}", "command")) from error
        run.status, run.body = code, output
        run.attributes[names.EXIT_CODE] = code
        said = _first_line(output)
        if code != 0:
            how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
            why = _first_line(complaint) or said
            reason = f"{how}: {why}" if why else how
            raise ProbeError(Fault(reason, "exit_code", Placeholder.STATUS))
        return said


async def _execute(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path | None
) -> tuple[int, bytes, bytes]:
    """Return exit code, output and error output; whatever the program started is killed.

    Raises:
        OSError: The program cannot be started.
    """
    # Pipes of our own, as asyncio waits with those it makes until nobody holds them open, and
    # what the program started may do so for ever.
    async with _Pipe() as output, _Pipe() as complaint:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output.inlet,
            stderr=complaint.inlet,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
        output.close_inlet()
        complaint.close_inlet()
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            _kill_group(process.pid)
            await process.wait()
            raise
        _kill_group(process.pid)
        return code, await output.read(), await complaint.read()


class _Pipe:
    """A pipe whose outlet is read all the time, and kept up to a limit; a context manager."""

    def __init__(self) -> None:
        self._outlet, self.inlet = os.pipe()
        self._kept = bytearray()
        self._transport: asyncio.ReadTransport | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        reader = asyncio.StreamReader()
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._outlet, "rb", 0)
        )
        self._task = asyncio.create_task(self._drain(reader))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close_inlet()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._transport is not None:
            self._transport.close()

    def close_inlet(self) -> None:
        """Leave the inlet to those who have it as well."""
        if self.inlet >= 0:
            os.close(self.inlet)
            self.inlet = -1

    async def read(self) -> bytes:
        """Return what came, once nobody can write any more."""
        if self._task is not None:
            await self._task
        return bytes(self._kept)

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(MAX_OUTPUT_BYTES):
            self._kept += data[: MAX_OUTPUT_BYTES - len(self._kept)]


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody of it is left
        os.killpg(leader, signal.SIGKILL)


def _first_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[0][:_SHOWN] if lines else ""
