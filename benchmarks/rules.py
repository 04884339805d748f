"""gatewatch's rule evaluation beside Prometheus's: same series, rules and intervals, in one run.

    python benchmarks/rules.py [--seconds 90] [--skip-growth] [--prometheus PATH] [--plot FILE]

Both scrape one target and then evaluate four rule files in turn, a quarter of the time each. What
counts is the ratio of a line, Prometheus's time through gatewatch's: the absolute figures belong to
the machine. Prometheus's times are its own metrics. After that comes how gatewatch's evaluation
grows with series and with rules. Linux only, as it reads /proc.

Prometheus is the one of ``--prometheus`` or the variable GATEWATCH_PROMETHEUS, else a newer one in
``~/.cache/gatewatch-e2e/prometheus-*/``, else that of ``make e2e``: from PATH, or Debian's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from benchmarks.processes import running
from benchmarks.rules import HERE
from benchmarks.rules.sides import (
    RULES_S,
    Case,
    Measured,
    Side,
    gatewatch_side,
    prometheus_side,
)
from tests.external import programs

SETTLE_S: Final = 3 * RULES_S
"""How long after a change of rules nothing is measured: the first passes do work once."""
FIRST_PASS_S: Final = 60.0
NEVER_S: Final = 900.0
"""After this everything is ended, whatever it is doing."""

CASES: Final = (
    # Rates add up to about 19,600 for each code, so that half of these rules fire.
    Case(
        "sums",
        "sum by (rate), 10,000 series",
        50,
        lambda at: f"sum by (code) (rate(bench_requests_total[1m])) > {14_600 + 200 * at}",
    ),
    # The gauges swing between 0 and 100: a tenth of the rules has alerts that come and go.
    Case(
        "thresholds",
        "threshold, 10 series, for 5m",
        1_000,
        lambda at: f"bench_queue_size > {90 + at / 10}",
        "    for: 5m\n",
    ),
    # The quantile is 2.5: half of these rules fire.
    Case(
        "quantiles",
        "histogram_quantile, 700 series",
        100,
        lambda at: (
            "histogram_quantile(0.99, sum by (le) (rate(bench_latency_bucket[1m])))"
            f" > {2 + at / 100}"
        ),
    ),
    Case(
        "alerts",
        "10,000 active alerts",
        1,
        lambda _: "bench_requests_total >= 0",
        "    labels: {severity: warning}\n",
    ),
)


async def find_prometheus(given: Path | None) -> Path | str:
    """Return the program, or why there is none."""
    named = given or os.environ.get("GATEWATCH_PROMETHEUS")
    if named:
        found = shutil.which(named)
        return Path(found) if found else f"{named} is no program"
    cache = programs.cache_folder(os.environ)
    newer = sorted(cache.glob("prometheus-*/prometheus"))
    if newer:
        return newer[-1]
    if found := shutil.which("prometheus"):
        return Path(found)
    try:
        return await programs.prometheus(cache) / "prometheus"
    except programs.UnavailableError as error:
        return str(error)


async def until_first_pass(side: Side) -> None:
    """Return when a side has evaluated the rules it was given."""
    try:
        async with asyncio.timeout(FIRST_PASS_S):
            while not side.passes:
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise SystemExit(f"{side.name} does not evaluate its rules") from None


async def measure(case: Case, sides: Sequence[Side], seconds: float) -> list[Measured]:
    """Give all sides the rules of a case and measure them at the same time."""
    await asyncio.gather(*(side.use(case) for side in sides))
    await asyncio.gather(*(until_first_pass(side) for side in sides))
    await asyncio.sleep(SETTLE_S)
    await asyncio.gather(*(side.begin() for side in sides))
    await asyncio.sleep(seconds)
    return list(await asyncio.gather(*(side.end() for side in sides)))


def show_case(case: Case, sides: Sequence[Side], found: Sequence[Measured]) -> None:
    """Print a line for each program, and what it comes to."""
    print(f"{case.name}, {case.rules:,} rule{'s' if case.rules > 1 else ''}")
    for side, one in zip(sides, found, strict=True):
        median_s = statistics.median(one.passes)
        print(
            f"  {side.name:10} {one.mean_s / case.rules * 1e6:11,.1f} us"
            f" {median_s / case.rules * 1e6:11,.1f} us {one.first_s * 1e3:9,.1f} ms"
            f" {one.cpu_s:8.2f} s {one.memory_mib:6.0f} MiB {one.alerts:8,} {len(one.passes):7}"
            + (f"  {one.troubles} failed or missed" if one.troubles else "")
        )
    sys.stdout.flush()


def show_ratios(found: Sequence[Sequence[Measured]]) -> None:
    """Print the four ratios."""
    print(f"\n{'Prometheus / gatewatch':34} {'time':>8} {'median':>8} {'CPU':>8} {'memory':>8}")
    for case, (ours, theirs) in zip(CASES, found, strict=True):
        medians = statistics.median(theirs.passes) / statistics.median(ours.passes)
        print(
            f"{case.name:34} {theirs.mean_s / ours.mean_s:8.2f} {medians:8.2f}"
            f" {theirs.cpu_s / max(ours.cpu_s, 0.01):8.2f}"
            f" {theirs.memory_mib / ours.memory_mib:8.2f}"
        )
    print(flush=True)


async def compare(program: Path | str, options: argparse.Namespace) -> None:
    """Measure the four cases with both programs at once, or with one where there is no other."""
    async with AsyncExitStack() as stack:
        ours_in, theirs_in = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
            for name in ("gatewatch", "prometheus")
        )
        exporter = await stack.enter_async_context(running(sys.executable, HERE / "exporter.py"))
        target = f"127.0.0.1:{await exporter.line()}"
        ours = await stack.enter_async_context(gatewatch_side(target, ours_in))
        sides: list[Side] = [ours]
        if isinstance(program, Path):
            other = prometheus_side(program, target, theirs_in)
            sides.append(await stack.enter_async_context(other))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        watching = [tasks.create_task(side.watch()) for side in sides]
        stack.callback(lambda: [task.cancel() for task in watching])
        await warm_up(sides, options.warm_up)
        print(
            f"{'a rule':>21} {'median':>14} {'first pass':>12} {'CPU':>10} {'memory':>10}"
            f" {'alerts':>8} {'passes':>7}"
        )
        found = []
        for case in CASES:
            found.append(await measure(case, sides, options.seconds / len(CASES)))
            show_case(case, sides, found[-1])
    if len(sides) > 1:
        show_ratios(found)


async def warm_up(sides: Sequence[Side], seconds: float) -> None:
    """Scrape until a minute of samples is there; tell what that alone costs."""
    print(f"scraping for {seconds:.0f} s before any rule ...", flush=True)
    await asyncio.sleep(seconds / 2)
    before = [side.child.cpu_s for side in sides]
    await asyncio.sleep(seconds / 2)
    for side, cpu_s in zip(sides, before, strict=True):
        print(
            f"  {side.name:10} {side.child.cpu_s - cpu_s:5.2f} s of CPU in {seconds / 2:.0f} s,"
            f" {side.child.memory_mib:4.0f} MiB"
        )


async def grow(plot: Path) -> None:
    """Print how gatewatch grows, and draw it."""
    command = (sys.executable, HERE / "growth.py", f"--plot={plot}")
    async with running(*command) as child:
        async for line in child.lines():
            print(line, flush=True)
        if code := await child.process.wait():
            raise SystemExit(f"growth.py ended with {code}")


async def version(program: Path) -> str:
    """Return the first line of what a Prometheus says about itself."""
    async with running(program, "--version") as child:
        line = await child.line()
        await child.process.wait()
        return line


async def main() -> None:
    parser = argparse.ArgumentParser(description="Rule evaluation beside Prometheus.")
    parser.add_argument("--seconds", type=float, default=90.0, help="for the four cases together")
    parser.add_argument("--warm-up", type=float, default=62.0, help="seconds of scraping before")
    parser.add_argument("--skip-growth", action="store_true")
    parser.add_argument("--prometheus", type=Path, help="the program to compare with")
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path(tempfile.gettempdir()) / "gatewatch-rules-growth.png",
        help="where to draw the growth",
    )
    options = parser.parse_args()
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with asyncio.timeout(NEVER_S + options.seconds):
        program = await find_prometheus(options.prometheus)
        if isinstance(program, Path):
            print(f"{program}: {await version(program)}")
        else:
            print(f"NO PROMETHEUS, so nothing to compare with: {program}")
        await compare(program, options)
        if not options.skip_growth:
            await grow(options.plot)


if __name__ == "__main__":
    asyncio.run(main())
