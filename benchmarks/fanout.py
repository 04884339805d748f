"""What batching saves: server CPU per delivered message, batched and not, in one run.

    python benchmarks/fanout.py [--subscribers 200] [--seconds 3]

The gateway runs in this process with its telemetry on. Subscribers are sockets that a second
process reads and counts, so that reading costs the measured process nothing. Messages are
published straight into the hub in bursts, as a busy API handler would. Ratios matter; the absolute
figures belong to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import multiprocessing
import selectors
import socket
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from random import Random

from aiohttp import web

from alerts.clock import SystemClock
from service.config.gateway_settings import GatewaySettings
from service.config.settings import BatchingSettings, Settings
from service.gateway.channels import ChannelRules
from service.gateway.gateway import Gateway
from service.telemetry.providers import Telemetry

DATA = b'{"text":"' + b"x" * 80 + b'"}'
UPGRADE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HELLO = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'


@dataclass
class Result:
    """One line of the table."""

    name: str
    burst: int
    delivered: int
    frames: int
    cpu_s: float
    wall_s: float

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.delivered * 1e6


def read_everything(port: int, subscribers: int, control: Connection) -> None:
    """Subscribe from another process and throw away what comes."""
    selector = selectors.DefaultSelector()
    for _ in range(subscribers):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(UPGRADE)
        mask = b"\0\0\0\0"
        peer.sendall(bytes([0x81, 0x80 | len(HELLO)]) + mask + HELLO)
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


async def measure(
    name: str, batching: dict[str, object], burst: int, options: argparse.Namespace
) -> Result:
    """Run one gateway and publish bursts for a while."""
    clock = SystemClock()
    settings = Settings.model_validate({"telemetry": {"log_level": "error"}})
    async with Telemetry(settings, environment={}, clock=clock) as telemetry:
        gateway_settings = GatewaySettings(allow_anonymous=True)
        gateway = Gateway(
            gateway_settings,
            BatchingSettings.model_validate(batching),
            node="benchmark",
            clock=clock,
            random=Random(1),
            instruments=telemetry.instruments,
            sampling=telemetry.sampling,
        )
        runner = web.AppRunner(gateway.application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        control, theirs = multiprocessing.Pipe()
        reader = multiprocessing.get_context("spawn").Process(
            target=read_everything, args=(runner.addresses[0][1], options.subscribers, theirs)
        )
        reader.start()
        while gateway.stats.subscriptions < options.subscribers:
            await asyncio.sleep(0.01)
        result = await publish(
            gateway, ChannelRules(gateway_settings), name, burst, options.seconds
        )
        control.send(None)
        for client in gateway.connections:
            client.abort()
        await runner.cleanup()
        reader.join()
    return result


async def publish(
    gateway: Gateway, rules: ChannelRules, name: str, burst: int, seconds: float
) -> Result:
    """Publish bursts with a pause of one batching window between."""
    rule = rules.rule("news")
    bytes_before, cpu, start = gateway.stats.bytes_out, time.process_time(), time.perf_counter()
    delivered, batches = gateway.stats.delivered, gateway.hub.batcher_stats.batches
    while time.perf_counter() - start < seconds:
        for _ in range(burst):
            gateway.hub.publish("news", DATA, rule=rule, source="api")
        while sum(client.queued_bytes for client in gateway.connections) > 1 << 22:
            await asyncio.sleep(0.001)  # the reader must not become a slow consumer
        await asyncio.sleep(0.010)
    gateway.hub.flush()
    assert gateway.stats.bytes_out > bytes_before
    assert not gateway.stats.dropped, gateway.stats.dropped
    batches = gateway.hub.batcher_stats.batches - batches
    return Result(
        name,
        burst,
        gateway.stats.delivered - delivered,
        batches * len(gateway.connections),
        time.process_time() - cpu,
        time.perf_counter() - start,
    )


async def main(options: argparse.Namespace) -> None:
    """Measure and print the table."""
    print(f"{options.subscribers} subscribers, {len(DATA)} byte messages, telemetry on\n")
    print(
        f"{'mode':<12}{'burst':>6}{'delivered/s':>14}"
        f"{'msgs/frame':>12}{'CPU us/msg':>12}{'ratio':>8}"
    )
    for burst in (1, 10, 100):
        single = await measure("one by one", {"max_messages": 1}, burst, options)
        batched = await measure("batched", {}, burst, options)
        for result in (single, batched):
            print(
                f"{result.name:<12}{result.burst:>6}{result.delivered / result.wall_s:>14,.0f}"
                f"{result.delivered / result.frames:>12.1f}{result.cpu_us:>12.2f}"
                f"{single.cpu_us / result.cpu_us:>8.1f}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        uvloop.run(main(arguments))
    else:
        asyncio.run(main(arguments))
