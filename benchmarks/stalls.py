"""What holds the event loop, and for how long: callbacks, garbage collections, other threads.

    python benchmarks/stalls.py [--connections 1000] [--checks 100] [--rules 100] [--seconds 120]

A whole gatewatch runs in this process at default settings, every message traced and exported. A
second process is its clients (each subscribed to a channel, fifty to a channel), publishes to the
channels in turn over HTTP, answers its checks and takes its telemetry. All times but the last are
CPU time of the thread: on a machine that others use, the wall says little. They are measured

- around each callback of the loop, which is asyncio's own here, as uvloop's cannot be watched;
- around each garbage collection: all threads wait for it, whichever it runs in;
- around each call of C in other threads. While one lasts the loop waits for the interpreter's lock,
  unless the call gives the lock away: those that do (marked ``free``) read, write, compress or ask
  the database. Between calls the lock is given away every ``sys.getswitchinterval()`` seconds.

``--inside TEXT`` shows what callbacks do that have the text in their names. Watching other threads
makes them several times slower; ``--no-threads`` leaves them alone.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import io
import itertools
import json
import os
import pstats
import re
import sys
import tempfile
import threading
import time
from asyncio import events
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import aiohttp
from aiohttp import web

from benchmarks.processes import Child, running
from service.app import App
from service.config.settings import Settings
from service.pauses import short_pauses

SUBSCRIBERS: Final = 50
API_KEY: Final = "key"
SETTLED_AFTER_S: Final = 30.0
LATE_INTERVAL_S: Final = 0.02
_LEAST_S: Final = 0.0005
"""Shorter calls of C are not noted."""
_UPGRADE: Final = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PING: Final = b"\x81\x02{}"
_PONG: Final = b"\x81\x82\0\0\0\0{}"
_GIVES_LOCK: Final = re.compile(
    r"acquire|wait|sleep|join|select|poll|recv(_into)?|send(all)?|read(into)?|write|connect|execute"
    r"|executemany|commit|rollback|fetch(one|many|all)|compress|flush|fsync|getaddrinfo|replace"
)
_QUERIES: Final = (
    "sum by (job) (rate(gateway_messages_delivered_total[2m])) > {n}e9",
    "histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket[2m])))"
    " > {n}00",
    "max_over_time(process_memory_usage_bytes[5m]) > {n}e12",
    "sum by (check) (gateway_health_check_up) < -{n}",
    "count({{__name__=~'gateway_.+'}}) > {n}e6",
)


class Times:
    """CPU times in seconds, by what they were spent on."""

    def __init__(self) -> None:
        self._of: dict[str, list[float]] = defaultdict(list)

    def add(self, source: str, seconds: float) -> None:
        self._of[source].append(seconds)

    def clear(self) -> None:
        self._of.clear()

    def print(self, title: str, most: int) -> None:
        """Print a table, those with the longest time first."""
        print(f"\n{title:<66}{'count':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'sum ms':>10}")
        longest_first = sorted(self._of.items(), key=lambda item: -max(item[1]))
        for source, values in longest_first[:most]:
            values.sort()
            figures = (quantile(values, 0.5), quantile(values, 0.99), values[-1])
            print(
                f"{source[:65]:<66}{len(values):>8}"
                + "".join(f"{seconds * 1000:>9.2f}" for seconds in figures)
                + f"{sum(values) * 1000:>10.0f}"
            )


@dataclass
class Watched:
    """What is measured.

    Attributes:
        callbacks: Of the loop, without the collections in them.
        collections: Of garbage.
        calls: Of C, in other threads.
        collecting_s: What collections took of the loop's thread, all together.
        garbage: Objects that they found.
        inside: Which callbacks are looked into.
        profile: What those do.
    """

    inside: str
    callbacks: Times = field(default_factory=Times)
    collections: Times = field(default_factory=Times)
    calls: Times = field(default_factory=Times)
    collecting_s: float = 0.0
    garbage: int = 0
    profile: cProfile.Profile = field(default_factory=cProfile.Profile)

    def clear(self) -> None:
        """Begin again."""
        for times in (self.callbacks, self.collections, self.calls):
            times.clear()
        self.garbage = 0


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def callbacks_watched(watched: Watched) -> Iterator[None]:
    """Measure every callback of asyncio's loop."""
    run, clock = events.Handle._run, time.thread_time

    def run_watched(handle: events.Handle) -> None:
        source = source_of(handle)
        looked_into = bool(watched.inside) and watched.inside in source
        if looked_into:
            watched.profile.enable()
        began_s = clock() - watched.collecting_s
        try:
            run(handle)
        finally:
            seconds = clock() - watched.collecting_s - began_s
            if looked_into:
                watched.profile.disable()
            watched.callbacks.add(source, seconds)

    events.Handle._run = run_watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        events.Handle._run = run  # type: ignore[method-assign]


