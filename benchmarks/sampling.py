"""What it costs a message or request not to be traced. Run: python benchmarks/sampling.py.

Of messages nothing but the decision is measured, beside what one costs that is traced. Of requests,
CPU time of server and client together: the difference between the rows is what sampling costs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from alerts.clock import SystemClock
from service.gateway.tracing import PublicationTracing
from service.telemetry.http_server import HTTPServerTelemetry
from service.telemetry.instruments import Instruments
from service.telemetry.late_spans import LatePolicy
from service.telemetry.recorded_spans import SpanOrigin
from service.telemetry.sampling import EntrySampler, MessageSampling
from service.telemetry.sampling_rules import SamplingRule, SamplingRules
from service.telemetry.span_recorder import SpanRecorder

RUNS: Final = 20_000
REQUESTS: Final = 3_000
REPEATS: Final = 9
RULES: Final = (
    *(SamplingRule(0.0, name=f"GET /{number}") for number in range(8)),
    SamplingRule(0.0, namespace="other"),
    SamplingRule(1e-9, namespace="chat"),
)


def sampling(ratio: float, rules: tuple[SamplingRule, ...] = ()) -> MessageSampling:
    """Return a sampling as the process has it."""
    late = LatePolicy(SystemClock(), errors=True, slow_s=1.0)
    return MessageSampling(ratio, rules=rules, late=late)


def nanoseconds(work: Callable[[], object]) -> float:
    """Return how long a call takes, without the loop around it."""

    def once(call: Callable[[], object]) -> float:
        started = time.perf_counter_ns()
        for _ in range(RUNS):
            call()
        return (time.perf_counter_ns() - started) / RUNS

    empty = min(once(lambda: None) for _ in range(REPEATS))
    return min(once(work) for _ in range(REPEATS)) - empty


def recorded_span() -> Callable[[], object]:
    """Return what starts and ends the span of a message."""
    origin = SpanOrigin(Resource.get_empty(), InstrumentationScope("benchmark"))
    recorder = SpanRecorder(origin, EntrySampler(SamplingRules(1.0)), SystemClock())
    tracing, parent = PublicationTracing(recorder), sampling(1.0).decide()
    assert parent is not None
    return lambda: tracing.publish("chat:*", 1, parent).end()


async def answer(_request: web.Request) -> web.StreamResponse:
    """Answer."""
    return web.Response()


class Server:
    """Answers requests on loopback, and asks itself."""

    def __init__(self, chosen: MessageSampling | None) -> None:
        self._chosen = chosen

    async def microseconds(self) -> float:
        """Return the CPU time of a request."""
        app = web.Application()
        app.router.add_get("/rules/{name}", answer)
        if self._chosen is not None:
            instruments = Instruments.disabled()
            HTTPServerTelemetry(instruments, self._chosen, SystemClock()).install(app)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        started = time.process_time()
        for _ in range(REQUESTS):
            writer.write(b"GET /rules/a HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
        used_s = time.process_time() - started
        writer.close()
        await runner.cleanup()
        return used_s / REQUESTS * 1e6


def main() -> None:
    """Print the table."""
    plain, ruled = sampling(1e-9), sampling(1e-9, RULES)
    unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    rows = {
        "message of a client, no rules": plain.decide,
        "message of a client, ten rules": lambda: ruled.decide(
            share=ruled.rules.about("publish", "chat:*")
        ),
        "message with an unsampled traceparent": lambda: plain.decide(unsampled),
        "message in a request, no rules": lambda: plain.for_message("chat:*"),
        "message in a request, ten rules": lambda: ruled.for_message("chat:*"),
        "for comparison: a message that is traced": recorded_span(),
    }
    for name, work in rows.items():
        row(name, f"{nanoseconds(work):8.0f} ns")
    servers = {
        "request, not measured at all": Server(None),
        "request, telemetry off": Server(sampling(0.0)),
        "request, no rules": Server(plain),
        "request, ten rules": Server(ruled),
    }
    # In turns, so that other work on the machine meets all of them.
    turns = [
        [asyncio.run(server.microseconds()) for server in servers.values()] for _ in range(REPEATS)
    ]
    for name, times in zip(servers, zip(*turns, strict=True), strict=True):
        row(name, f"{min(times):8.1f} us")


def row(name: str, value: str) -> None:
    """Print a row."""
    print(f"{name:45}{value}")


if __name__ == "__main__":
    main()
