"""What it costs to deliver a message to many, with gatewatch and with others, in one run.

    python benchmarks/fanout.py [--subscribers 100,1000,5000] [--burst 1,10,100] [--only KEYS]

Every program runs with all its subscribers at the same time; they publish in turn, round by round,
and each figure is the median of its rounds. A server has a core of its own, whoever reads and
publishes has another. Linux only, as it reads /proc. Ratios matter; the absolute figures belong to
the machine.

Centrifugo is the one of ``--centrifugo``, else Go builds it, once, in ~/.cache/gatewatch-bench.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from benchmarks.fanout import programs
from benchmarks.fanout.measuring import (
    LATENCY_INTERVAL_S,
    WINDOW_S,
    Cores,
    Line,
    Memory,
    Round,
    latencies,
    line,
    measure,
    quantile,
)
from benchmarks.fanout.sides import DATA, Side, all_sides

NEVER_S: Final = 1800.0
"""After this everything is ended, whatever it is doing."""
READER_LIMIT: Final = 0.8
NOTES: Final = f"""\
Notes:
- A burst is so many messages of {len(DATA)} bytes at once in one channel. The next one follows
  a batching window of {WINDOW_S * 1000:.0f} ms after all subscribers have it: that bounds the
  rate of small bursts.
- Every server is given a burst as one `batch` request of Centrifugo's HTTP API; reading it and
  answering are in the figures. The gateways check it, the others only read the JSON.
- gatewatch runs with metrics, logs, rules and one trace in a hundred, exported to a receiver that
  takes everything; all traced, which is the default, with every one of them. Telemetry off: no
  traces, nothing collected, exported or evaluated. A frame each: without batching.
- Centrifugo runs as it comes; what delays and gathers writes is not in its open-source edition.
- The reader looks every half a millisecond, so that no server pays for waking it; at once for
  latencies.