def source_of(handle: events.Handle) -> str:
    """Return what a callback is: of a task its coroutine and where that waits, else the name."""
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner, waiting = getattr(callback, "__self__", None), ""
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        job = owner.get_name().split()
        outer = " ".join(job[:2]) if job[0] == "job" else qualified_name(coroutine)
        while (inner := getattr(coroutine, "cr_await", None)) is not None:
            if hasattr(inner, "__qualname__"):
                waiting = qualified_name(inner)
            coroutine = inner
        return f"task {outer}" + (f" > {waiting}" if waiting else "")
    name = qualified_name(callback)
    return name if owner is None or "." in name else f"{type(owner).__name__}.{name}"


def qualified_name(thing: object) -> str:
    name = getattr(thing, "__qualname__", "") or type(thing).__name__
    return str(name)


@contextmanager
def collections_watched(watched: Watched) -> Iterator[None]:
    """Measure every garbage collection."""
    began_s = 0.0

    def collecting(phase: str, details: Mapping[str, int]) -> None:
        nonlocal began_s
        if phase == "start":
            began_s = time.thread_time()
            return
        seconds = time.thread_time() - began_s
        is_of_loop = threading.current_thread() is threading.main_thread()
        if is_of_loop:
            watched.collecting_s += seconds
        where = "loop" if is_of_loop else "thread"
        watched.collections.add(f"generation {details['generation']}, in the {where}", seconds)
        watched.garbage += details["collected"]

    gc.callbacks.append(collecting)
    try:
        yield
    finally:
        gc.callbacks.remove(collecting)


@contextmanager
def threads_watched(watched: Watched) -> Iterator[None]:
    """Measure the calls of C of all threads that start from now on."""
    state = threading.local()

    def called(frame: FrameType, event: str, function: object) -> None:
        if event == "c_call":
            state.began_s = time.thread_time()
            return
        began_s, state.began_s = getattr(state, "began_s", None), None
        if event == "call" or began_s is None:
            return  # a function of Python within the call: between its steps others have their turn
        seconds = time.thread_time() - began_s
        if seconds < _LEAST_S:
            return
        name = getattr(function, "__name__", "?")
        free = ", free" if _GIVES_LOCK.fullmatch(name) else ""
        thread = threading.current_thread().name.rstrip("0123456789_-")
        where = f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"
        watched.calls.add(f"{thread}: {name} in {where}{free}", seconds)

    threading.setprofile(called)
    try:
        yield
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]  # None is taken, typeshed lags


def thread_seconds() -> dict[str, float]:
    """Return the CPU seconds of the threads there are, by their names without numbers."""
    found: dict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.ident is not None:
            seconds = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
            found[thread.name.rstrip("0123456789_-")] += seconds
    return found


async def lateness(found: list[float]) -> None:
    """Note how late a timer is, in seconds of the wall."""
    while True:
        due_s = time.monotonic() + LATE_INTERVAL_S
        await asyncio.sleep(LATE_INTERVAL_S)
        found.append(time.monotonic() - due_s)


def settings(directory: Path, world: str, options: argparse.Namespace) -> Settings:
    """Return default settings with as many checks and rules as wanted."""
    rules = directory / "rules.yaml"
    rules.write_text(json.dumps({"groups": list(groups(options.rules))}))  # JSON is YAML
    checks = [
        {"name": f"check-{number}", "http": {"url": f"{world}/{number}"}, "interval": "10s"}
        for number in range(options.checks)
    ]
    return Settings.model_validate(
        {
            "service": {"data_dir": directory / "data"},
            "gateway": {"port": 0, "allow_anonymous": True, "api_key": API_KEY},
            "operations": {"port": 0},
            "health": {"checks": checks},
            "alerts": {"rule_files": [str(rules)]},
            "telemetry": {"log_level": "error", "otlp": {"endpoint": world}},
        }
    )


def groups(rules: int) -> Iterator[dict[str, Any]]:
    """Return groups of ten rules each."""
    for start in range(0, rules, 10):
        alerts = [
            {
                "alert": f"Alert{number}",
                "expr": _QUERIES[number % len(_QUERIES)].format(n=number + 1),
                "for": "1m",
            }
            for number in range(start, min(start + 10, rules))
        ]
        yield {"name": f"group {start}", "interval": "15s", "rules": alerts}


