"""What telemetry costs: CPU per delivered message with more and less of it, in one run.

    python benchmarks/telemetry.py [--subscribers 100] [--seconds 5] [--rounds 6]
    python benchmarks/telemetry.py --soak 600

Every mode is a gatewatch of its own with the same subscribers; all of them run from beginning to
end, and one after the other, in another order each round, is published to over HTTP as fast as it
answers. What counts is what all threads of a process use, telemetry's included, for each message
that comes out of a socket: CPU time, and instructions where the processor counts them, which depend
less on what else a machine does. Collectors are processes that take everything at once, or answer
after ten seconds; the one that is away refuses connections. With ``--soak`` a process whose
collector is away is published to for so many seconds, everything traced, and its memory is printed.

Linux only, as it reads /proc. Ratios matter; the absolute figures belong to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from benchmarks.instructions import Instructions
from benchmarks.processes import Child, running

API_KEY: Final = "key"
DATA: Final = {"text": "x" * 80}
IN_FLIGHT: Final = 8
SLOW_S: Final = 10.0
SETTLE_S: Final = 0.2
_UPGRADE: Final = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_HELLO: Final = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'
_PUBLICATION: Final = b'"pub"'


@dataclass(frozen=True)
class Mode:
    """How much telemetry, and where it goes.

    Attributes:
        name: Its line in the table.
        collector: present, away or slow; empty: nothing is sent.
        sampling: Share of traces.
        environ: More variables.
    """

    name: str
    collector: str = ""
    sampling: float = 0.0
    environ: Mapping[str, str] = field(default_factory=dict)


_NO_TRACES: Final = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
MODES: Final = (
    Mode("off", environ={"OTEL_SDK_DISABLED": "true"}),
    Mode("off again", environ={"OTEL_SDK_DISABLED": "true"}),
    Mode("metrics", "present", environ=_NO_TRACES),
    Mode("1 % traces", "present", 0.01),
    Mode("100 % traces", "present", 1.0),
    Mode("1 %, away", "away", 0.01),
    Mode("1 %, slow", "slow", 0.01),
    Mode("100 %, away", "away", 1.0),
    Mode("100 %, slow", "slow", 1.0),
)


@dataclass
class Side:
    """One mode's process, and what it came to in each round."""

    mode: Mode
    child: Child
    url: str
    reader: Child
    counter: Instructions | None
    instructions: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)

    @property
    def cpu_us(self) -> list[float]:
        """CPU microseconds per delivered message, by round."""
        return [s / count * 1e6 for s, count in zip(self.cpu_s, self.delivered, strict=True)]

    @property
    def work(self) -> list[float]:
        """Instructions per delivered message, by round."""
        return [n / count for n, count in zip(self.instructions, self.delivered, strict=True)]

    def executed(self) -> int:
        """Return how many instructions it has executed; 0 where that is not known."""
        return 0 if self.counter is None else self.counter.read()

    @property
    def per_second(self) -> float:
        """Delivered messages per second."""
        return sum(self.delivered) / sum(self.wall_s)

    async def received(self) -> int:
        """Return how many messages its subscribers have received."""
        assert self.reader.process.stdin is not None
        self.reader.process.stdin.write(b"\n")
        return int(await self.reader.line())