- Pings are off everywhere, compression is not asked for. Python programs run on {{loop}}.
- `-` is for who would take over half a minute for a burst, or did not deliver all of it.
- A line with `*` had a reader that used over {READER_LIMIT:.0%} of its core: its rate may be too
  low."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        subscribers: How many, for each table.
        bursts: Messages at once.
        rounds: Of each side at each point.
        seconds: A round.
        messages: Of each side for its latency; 0: it is not measured.
    """

    subscribers: tuple[int, ...]
    bursts: tuple[int, ...]
    rounds: int
    seconds: float
    messages: int


@asynccontextmanager
async def otlp_sink() -> AsyncIterator[str]:
    """Take telemetry and throw it away; give the URL."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    application = web.Application(client_max_size=1 << 28)
    application.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def choose_cores() -> Cores:
    """Keep the servers apart from what reads, this process among it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Cores(None, None)
    os.sched_setaffinity(0, {cores[1]})
    return Cores(cores[0], cores[1])


async def run(plan: Plan, sides: Sequence[Side], compiled: Path | None) -> None:
    """Measure and print one table after the other."""
    cores = choose_cores()
    if cores.server is None:
        print("There is one core only: rates and latencies are of little worth.\n")
    memory: dict[str, Memory] = {}
    late: dict[str, list[float]] = {}
    for subscribers in plan.subscribers:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            async with AsyncExitStack() as stack:
                lines: list[Line] = []
                for side in sides:
                    where = Path(tempfile.mkdtemp(dir=folder))
                    running = line(side, subscribers, folder=where, compiled=compiled, cores=cores)
                    started, memory[side.key] = await stack.enter_async_context(running)
                    lines.append(started)
                if subscribers == plan.subscribers[0] and plan.messages:
                    late = await latencies(lines, plan.messages)
                results = {
                    burst: await measure(lines, burst, rounds=plan.rounds, seconds=plan.seconds)
                    for burst in plan.bursts
                }
        print_costs(subscribers, sides, results)
    if late:
        print_latencies(plan, sides, late)
    print_memory(plan.subscribers[-1], sides, memory)


def print_costs(
    subscribers: int, sides: Sequence[Side], results: dict[int, dict[str, Round]]
) -> None:
    """Print what a number of subscribers cost."""
    bursts = tuple(results)
    print(f"### {subscribers:,} subscribers\n")
    print("Server CPU for each delivered message, in us, and how many are delivered a second:\n")
    titles = [f"{burst} at once" for burst in bursts]
    print_head("", *titles, *(f"{burst}: a second" for burst in bursts))
    for side in sides:
        rounds = [results[burst].get(side.key) for burst in bursts]
        busy = any(each is not None and each.reader_share > READER_LIMIT for each in rounds)
        costs = ("-" if each is None else figure(each.cpu_us) for each in rounds)
        rates = ("-" if each is None else f"{each.rate:,.0f}" for each in rounds)
        print_row(side.name + ("*" if busy else ""), *costs, *rates)
    base = sides[0]
    print(f"\nHow many times the CPU of {base.name}:\n")
    print_head("", *titles, "the reader's core")
    for side in sides:
        rounds = [results[burst].get(side.key) for burst in bursts]
        bases = [results[burst].get(base.key) for burst in bursts]
        ratios = (
            "-" if mine is None or its is None else figure(mine.cpu_us / its.cpu_us)
            for mine, its in zip(rounds, bases, strict=True)
        )
        busiest = max((each.reader_share for each in rounds if each is not None), default=0.0)
        print_row(side.name, *ratios, f"{busiest:.0%}")
    print(flush=True)


def print_latencies(plan: Plan, sides: Sequence[Side], found: dict[str, list[float]]) -> None:
    """Print how late messages came."""
    rate = 1 / LATENCY_INTERVAL_S
    print("### Latency\n")
    print(
        f"From publishing to a subscriber, {plan.subscribers[0]:,} of them and {rate:.0f} messages "
        "a second, in ms:\n"
    )
    print_head("", "p50", "p99", "p99.9")
    for side in sides:
        values = (quantile(found[side.key], share) for share in (0.5, 0.99, 0.999))
        print_row(side.name, *(f"{value * 1000:.2f}" for value in values))
    print(flush=True)


def print_memory(subscribers: int, sides: Sequence[Side], memory: dict[str, Memory]) -> None:
    """Print what an idle connection takes."""
    print("### Memory\n")
    print(f"Resident in the server for each of {subscribers:,} subscribed connections, in kB:\n")
    print_head("", "kB")
    for side in sides:
        print_row(side.name, f"{memory[side.key].bytes_each / 1000:.1f}")
    print(flush=True)


def print_head(*titles: str) -> None:
    print_row(*titles)
    print("|" + "---|" * len(titles))


def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def figure(value: float) -> str:
    """Return a number with at least two digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


async def main(options: argparse.Namespace) -> None:
    """Find the programs, measure what is there and say what is not."""
    program = programs.centrifugo(options.centrifugo)
    async with asyncio.timeout(NEVER_S), otlp_sink() as sink:
        sides = all_sides(sink, program)
        keys = options.only or tuple(side.key for side in sides)
        unknown = set(keys) - {side.key for side in sides}
        if unknown:
            raise SystemExit(
                f"--only has {', '.join(sorted(unknown))}; there are "
                + ", ".join(side.key for side in sides)
            )
        for side in sides:
            if side.key in keys and side.missing:
                print(f"Without {side.name}: {side.missing}.\n")
        there = [side for side in sides if side.key in keys and not side.missing]
        plan = Plan(
            options.subscribers, options.burst, options.rounds, options.seconds, options.messages
        )
        with tempfile.TemporaryDirectory() as folder:
            compiled = None if options.python_reader else programs.compile_reader(Path(folder))
            if compiled is None:
                print("The reader is Python, which is slow: see the lines with `*`.\n")
            await run(plan, there, compiled)
    print(NOTES.format(loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio"))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--subscribers", type=numbers, default=(100, 1000, 5000))
    parser.add_argument("--burst", type=numbers, default=(1, 10, 100), help="messages at once")
    parser.add_argument("--only", type=words, help="keys of what is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round")
    parser.add_argument("--messages", type=int, default=200, help="for latencies; 0: none")
    parser.add_argument("--centrifugo", type=Path, help="the program")
    parser.add_argument("--python-reader", action="store_true", help="as without a C compiler")
    asyncio.run(main(parser.parse_args()))
