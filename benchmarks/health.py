"""How late 1,000 health checks run while the gateway is busy.

    python benchmarks/health.py [--checks 1000] [--interval 5] [--seconds 20]

A whole gatewatch runs in this process, with its telemetry, rules and database. Its checks request
an HTTP server in a second process; subscribers, which a third process reads, get messages all the
while. Lateness is how long after its slot a run began, as the spans of the jobs say. Three rounds:
everything answers; everything fails at once; everything hangs until the timeout.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import io
import multiprocessing
import os
import selectors
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from service.app import App
from service.config.settings import Settings
from service.gateway.channels import ChannelRules
from service.pauses import short_pauses

DATA = b'{"text":"' + b"x" * 80 + b'"}'
UPGRADE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HELLO = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'
ROUNDS = ("answer", "fail", "hang")
TIMEOUT_S = 2.0
FIRST_RUNS_S = 18.0


class Lateness(SpanProcessor):
    """Notes how late each run of a check began."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        return

    def on_end(self, span: ReadableSpan) -> None:
        attributes = span.attributes or {}
        if span.name.startswith("job check ") and attributes.get("gateway.job.kind") == "check":
            self.seconds.append(float(str(attributes["gateway.job.schedule.delay"])))

    def shutdown(self) -> None:
        return

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def serve_targets(control: Connection) -> None:
    """Answer requests as the last word that came says: answer, fail or hang."""

    async def serve() -> None:
        how = [ROUNDS[0]]
        stopped = asyncio.Event()

        async def answer(_request: web.Request) -> web.Response:
            if how[0] == "hang":
                await stopped.wait()
            return web.Response(status=500 if how[0] == "fail" else 200)

        def told() -> None:
            how[0] = control.recv()
            if how[0] == "stop":
                stopped.set()

        application = web.Application()
        application.router.add_get("/{name}", answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
        asyncio.get_running_loop().add_reader(control.fileno(), told)
        control.send(runner.addresses[0][1])
        await stopped.wait()
        await runner.cleanup()

    asyncio.run(serve())


def read_everything(port: int, number: int, control: Connection) -> None:
    """Subscribe as often as wanted and throw away what comes, until a word comes."""
    selector = selectors.DefaultSelector()
    for _ in range(number):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(UPGRADE)
        peer.sendall(bytes([0x81, 0x80 | len(HELLO)]) + b"\0\0\0\0" + HELLO)
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ)
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                return
            assert isinstance(key.fileobj, socket.socket)
            if not key.fileobj.recv(1 << 20):
                selector.unregister(key.fileobj)


def settings(directory: str, port: int, options: argparse.Namespace) -> Settings:
    """Return settings of as many checks as wanted, all at one server."""
    interval = f"{options.interval}s"
    checks = [
        {
            "name": f"check-{number}",
            "http": {"url": f"http://127.0.0.1:{port}/{number}"},
            "interval": interval,
            "timeout": f"{TIMEOUT_S:g}s",
        }
        for number in range(options.checks)
    ]
    return Settings.model_validate(
        {
            "service": {"data_dir": Path(directory) / "data"},
            # Subscribers only read: they answer no ping.
            "gateway": {
                "port": 0,
                "allow_anonymous": True,
                "ping_interval": "1h",
                "idle_timeout": "3h",
            },
            "operations": {"port": 0},
            "health": {"checks": checks, "max_concurrent": 2 * options.checks},
            "telemetry": {"log_level": "error"},
        }
    )


@asynccontextmanager
async def subscribers(app: App, number: int) -> AsyncIterator[None]:
    """Have subscribers read in a process of their own."""
    control, theirs = multiprocessing.Pipe()
    port = int(app.gateway_url.rpartition(":")[2])
    reader = multiprocessing.get_context("spawn").Process(
        target=read_everything, args=(port, number, theirs), daemon=True
    )
    reader.start()
    while app.gateway.stats.subscriptions < number:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        control.send(None)
        for client in app.gateway.connections:
            client.abort()
        reader.join()


async def publish(app: App, burst: int, stop: asyncio.Event) -> None:
    """Publish bursts, a batching window apart."""
    rule = ChannelRules(app.settings.gateway).rule("news")
    while not stop.is_set():
        for _ in range(burst):
            app.gateway.hub.publish("news", DATA, rule=rule, source="api")
        while sum(client.queued_bytes for client in app.gateway.connections) > 1 << 22:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.050)


def share(values: list[float], part: float) -> float:
    """Return the value that a part of the others do not exceed, in milliseconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def measure(app: App, lateness: Lateness, name: str, seconds: float) -> None:
    """Let a round run and print its line."""
    await asyncio.sleep(TIMEOUT_S + 0.5)
    lateness.seconds.clear()
    jobs = {job.name: job.missed for job in app.scheduler.jobs() if job.kind == "check"}
    delivered, cpu_s, began = app.gateway.stats.delivered, time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    wall_s = time.perf_counter() - began
    late, missed = lateness.seconds, 0
    for job in app.scheduler.jobs():
        missed += job.missed - jobs.get(job.name, job.missed)
    print(
        f"{name:<8}{len(late) / wall_s:>8.0f}{missed:>8}{share(late, 0.5):>9.1f}"
        f"{share(late, 0.99):>9.1f}{share(late, 1.0):>9.1f}"
        f"{(app.gateway.stats.delivered - delivered) / wall_s:>14,.0f}"
        f"{100 * (time.process_time() - cpu_s) / wall_s:>7.0f}"
    )


async def main(options: argparse.Namespace) -> None:
    """Run all rounds and print the table."""
    control, theirs = multiprocessing.Pipe()
    targets = multiprocessing.get_context("spawn").Process(
        target=serve_targets, args=(theirs,), daemon=True
    )
    targets.start()
    port = await asyncio.to_thread(control.recv)
    lateness, stop = Lateness(), asyncio.Event()
    print(
        f"{options.checks} checks every {options.interval} s, {options.subscribers} subscribers, "
        f"load of the machine {os.getloadavg()[0]:.1f}\n"
    )
    print(
        f"{'targets':<8}{'runs/s':>8}{'missed':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}"
        f"{'delivered/s':>14}{'CPU %':>7}"
    )
    with tempfile.TemporaryDirectory() as directory:
        app = App(
            settings(directory, port, options),
            environment={},
            span_processors=[lateness],
            log_stream=io.StringIO(),
        )
        with short_pauses():  # as the command
            async with app, subscribers(app, options.subscribers), asyncio.TaskGroup() as tasks:
                tasks.create_task(publish(app, options.burst, stop))
                await asyncio.sleep(FIRST_RUNS_S)
                for how in ROUNDS:
                    control.send(how)
                    await measure(app, lateness, how, options.seconds)
                stop.set()
                control.send("stop")
    await asyncio.to_thread(targets.join)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--checks", type=int, default=1000)
    parser.add_argument("--interval", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--burst", type=int, default=10)
    arguments = parser.parse_args()
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        uvloop.run(main(arguments))
    else:
        asyncio.run(main(arguments))