async def main(options: argparse.Namespace, watched: Watched) -> None:
    """Run it all and print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        async with running(sys.executable, Path(__file__), "--world") as world:
            url = await world.line()
            app = App(
                settings(Path(folder), url, options), environment={}, log_stream=io.StringIO()
            )
            with short_pauses():  # as the command
                async with app:
                    await populate(world, app.gateway_url, options)
                    await asyncio.sleep(SETTLED_AFTER_S)
                    await measure(app, options, watched)


async def populate(world: Child, url: str, options: argparse.Namespace) -> None:
    """Have the clients connect, and return when they have."""
    assert world.process.stdin is not None
    word = {"url": url, "connections": options.connections, "rate": options.rate}
    world.process.stdin.write(json.dumps(word).encode() + b"\n")
    assert await world.line() == "ready"


async def measure(app: App, options: argparse.Namespace, watched: Watched) -> None:
    """Watch for a while, and print what was seen."""
    late: list[float] = []
    before = thread_seconds()
    watched.clear()
    async with asyncio.TaskGroup() as tasks:
        timer = tasks.create_task(lateness(late))
        await asyncio.sleep(options.seconds)
        timer.cancel()
    threads = {name: seconds - before.get(name, 0.0) for name, seconds in thread_seconds().items()}
    collected = await app.telemetry.collection.collect_now()
    series = sum(len(point.values) for family in collected.families for point in family.points)
    print(
        f"{options.seconds:g} s with {options.connections} connections, {options.rate:g} "
        f"publications a second, {options.checks} checks, {options.rules} rules and those that "
        f"come along, {series} series; load of the machine {os.getloadavg()[0]:.1f}"
    )
    watched.callbacks.print("Callback of the loop, without collections", 20)
    watched.collections.print(f"Garbage collection ({watched.garbage} objects found)", 10)
    watched.calls.print("Thread: call of C", 20)
    print(f"\n{'Thread':<66}{'CPU ms/s':>9}")
    for name, seconds in sorted(threads.items(), key=lambda item: -item[1]):
        if seconds > 0:
            print(f"{name:<66}{seconds / options.seconds * 1000:>9.1f}")
    late.sort()
    print(
        "\nA timer was late by (wall)    "
        + ", ".join(
            f"p{share * 100:g} {quantile(late, share) * 1000:.1f} ms"
            for share in (0.5, 0.99, 0.999, 1.0)
        )
    )
    if options.inside:
        pstats.Stats(watched.profile).sort_stats("tottime").print_stats(30)


class Peer(asyncio.Protocol):
    """A client that subscribes and answers pings."""

    def __init__(self, channel: str) -> None:
        hello = json.dumps({"id": 1, "connect": {}}) + "\n"
        hello += json.dumps({"id": 2, "subscribe": {"channel": channel}})
        self._hello = bytes([0x81, 0x80 | len(hello)]) + b"\0\0\0\0" + hello.encode()
        self._transport: asyncio.Transport
        self.is_subscribed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_UPGRADE)
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        if b'"id":2' in data:
            self.is_subscribed.set()
        if data.endswith(_PING):
            self._transport.write(_PONG)


async def be_the_world() -> None:
    """Be everything around the gateway; told where it is by a line of input."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    told = json.loads(await asyncio.to_thread(sys.stdin.readline))
    port = int(told["url"].rpartition(":")[2])
    loop = asyncio.get_running_loop()
    for number in range(told["connections"]):
        channel = f"c{number // SUBSCRIBERS}"
        _, peer = await loop.create_connection(lambda name=channel: Peer(name), "127.0.0.1", port)
        await peer.is_subscribed.wait()
    print("ready", flush=True)
    await publish(told["url"], max(1, told["connections"] // SUBSCRIBERS), told["rate"])


async def publish(url: str, channels: int, rate: float) -> None:
    """Publish to one channel after the other, at a rate."""
    headers = {"X-API-Key": API_KEY}
    due_s = time.monotonic()
    async with aiohttp.ClientSession(headers=headers) as http:
        for number in itertools.count():
            body = {"channel": f"c{number % channels}", "data": {"text": "x" * 80}}
            with suppress(aiohttp.ClientError):  # it stops
                async with http.post(f"{url}/api/publish", json=body) as answer:
                    await answer.read()
            due_s += 1 / rate
            await asyncio.sleep(due_s - time.monotonic())


def start(options: argparse.Namespace) -> None:
    """Watch from the beginning, so that all threads are."""
    watched = Watched(options.inside)
    with ExitStack() as stack:
        stack.enter_context(callbacks_watched(watched))
        stack.enter_context(collections_watched(watched))
        if not options.no_threads:
            stack.enter_context(threads_watched(watched))
        asyncio.run(main(options, watched))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--checks", type=int, default=100)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="publications a second")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--inside", default="", help="callbacks to look into")
    parser.add_argument("--no-threads", action="store_true", help="do not watch other threads")
    parser.add_argument("--world", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.world:
        asyncio.run(be_the_world())
    else:
        start(arguments)
