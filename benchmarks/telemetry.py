"""What telemetry costs: work per delivered message with more and less of it, in one run.

    python benchmarks/telemetry.py [--subscribers 100] [--messages 400] [--rounds 6]
    python benchmarks/telemetry.py --only "off again; 1 % traces"
    python benchmarks/telemetry.py --soak 600

Every mode is a gatewatch of its own with the same subscribers; all of them run from beginning to
end, and one after the other, in another order each round, is published to over HTTP. What counts is
what all threads of a process use, telemetry's included, for each message that comes out of a
socket: instructions where the processor counts them, those of the kernel left out as it works for
the neighbours too; else CPU time. A round lasts until its spans were exported.

What a process does by itself, collecting metrics among it, depends on time and not on messages. A
second process of each mode, which is left alone after the first messages, tells how much it is; the
one that is published to collects no metrics in between. It is shared out to the messages as if
``--rate`` of them were delivered a second, in every mode alike. Else a round would be dear because
it was slow, or because a collection fell into it.

Collectors are processes that take everything at once, or answer after ten seconds; the one that is
away refuses connections. With ``--soak`` a process whose collector is away is published to for so
many seconds, everything traced, and its memory is printed.

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
SLOW_S: Final = 10.0
USUAL: Final = "5s"
"""How often metrics are collected unless settings say otherwise."""
NEVER: Final = "1h"
SETTLE_S: Final = 1.3
"""Longer than a span waits for others before it is exported."""
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


@dataclass(frozen=True)
class Work:
    """What a process did, up to a moment or between two.

    Attributes:
        instructions: How many it executed; 0 where that is not known.
        cpu_s: CPU time it used.
        wall_s: Time that passed.
    """

    instructions: float
    cpu_s: float
    wall_s: float

    def __sub__(self, other: Work) -> Work:
        return Work(
            self.instructions - other.instructions,
            self.cpu_s - other.cpu_s,
            self.wall_s - other.wall_s,
        )

    def amount(self, *, counted: bool) -> float:
        """Return instructions, or CPU time."""
        return self.instructions if counted else self.cpu_s


@dataclass(frozen=True)
class Subject:
    """A gatewatch and its subscribers.

    Attributes:
        child: It.
        url: Where it is published to.
        reader: The process of its subscribers.
        counter: Counts what it executes; None: that is not known.
    """

    child: Child
    url: str
    reader: Child
    counter: Instructions | None

    def done(self) -> Work:
        """Return what it did since it began."""
        executed = 0 if self.counter is None else self.counter.read()
        return Work(executed, self.child.cpu_s, time.perf_counter())

    async def received(self) -> int:
        """Return how many messages its subscribers have received."""
        assert self.reader.process.stdin is not None
        self.reader.process.stdin.write(b"\n")
        return int(await self.reader.line())


@dataclass
class Side:
    """One mode, and what it came to.

    Attributes:
        mode: Which.
        busy: Is published to.
        alone: Is not.
        rounds: What the first did in each of its rounds.
        idle: What it did in between.
        left: Where it was when its last round ended.
        left_alone: Where the other was when it was left alone.
        published_s: How long publishing took, in each round.
        delivered: Messages in each round.
    """

    mode: Mode
    busy: Subject
    alone: Subject
    rounds: list[Work] = field(default_factory=list)
    idle: list[Work] = field(default_factory=list)
    left: Work | None = None
    left_alone: Work | None = None
    published_s: list[float] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)

    def by_itself(self, *, counted: bool) -> float:
        """Return what a process does in a second without messages."""
        assert self.left_alone is not None
        work = self.alone.done() - self.left_alone
        return work.amount(counted=counted) / work.wall_s

    def costs(self, rate: float, *, counted: bool) -> list[float]:
        """Return the work for each delivered message, by round, at so many of them a second."""
        idle = sum(each.amount(counted=counted) for each in self.idle)
        idle_per_s = idle / sum(each.wall_s for each in self.idle)
        shared_out = self.by_itself(counted=counted) / rate
        return [
            (work.amount(counted=counted) - idle_per_s * work.wall_s) / count + shared_out
            for work, count in zip(self.rounds, self.delivered, strict=True)
        ]

    @property
    def per_second(self) -> float:
        """Delivered messages per second."""
        return sum(self.delivered) / sum(self.published_s)


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
        modes = chosen(options.only) if not options.soak else (Mode("100 %, away", "away", 1.0),)
        sides = [
            await stack.enter_async_context(
                side(mode, addresses[mode.collector], folder, options.subscribers)
            )
            for mode in modes
        ]
        if options.soak:
            await soak(http, sides[0].alone, options)
            return
        for one in sides:  # what is only done once is not measured
            for each in (one.alone, one.busy):
                await publish(http, each, options.messages, options.in_flight)
            await asyncio.sleep(SETTLE_S)
            one.left, one.left_alone = one.busy.done(), one.alone.done()
        order = list(sides)
        for number in range(options.rounds):
            random.Random(number).shuffle(order)
            for one in order:
                await measure(http, one, options)
        report(sides, options)


def chosen(names: str | None) -> tuple[Mode, ...]:
    """Return the modes to measure, the first of them off."""
    if names is None:
        return MODES
    wanted = {name.strip() for name in names.split(";")}
    if unknown := wanted - {mode.name for mode in MODES}:
        raise SystemExit(f"--only: there is no mode {', '.join(sorted(unknown))}")
    return (MODES[0], *(mode for mode in MODES[1:] if mode.name in wanted))


async def measure(http: aiohttp.ClientSession, one: Side, options: argparse.Namespace) -> None:
    """Publish to one process, and note what it did in its turn and since the one before."""
    before, began = await one.busy.received(), one.busy.done()
    if one.left is not None:
        one.idle.append(began - one.left)
    await publish(http, one.busy, options.messages, options.in_flight)
    one.published_s.append(time.perf_counter() - began.wall_s)
    expected = before + options.messages * options.subscribers
    while (received := await one.busy.received()) < expected:
        await asyncio.sleep(0.01)
    assert received == expected, f"{received} received, {expected} published"
    await asyncio.sleep(SETTLE_S)
    one.left = one.busy.done()
    one.rounds.append(one.left - began)
    one.delivered.append(received - before)


async def publish(http: aiohttp.ClientSession, one: Subject, messages: int, in_flight: int) -> None:
    """Publish from several callers, each its next when the one before is answered."""
    left = messages
    body = json.dumps({"channel": "news", "data": DATA}).encode()
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with http.post(f"{one.url}/api/publish", data=body, headers=headers) as answer:
                assert await answer.read() == b'{"result":{}}'

    await asyncio.gather(*(caller() for _ in range(in_flight)))


def report(sides: list[Side], options: argparse.Namespace) -> None:
    """Print the table."""
    off = sides[0]
    counted = off.busy.counter is not None
    rate = float(options.rate)
    print(
        f"{options.subscribers} subscribers, {options.rounds} rounds of {options.messages} "
        f"messages, {options.in_flight} at once; shares are of "
        f"{'instructions' if counted else 'CPU time'} per delivered message, at {rate:,.0f} a "
        "second\n"
    )
    print(
        f"{'mode':<14}{'share':>8}{'quartiles':>14}{'instr./msg':>12}{'CPU us/msg':>12}"
        f"{'CPU by itself':>15}{'msgs/s':>10}{'MiB':>6}"
    )
    base = statistics.median(off.costs(rate, counted=counted))
    for one in sides:
        shares = [cost / base for cost in one.costs(rate, counted=counted)]
        low, middle, high = statistics.quantiles(shares, n=4) if len(shares) > 1 else shares * 3
        instructions = statistics.median(one.costs(rate, counted=True))
        cpu_us = statistics.median(one.costs(rate, counted=False)) * 1e6
        print(
            f"{one.mode.name:<14}{middle:>8.3f}{f'{low:.3f}-{high:.3f}':>14}"
            f"{instructions:>12,.0f}{cpu_us:>12.2f}{one.by_itself(counted=False):>15.2%}"
            f"{one.per_second:>10,.0f}{one.busy.child.memory_mib:>6.0f}"
        )


async def soak(http: aiohttp.ClientSession, one: Subject, options: argparse.Namespace) -> None:
    """Publish for long while the collector is away, and print what memory does."""
    print(f"collector away, everything traced, {options.soak:g} s\n")
    print(f"{'seconds':>8}{'published':>12}{'MiB':>7}")
    published, began_s, printed_s = 0, time.perf_counter(), 0.0
    while (passed_s := time.perf_counter() - began_s) < options.soak:
        await publish(http, one, options.messages, options.in_flight)
        published += options.messages
        if passed_s >= printed_s:
            print(f"{passed_s:>8.0f}{published:>12,}{one.child.memory_mib:>7.0f}", flush=True)
            printed_s += options.soak / 20


@asynccontextmanager
async def side(mode: Mode, collector: str, folder: Path, subscribers: int) -> AsyncIterator[Side]:
    """Run the two processes of a mode."""
    name = mode.name.replace(" ", "").replace("%", "").replace(",", "-")
    async with AsyncExitStack() as stack:
        busy, alone = [
            await stack.enter_async_context(
                subject(mode, collector, folder / f"{name}-{interval}", interval, subscribers)
            )
            for interval in (NEVER, USUAL)
        ]
        yield Side(mode, busy, alone)


@asynccontextmanager
async def subject(
    mode: Mode, collector: str, own: Path, interval: str, subscribers: int
) -> AsyncIterator[Subject]:
    """Run a gatewatch with its subscribers, which collects its metrics at an interval."""
    await asyncio.to_thread(own.mkdir)
    settings = {
        "gateway": {
            "port": 0,
            "allow_anonymous": True,
            "api_key": API_KEY,
            "ping_interval": "1h",
            "idle_timeout": "2h",  # subscribers only read
        },
        # Else how many messages share a frame depends on how fast they come.
        "batching": {"max_messages": 1},
        "operations": {"port": 0},
        "telemetry": {
            "sampling": mode.sampling,
            "collect_interval": interval,
            "otlp": {"endpoint": collector},
        },
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
            counter = Instructions.of(child.process.pid, with_kernel=False)
            yield Subject(child, url, reader, counter)
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
    parser.add_argument("--messages", type=int, default=400, help="of one mode in one round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--in-flight", type=int, default=16, help="messages published at once")
    parser.add_argument("--rate", type=float, default=50_000, help="deliveries a second")
    parser.add_argument("--only", help="modes, with semicolons between; off is always there")
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
