"""The installed ``gatewatch`` command as a process: started, listened to, signalled, ended."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import aiohttp
import yaml

from tests.support.forked import ForkedCommand

T = TypeVar("T")

COMMAND: Final = Path(sys.executable).with_name("gatewatch")
"""The command as it was installed beside this interpreter."""
INSTALLED: Final = "GATEWATCH_TEST_INSTALLED"
"""Set in the environment: every start is one of the installed script."""
API_KEY: Final = "key-of-the-process"
START_TIMEOUT_S: Final = 40.0
_READY: Final = re.compile(r"gateway on (\S+), operations on (\S+)")
_POLL_S: Final = 0.02
BASE: Final[dict[str, Any]] = {
    "service": {"instance": "under-test"},
    "gateway": {
        "port": 0,
        "api_key": API_KEY,
        "allow_anonymous": True,
        "channels": {"allow_publish_for_subscriber": True},
    },
    "operations": {"port": 0},
    "telemetry": {"collect_interval": "250ms", "export_interval": "250ms"},
}
"""Settings of every process; a test adds its own."""


Command: TypeAlias = asyncio.subprocess.Process | ForkedCommand


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str
    seconds: float


class GatewatchProcess:
    """A running ``gatewatch serve``.

    Attributes:
        gateway_url: Where clients and back ends reach it.
        operations_url: Where operators reach it.
        http: Requests of the test.
        log: What it wrote to standard error so far, a JSON object for each line.
    """

    def __init__(self, process: Command, http: aiohttp.ClientSession) -> None:
        self.gateway_url = ""
        self.operations_url = ""
        self.http = http
        self.log: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._process = process
        self._grown = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    @property
    def websocket_url(self) -> str:
        """Where clients connect."""
        return self.gateway_url.replace("http://", "ws://") + "/connection/websocket"

    @property
    def api_url(self) -> str:
        """Where back ends call the server API."""
        return f"{self.gateway_url}/api"

    async def started(self) -> None:
        """Wait until it says where it listens, and is ready there."""

        def announced() -> re.Match[str] | None:
            found = (_READY.match(entry.get("message", "")) for entry in self.log)
            return next((match for match in found if match), None)

        try:
            async with asyncio.timeout(START_TIMEOUT_S), self._grown:
                await self._grown.wait_for(lambda: announced() or self._reading.done())
        except TimeoutError:
            raise AssertionError("it did not start:\n" + "\n".join(self.lines)) from None
        match = announced()
        assert match is not None, "it ended at once:\n" + "\n".join(self.lines)
        self.gateway_url, self.operations_url = match.groups()
        await eventually(self._is_ready, what="readiness")

    async def logged(self, message: str) -> None:
        """Wait until it has written a log line of a text."""
        async with asyncio.timeout(10), self._grown:
            await self._grown.wait_for(
                lambda: any(entry.get("message") == message for entry in self.log)
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def post(self, method: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Call the server API and return status and answer."""
        async with self.http.post(
            f"{self.api_url}/{method}", json=body, headers={"X-API-Key": API_KEY, **headers}
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.status == 200 else text

    async def publish(self, channel: str, data: Any, **headers: str) -> None:
        """Publish as a back end does, and expect success."""
        answer = await self.post("publish", {"channel": channel, "data": data}, **headers)
        assert answer == (200, {"result": {}})

    async def operations(self, path: str, **headers: str) -> str:
        """Return the body of a page of the operations listener."""
        async with self.http.get(self.operations_url + path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def end(self, number: signal.Signals | None = None, *, timeout_s: float = 30.0) -> Ended:
        """Send a signal, if one is given, and wait for the end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if number is not None:
            self.send(number)
        async with asyncio.timeout(timeout_s):
            code = await self._process.wait()
            seconds = loop.time() - began
            await self._reading
        return Ended(code, "", "\n".join(self.lines), seconds)

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _is_ready(self) -> bool:
        async with self.http.get(f"{self.operations_url}/health/ready") as answer:
            return answer.status == 200

    async def _read(self) -> None:
        """Keep standard error read, so that the process never waits for us."""
        assert self._process.stderr is not None
        try:
            async for raw in self._process.stderr:
                line = raw.decode().rstrip("\n")
                async with self._grown:
                    self.lines.append(line)
                    self.log += [json.loads(line)] if line.startswith("{") else []
                    self._grown.notify_all()
        finally:
            async with self._grown:
                self._grown.notify_all()


@asynccontextmanager
async def serving(
    directory: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[GatewatchProcess]:
    """Run ``gatewatch serve`` in a directory until the end of the block; it never outlives it."""
    config = write_settings(directory, settings or {})
    process = await start_command("serve", "--config", config, directory=directory, environ=environ)
    async with aiohttp.ClientSession() as http:
        running = GatewatchProcess(process, http)
        try:
            await running.started()
            yield running
        finally:
            await running.kill()


async def start_command(
    *arguments: str | Path, directory: Path, environ: Mapping[str, str] | None = None
) -> Command:
    """Start the command in a directory; whoever calls this ends it."""
    if INSTALLED not in os.environ:
        return await ForkedCommand.start(
            [str(argument) for argument in arguments],
            directory=directory,
            environ=clean_environ(environ),
        )
    return await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        cwd=directory,
        env=clean_environ(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )


async def run_command(
    *arguments: str | Path,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> Ended:
    """Run the command until it ends by itself."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    process = await start_command(*arguments, directory=directory, environ=environ)
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode(), loop.time() - began)


async def eventually(
    condition: Callable[[], Awaitable[T]], *, what: str, timeout_s: float = 10.0
) -> T:
    """Return what a condition returns once it is true: for what only another process knows."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not (result := await condition()):
        assert loop.time() < deadline, f"waited {timeout_s} s in vain for {what}"
        await asyncio.sleep(_POLL_S)
    return result


def write_settings(directory: Path, settings: Mapping[str, Any]) -> Path:
    """Write the configuration of a process and return its path."""
    path = directory / "gatewatch.yaml"
    path.write_text(yaml.safe_dump(_merged(BASE, settings), sort_keys=False), encoding="utf-8")
    return path


def clean_environ(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without anything that configures gatewatch, and with ``more``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GATEWATCH_", "OTEL_"))
    }
    return {**kept, **(more or {})}


def unused_port() -> int:
    """Return a port of loopback nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) else value
    return merged
