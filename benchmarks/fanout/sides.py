"""The programs that ``benchmarks/fanout.py`` compares: how each is run and told to publish."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.fanout.reader import MARK, Handshake
from benchmarks.processes import Child, free_port, running

HERE: Final = Path(__file__).parent
TEXT: Final = "x" * 78 + MARK.decode()
DATA: Final = json.dumps({"text": TEXT}, separators=(",", ":"))
KEY: Final = "benchmark"
START_TIMEOUT_S: Final = 60.0
_CENTRIFUGE: Final = Handshake(
    path="/connection/websocket",
    hello='{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}',
    ready='"subscribe"',
)
_BARE: Final = Handshake(path="/", hello="", ready="ready")
_SOCKETIO: Final = Handshake(
    path="/socket.io/?EIO=4&transport=websocket", hello="40", ready='40{"sid"'
)


class Publisher:
    """Sends publications as one ``batch`` request of Centrifugo's API, which all servers take."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._requests: dict[int, bytes] = {}
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Take a fresh connection: servers close those that were idle for a while."""
        self.close()
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._writer is not None:
            self._writer.close()

    async def publish(self, count: int) -> None:
        """Publish so many messages in one request."""
        if count not in self._requests:
            command = f'{{"publish":{{"channel":"news","data":{DATA}}}}}'
            body = f'{{"commands":[{",".join([command] * count)}]}}'
            self._requests[count] = _request("batch", body)
        status, body = await self._answer(self._requests[count])
        assert status == 200 and '"error"' not in body, body[:500]

    async def wait_for_start(self) -> None:
        """Return when the server no longer says that it is starting."""
        while (await self._answer(_request("info", "{}")))[0] == 503:
            await asyncio.sleep(0.05)

    async def _answer(self, request: bytes) -> tuple[int, str]:
        assert self._writer is not None
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.lower().split(b"\r\n")
        if b"transfer-encoding: chunked" in lines:
            body = await self._chunks()
        else:
            (length,) = (line[15:] for line in lines if line.startswith(b"content-length:"))
            body = await self._reader.readexactly(int(length))
        return int(status.split()[1]), body.decode()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body


def _request(method: str, body: str) -> bytes:
    head = (
        f"POST /api/{method} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        child: Its process.
        port: Where subscribers connect.
        publisher: Has it publish.
    """

    child: Child
    port: int
    publisher: Publisher


Start = Callable[[Path, int | None], AbstractAsyncContextManager[Server]]
"""Runs a server, with a folder of its own and on one core, until the end of the block."""


@dataclass(frozen=True, slots=True)
class Side:
    """One line of each table.

    Attributes:
        key: Its name on the command line.
        name: Its name in the tables.
        handshake: How its subscribers subscribe.
        start: Runs it.
        missing: Why it cannot be run here; empty: it can.
    """

    key: str
    name: str
    handshake: Handshake
    start: Start
    missing: str = ""


def peer(key: str, name: str, module: str, handshake: Handshake) -> Side:
    """Return a side that ``peers.py`` runs."""

    @asynccontextmanager
    async def start(_: Path, core: int | None) -> AsyncIterator[Server]:
        async with running(sys.executable, HERE / "peers.py", key, core=core) as child:
            port, api_port = map(int, (await child.line()).split())
            async with publisher_of(api_port) as publisher:
                yield Server(child, port, publisher)

    found = importlib.util.find_spec(module) is not None
    missing = "" if found else f"{module} is not installed: pip install 'gatewatch[bench]'"
    return Side(key, name, handshake, start, missing)


def gatewatch(key: str, name: str, settings: Mapping[str, Any]) -> Side:
    """Return a side that is ``gatewatch serve`` with settings."""

    @asynccontextmanager
    async def start(folder: Path, core: int | None) -> AsyncIterator[Server]:
        port, operations = free_port(), free_port()
        gateway = {
            "port": port,
            "api_key": KEY,
            "allow_anonymous": True,
            "max_connections": 20_000,
            "ping_interval": "3600s",  # pings would be noise; those of the others are off as well
            "idle_timeout": "7200s",
        }
        listeners = {"gateway": gateway, "operations": {"port": operations}}
        config = {"service": {"data_dir": str(folder)}, **listeners, **settings}
        (folder / "gatewatch.yaml").write_text(json.dumps(config))
        command = (Path(sys.executable).with_name("gatewatch"), "serve", "--config")
        log = folder / "log"
        async with (
            running(*command, folder / "gatewatch.yaml", log=log, core=core) as child,
            publisher_of(port, log) as publisher,
        ):
            await publisher.wait_for_start()
            yield Server(child, port, publisher)

    return Side(key, name, _CENTRIFUGE, start)


def centrifugo(program: Path | str) -> Side:
    """Return the side that is Centrifugo, or says why it is not there."""

    @asynccontextmanager
    async def start(folder: Path, core: int | None) -> AsyncIterator[Server]:
        port = free_port()
        options = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}
        config = {
            "http_server": {"address": "127.0.0.1", "port": port},
            "client": {
                "allow_anonymous_connect_without_token": True,
                "ping_interval": "3600s",
            },
            "channel": {"without_namespace": options},
            "http_api": {"key": KEY},
            "log": {"level": "error"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        log = folder / "log"
        command = (program, "--config", folder / "config.json")
        async with (
            running(*command, log=log, core=core) as child,
            publisher_of(port, log) as publisher,
        ):
            yield Server(child, port, publisher)

    missing = "" if isinstance(program, Path) else program
    return Side("centrifugo", "Centrifugo", _CENTRIFUGE, start, missing)


@asynccontextmanager
async def publisher_of(port: int, log: Path | None = None) -> AsyncIterator[Publisher]:
    """Connect to a server as soon as it listens."""
    publisher = Publisher(port)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                with suppress(ConnectionRefusedError):
                    await publisher.connect()
                    break
                await asyncio.sleep(0.05)
    except TimeoutError:
        ending = "" if log is None else end_of(log)
        raise SystemExit(f"a server does not start: {ending}") from None
    try:
        yield publisher
    finally:
        publisher.close()


def end_of(log: Path) -> str:
    """Return the last of what a program wrote."""
    return log.read_text(errors="replace")[-1000:]


def all_sides(sink: str, program: Path | str) -> tuple[Side, ...]:
    """Return every side, in the order of the tables.

    Args:
        sink: URL of an OTLP receiver.
        program: Centrifugo, or why there is none.
    """
    sent = {"otlp": {"endpoint": sink}}
    few = {"telemetry": {**sent, "sampling": 0.01}}
    quiet = {"sampling": 0.0, "collect_interval": "3600s", "log_level": "error"}
    off = {"telemetry": quiet, "alerts": {"default_rules": False}}
    each = {**few, "batching": {"max_messages": 1}}
    return (
        gatewatch("gatewatch", "gatewatch", few),
        gatewatch("all-traces", "gatewatch, all traced", {"telemetry": sent}),
        gatewatch("quiet", "gatewatch, telemetry off", off),
        gatewatch("one-by-one", "gatewatch, a frame each", each),
        peer("aiohttp", "aiohttp `send_str`", "aiohttp", _BARE),
        peer("websockets", "websockets `broadcast`", "websockets", _BARE),
        peer("socketio", "python-socketio", "socketio", _SOCKETIO),
        centrifugo(program),
    )
