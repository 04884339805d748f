"""The limits of the series store: new series are refused, the others go on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from alerts.clock import ManualClock
from alerts.series.labels import Labels
from alerts.series.limits import LOG_INTERVAL_S, Limits
from alerts.series.store import SeriesStore


def series(metric: str, *users: int) -> Iterator[Labels]:
    """Return series that differ in the user."""
    return (Labels({"__name__": metric, "job": "web", "user": f"u{user}"}) for user in users)


def make(
    max_series: int = 10, max_series_per_metric: int = 10, max_bytes: int = 1 << 30
) -> tuple[SeriesStore, ManualClock]:
    """Return a store with limits."""
    clock = ManualClock(0.0)
    limits = Limits(max_series, max_series_per_metric, max_bytes)
    return SeriesStore(clock=clock, retention_s=60, limits=limits), clock


@pytest.mark.parametrize(("asked", "taken"), [(9, 9), (10, 10), (11, 10)])
def test_series_in_all(asked: int, taken: int) -> None:
    """As many series as the limit says are taken, not one more."""
    store, _ = make()
    source = store.source("s")

    count = source.append(1, [(item, 1.0) for item in series("m", *range(asked))])

    assert (count, store.series_count) == (taken, taken)
    assert store.stats.refused_max_series == asked - taken


def test_held_series_go_on() -> None:
    """At the limit the series that are held get their samples, wherever they come."""
    store, _ = make()
    source = store.source("s")
    old = list(series("m", *range(10)))
    source.append(1, [(item, 1.0) for item in old])

    count = source.append(2, [(item, 2.0) for item in [*series("n", 1, 2), *old]])

    assert count == 10


def test_one_metric_leaves_room() -> None:
    """A label with 100,000 values takes its metric's share, and other metrics come in."""
    store, _ = make(max_series=1000, max_series_per_metric=600)
    source = store.source("s")

    source.append(1, [(item, 1.0) for item in series("wild", *range(100_000))])
    source.append(2, [(item, 1.0) for item in series("tame", *range(300))])

    assert store.series_count == 900
    assert store.stats.refused_max_series_per_metric == 99_400


def test_memory() -> None:
    """At the memory limit no series is added, those that are held go on."""
    store, _ = make(max_series=10**6, max_series_per_metric=10**6, max_bytes=1_000_000)
    source = store.source("s")
    samples = [(item, 1.0) for item in series("m", *range(2000))]

    count = source.append(1, samples)

    assert 900_000 < store.stats.bytes < 1_100_000
    assert source.append(2, samples) == count
    assert store.stats.refused_max_memory == 2 * (2000 - count)


def test_rows_of_refused_series() -> None:
    """A column with refused series is taken without them, and every one left out is counted."""
    store, _ = make(max_series=2)
    source = store.source("s")
    rows = source.rows(list(series("m", 1, 2, 3)))

    for step in (1, 2):
        source.append_column(step, rows, np.array([1.0, 2.0, 3.0]))

    assert rows.tolist() == [0, 1, -1]
    assert store.stats.samples == 4
    assert store.stats.refused_max_series == 3


async def test_room_again() -> None:
    """Once series have ended for a retention, new ones are taken."""
    store, clock = make(max_series=2)
    source = store.source("s")
    source.append(1, [(item, 1.0) for item in series("m", 1, 2)])
    source.append(2, [])

    await clock.advance(120)
    store.expire()

    assert source.append(120_000, [(item, 1.0) for item in series("m", 3, 4)]) == 2


async def test_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The log says which limit, how many samples and whose label, once a minute."""
    store, clock = make(max_series_per_metric=5)
    source = store.source("s")
    for step in range(1, 5):
        source.append(step, [(item, 1.0) for item in series("m", *range(8))])

    assert len(caplog.records) == 1
    assert "max_series_per_metric" in caplog.text
    assert "the metric 'm' has 5 series, mostly by its label 'user'" in caplog.text
    await clock.advance(LOG_INTERVAL_S)
    source.append(100, [(item, 1.0) for item in series("m", *range(8))])
    assert "since the last such line: 12," in caplog.text


def test_churn_is_freed() -> None:
    """A thousand series that are replaced over and over cost no more memory than at first."""
    store, _ = make(max_series=10**6, max_series_per_metric=10**6)
    source = store.source("s")
    sizes = []
    for generation in range(60):
        users = range(generation * 1000, generation * 1000 + 1000)
        source.append(generation * 10_000, [(item, 1.0) for item in series("m", *users)])
        sizes.append(store.stats.bytes)

    assert store.series_count < 15_000
    assert max(sizes[30:]) < 1.2 * max(sizes[:30])


def test_bytes_are_exact() -> None:
    """The running figure is what counting anew gives, through growth and retention."""
    store, _ = make(max_series=1000, max_series_per_metric=1000)
    source = store.source("s")
    for step in range(200):
        users = range(step, step + 50)
        source.append(step * 1000, [(item, 1.0) for item in series("m", *users)])

    assert store.stats.bytes == source.nbytes
