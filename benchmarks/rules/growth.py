"""How evaluation grows: with the series a rule reads, and with the rules of a group.

    python benchmarks/rules/growth.py [--plot FILE]

Run by ``benchmarks/rules.py`` as a process of its own, so that memory starts from nothing. A pass
is a whole one, with what it writes to the store, at a new time over new samples; what is appended
in between is not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import itertools
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from alerts.clock import ManualClock, SystemClock
from alerts.promql.engine import Engine
from alerts.rules.group import GroupContext, RuleGroup
from alerts.rules.model import AlertingDefinition, GroupDefinition
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from alerts.telemetry import AlertsTelemetry

INTERVAL_MS: Final = 5_000
COLUMNS: Final = 14
SERIES: Final = (1_000, 10_000, 100_000, 1_000_000)
RULES: Final = (10, 100, 1_000, 10_000)
PASSES: Final = 15
GAUGES: Final = 10


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: how many there were, how long a pass took, the memory of the process."""

    size: int
    seconds: float
    memory_mib: float


def memory_mib() -> float:
    """Return how much memory of the process is resident."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def filled_store(labels: Sequence[Labels]) -> tuple[SeriesStore, Callable[[], int]]:
    """Return a store with a range of samples, and what appends more and returns their time."""
    store = SeriesStore(clock=ManualClock(0.0), retention_s=120)
    source = store.source("scrape")
    rows = source.rows(labels)
    generator = np.random.default_rng(1)
    totals = np.zeros(len(labels))
    moments = itertools.count(INTERVAL_MS, INTERVAL_MS)

    def append() -> int:
        timestamp_ms = next(moments)
        totals[:] += generator.integers(0, 50, len(labels))
        source.append_column(timestamp_ms, rows, totals)
        return timestamp_ms

    for _ in range(COLUMNS):
        append()
    return store, append


async def median_pass_s(
    store: SeriesStore, append: Callable[[], int], expressions: Sequence[str], for_s: float
) -> float:
    """Return the median time of a pass over rules of these expressions."""
    engine = Engine(store)
    rules = tuple(
        AlertingDefinition(f"Rule{at}", expression, engine.prepare(expression), for_s)
        for at, expression in enumerate(expressions)
    )
    context = GroupContext(
        engine=engine,
        store=store,
        notify=lambda _alerts, _span: None,
        clock=SystemClock(),
        telemetry=AlertsTelemetry.disabled(),
    )
    group = RuleGroup(GroupDefinition("growth.yaml", "growth", 5.0, rules), context)
    await group.evaluate(append())  # works out the labels, once
    times = []
    for _ in range(PASSES):
        await group.evaluate(append())
        times.append(group.last_evaluation_s)
    if group.stats.failed_rules:
        raise SystemExit("rules failed; see what was logged")
    return statistics.median(times)


async def with_series(count: int) -> Point:
    """Measure one rule over many series."""
    store, append = filled_store(
        [
            Labels({"__name__": "requests_total", "code": str(200 + at % 5), "pod": f"pod-{at}"})
            for at in range(count)
        ]
    )
    expression = "sum by (code) (rate(requests_total[1m])) > 1"
    return Point(count, await median_pass_s(store, append, [expression], 0.0), memory_mib())


async def with_rules(count: int) -> Point:
    """Measure many rules over few series; no sample is over any threshold."""
    store, append = filled_store(
        [Labels({"__name__": "queue_size", "queue": f"q{at}"}) for at in range(GAUGES)]
    )
    expressions = [f"queue_size > {1_000_000 + at}" for at in range(count)]
    return Point(count, await median_pass_s(store, append, expressions, 300.0), memory_mib())


def show(points: Sequence[Point], what: str) -> None:
    """Print measurements as a table."""
    print(f"{what:>10} {'a pass':>12} {'each':>12} {'memory':>10}")
    for point in points:
        each_us = point.seconds / point.size * 1e6
        print(
            f"{point.size:10,} {point.seconds * 1e3:9.2f} ms {each_us:9.3f} us "
            f"{point.memory_mib:6.0f} MiB"
        )
    print(flush=True)


def plot(series: Sequence[Point], rules: Sequence[Point], file: Path) -> str:
    """Draw both curves; return where they are, or why they are not."""
    if importlib.util.find_spec("matplotlib") is None:
        return "no plot: matplotlib is not installed (pip install matplotlib, or `make bench`)"
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    curves = (
        (series, "series", "sum by (code) (rate(x[1m])) > c, one rule"),
        (rules, "rules", "a threshold over 10 series, for: 5m"),
    )
    for at, (points, what, title) in enumerate(curves):
        axes = figure.add_subplot(1, 2, at + 1)
        axes.loglog(
            [point.size for point in points],
            [point.seconds * 1e3 for point in points],
            marker="o",
        )
        axes.set(title=title, xlabel=what, ylabel="milliseconds per pass")
        axes.grid(visible=True, which="both", alpha=0.3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    return f"plot: {file}"


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    # The rules first: a million series leave memory behind that is theirs.
    rules = [await with_rules(count) for count in RULES]
    series = [await with_series(count) for count in SERIES]
    print("one rule, sum by (code) (rate(x[1m])) > c, over more and more series:")
    show(series, "series")
    print("more and more rules, a threshold over 10 series with for: 5m:")
    show(rules, "rules")
    if options.plot is not None:
        print(plot(series, rules, options.plot))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
