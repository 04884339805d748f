"""How long one rule evaluation takes, by kind of rule. Run: python benchmarks/promql_rules.py.

Every evaluation is at a new timestamp with new samples, as a rule's is; a query that sees the same
series again has its label work done, as a rule has. What is appended in between is not measured.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.promql.plan import prepare
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore

INTERVAL_MS: Final = 5_000
COLUMNS: Final = 24


def build() -> tuple[SeriesStore, Callable[[], int]]:
    """Return a store with counters, gauges and histograms, and what appends one more column.

    What appends returns the column's timestamp.
    """
    store = SeriesStore(clock=ManualClock(0.0), retention_s=3600)
    generator = np.random.default_rng(1)
    counters = [
        Labels({"__name__": "requests_total", "code": str(200 + at % 5), "pod": str(at)})
        for at in range(10_000)
    ]
    gauges = [Labels({"__name__": "queue_size", "queue": str(at)}) for at in range(10)]
    bounds = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")
    buckets = [
        Labels({"__name__": "latency_bucket", "le": bound, "path": str(path)})
        for path in range(70)
        for bound in bounds
    ]
    sources = [
        (store.source(name), labels)
        for name, labels in (("app", counters), ("queues", gauges), ("latency", buckets))
    ]
    rows = [source.rows(labels) for source, labels in sources]
    totals = [np.zeros(len(labels)) for _, labels in sources]
    moments = itertools.count(INTERVAL_MS, INTERVAL_MS)

    def append() -> int:
        timestamp_ms = next(moments)
        for at, (source, labels) in enumerate(sources):
            totals[at] += generator.integers(0, 50, len(labels))
            column = totals[at]
            if source is sources[-1][0]:
                # The buckets of a histogram count up with their bounds.
                column = column.reshape(-1, len(bounds)).cumsum(axis=1).ravel()
            source.append_column(timestamp_ms, rows[at], column)
        return timestamp_ms

    for _ in range(COLUMNS):
        append()
    return store, append


def median_us(run: Callable[[int], object], append: Callable[[], int], rounds: int) -> float:
    """Return the median time of one call at a new timestamp, in microseconds."""
    run(append())
    times = []
    for _ in range(rounds):
        now = append()
        start = time.perf_counter()
        run(now)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def main() -> None:
    """Measure and print one line per kind of rule."""
    store, append = build()
    engine = Engine(store)
    cases = (
        ("threshold, 10 series", "queue_size > 1e9", 2000),
        ("threshold, 10 series, all fire", "queue_size > 0", 2000),
        (
            "ratio of sums, 10,000 series",
            'sum(rate(requests_total{code="204"}[1m])) / sum(rate(requests_total[1m]))',
            50,
        ),
        (
            "sum by (rate), 10,000 series x 12",
            "sum by (code) (rate(requests_total[1m])) > 1e9",
            100,
        ),
        (
            "histogram_quantile, 700 series",
            "histogram_quantile(0.99, sum by (le) (rate(latency_bucket[1m])))",
            300,
        ),
        (
            "histogram_quantile by path",
            "histogram_quantile(0.99, sum by (le, path) (rate(latency_bucket[1m])))",
            300,
        ),
        ("10,000 results", "requests_total >= 0", 50),
    )
    print(f"{'rule':36} {'median':>12}")
    for name, expression, rounds in cases:
        query = engine.prepare(expression)
        micros = median_us(partial(engine.instant_vector, query), append, rounds)
        print(f"{name:36} {micros:9.1f} us")
    query = engine.prepare("sum by (code) (rate(requests_total[1m]))")
    micros = median_us(
        lambda now: engine.range(query, now - 12 * INTERVAL_MS, now, INTERVAL_MS), append, 20
    )
    print(f"{'the same over a range of 13 steps':36} {micros:9.1f} us")
    print(f"{'append of 10,710 samples':36} {median_us(lambda _: append(), append, 200):9.1f} us")
    text = (
        'sum by (code) (rate(requests_total{code=~"5.."}[1m])) / sum(rate(requests_total[1m])) > 1'
    )
    micros = median_us(lambda _: prepare(text), append, 200)
    print(f"{'parsing a rule, once per rule':36} {micros:9.1f} us")


if __name__ == "__main__":
    main()