async def main(options: argparse.Namespace) -> None:
    """Measure and print the table."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = {
            "": "",
            "present": await stack.enter_async_context(sink(0.0)),
            "slow": await stack.enter_async_context(sink(SLOW_S)),
            "away": "http://127.0.0.1:1",
        }
        http = await stack.enter_async_context(aiohttp.ClientSession())
        modes = MODES if not options.soak else (Mode("100 %, away", "away", 1.0),)
        sides = [
            await stack.enter_async_context(
                side(mode, addresses[mode.collector], folder, options.subscribers)
            )
            for mode in modes
        ]
        if options.soak:
            await soak(http, sides[0], options)
            return
        for one in sides:  # what is only done once is not measured
            await publish(http, one, 1.0)
        order = list(sides)
        for number in range(options.rounds):
            random.Random(number).shuffle(order)
            for one in order:
                await measure(http, one, options)
        report(sides, options)


async def measure(http: aiohttp.ClientSession, one: Side, options: argparse.Namespace) -> None:
    """Publish to one process for a while."""
    before, executed = await one.received(), one.executed()
    cpu_s, began_s = one.child.cpu_s, time.perf_counter()
    published = await publish(http, one, options.seconds)
    wall_s = time.perf_counter() - began_s
    expected = before + published * options.subscribers
    while (received := await one.received()) < expected:
        await asyncio.sleep(0.01)
    assert received == expected, f"{received} received, {expected} published"
    # A round ends when what it caused has been sent, as far as that is done at once.
    await asyncio.sleep(SETTLE_S)
    one.instructions.append(one.executed() - executed)
    one.cpu_s.append(one.child.cpu_s - cpu_s)
    one.wall_s.append(wall_s)
    one.delivered.append(received - before)


async def publish(http: aiohttp.ClientSession, one: Side, seconds: float) -> int:
    """Publish from several callers, each its next when the one before is answered."""
    until_s = time.perf_counter() + seconds
    body = json.dumps({"channel": "news", "data": DATA}).encode()
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}

    async def caller() -> int:
        published = 0
        while time.perf_counter() < until_s:
            async with http.post(f"{one.url}/api/publish", data=body, headers=headers) as answer:
                assert await answer.read() == b'{"result":{}}'
            published += 1
        return published

    return sum(await asyncio.gather(*(caller() for _ in range(IN_FLIGHT))))


def report(sides: list[Side], options: argparse.Namespace) -> None:
    """Print the table."""
    off = sides[0]
    counts = "instructions" if off.counter is not None else "CPU time"
    print(
        f"{options.subscribers} subscribers, {options.rounds} rounds of {options.seconds:g} s; "
        f"shares are of {counts} per delivered message\n"
    )
    print(
        f"{'mode':<14}{'share':>8}{'quartiles':>14}{'instr./msg':>12}{'CPU us/msg':>12}"
        f"{'msgs/s':>10}{'MiB':>6}"
    )
    for one in sides:
        low, middle, high = shares(one, off)
        print(
            f"{one.mode.name:<14}{middle:>8.3f}{f'{low:.3f}-{high:.3f}':>14}"
            f"{statistics.median(one.work):>12,.0f}{statistics.median(one.cpu_us):>12.2f}"
            f"{one.per_second:>10,.0f}{one.child.memory_mib:>6.0f}"
        )


def shares(one: Side, off: Side) -> tuple[float, float, float]:
    """Return how many times as much a mode needs as none: quartiles of the rounds."""
    is_counted = off.counter is not None
    mine, theirs = (one.work, off.work) if is_counted else (one.cpu_us, off.cpu_us)
    found = [a / b for a, b in zip(mine, theirs, strict=True)]
    low, middle, high = statistics.quantiles(found, n=4) if len(found) > 1 else found * 3
    return low, middle, high


async def soak(http: aiohttp.ClientSession, one: Side, options: argparse.Namespace) -> None:
    """Publish for long while the collector is away, and print what memory does."""
    print(f"collector away, everything traced, {options.soak:g} s\n")
    print(f"{'seconds':>8}{'published':>12}{'MiB':>7}")
    published, began_s = 0, time.perf_counter()
    while (passed_s := time.perf_counter() - began_s) < options.soak:
        published += await publish(http, one, min(options.soak / 20, options.soak - passed_s))
        passed_s = time.perf_counter() - began_s
        print(f"{passed_s:>8.0f}{published:>12,}{one.child.memory_mib:>7.0f}", flush=True)


@asynccontextmanager
async def side(mode: Mode, collector: str, folder: Path, subscribers: int) -> AsyncIterator[Side]:
    """Run a gatewatch of a mode with its subscribers."""
    own = folder / mode.name.replace(" ", "").replace("%", "").replace(",", "-")
    own.mkdir()
    settings = {
        "gateway": {
            "port": 0,
            "allow_anonymous": True,
            "api_key": API_KEY,
            "ping_interval": "1h",
            "idle_timeout": "2h",  # subscribers only read
        },
        "operations": {"port": 0},
        "telemetry": {"sampling": mode.sampling, "otlp": {"endpoint": collector}},
    }
    config = own / "gatewatch.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    log = own / "log"
    variables = [f"{name}={value}" for name, value in mode.environ.items()]
    command = ("env", "-C", own, *variables, Path(sys.executable).with_name("gatewatch"))
    async with running(*command, "serve", "--config", config, log=log) as child:
        url = await announced(log)
        port = url.rpartition(":")[2]
        arguments = ("--read", port, "--subscribers", str(subscribers))
        async with running(sys.executable, Path(__file__), *arguments) as reader:
            assert await reader.line() == "subscribed"
            counter = Instructions.of(child.process.pid)
            yield Side(mode, child, url, reader, counter)
            if counter is not None:
                counter.close()


async def announced(log: Path) -> str:
    """Return where the gateway of a log listens, once it says so."""
    for _ in range(1000):
        for line in (await asyncio.to_thread(log.read_text)).splitlines():
            if line.startswith("{"):
                message = json.loads(line).get("message", "")
                if message.startswith("gateway on "):
                    url: str = message.split()[2].rstrip(",")
                    return url
        await asyncio.sleep(0.05)
    raise SystemExit(f"gatewatch did not start: {await asyncio.to_thread(log.read_text)}")


@asynccontextmanager
async def sink(delay_s: float) -> AsyncIterator[str]:
    """Run a collector and give its URL."""
    async with running(sys.executable, Path(__file__), "--sink", str(delay_s)) as child:
        yield f"http://127.0.0.1:{await child.line()}"


async def be_a_sink(delay_s: float) -> None:
    """Take what comes and throw it away."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(delay_s)
        return web.Response(content_type="application/x-protobuf")

    application = web.Application(client_max_size=1 << 26)
    application.router.add_post("/v1/{signal}", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def be_a_reader(port: int, subscribers: int) -> None:
    """Subscribe, count what comes, and print the count whenever a line is read."""
    selector = selectors.DefaultSelector()
    for _ in range(subscribers):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(_UPGRADE)
        peer.sendall(bytes([0x81, 0x80 | len(_HELLO)]) + b"\0\0\0\0" + _HELLO)
        answer = b""
        while b'"id":2' not in answer:
            answer += peer.recv(1 << 16)
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ, bytearray())
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("subscribed", flush=True)
    count, overlap = 0, len(_PUBLICATION) - 1
    while True:
        for key, _ in selector.select():
            if not isinstance(key.fileobj, socket.socket):
                if not sys.stdin.readline():
                    return
                print(count, flush=True)
                continue
            received = key.fileobj.recv(1 << 20)
            assert received, "a subscriber was cut off"
            joined = bytes(key.data) + received
            count += joined.count(_PUBLICATION)
            key.data[:] = joined[-overlap:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one mode in one round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--soak", type=float, default=0.0, help="seconds without a collector")
    parser.add_argument("--sink", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sink is not None:
        asyncio.run(be_a_sink(arguments.sink))
    elif arguments.read is not None:
        be_a_reader(arguments.read, arguments.subscribers)
    else:
        asyncio.run(main(arguments))
