"""Durations counted in buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.storage.duration_counts import DurationCounts, bucket_of, rank_of

DURATIONS = st.lists(st.floats(1e-6, 1e5), min_size=1, max_size=50)


def counted(durations: list[float]) -> DurationCounts:
    """Return the counts of durations."""
    counts: dict[int, int] = {}
    for duration_s in durations:
        counts[bucket_of(duration_s)] = counts.get(bucket_of(duration_s), 0) + 1
    return DurationCounts(counts)


@given(DURATIONS, st.floats(0, 1))
def test_quantiles_are_near_the_true_ones(durations: list[float], share: float) -> None:
    """What is told from buckets is within 5 % of what the durations themselves say."""
    found = counted(durations).quantile(share)

    assert found == pytest.approx(sorted(durations)[rank_of(share, len(durations))], rel=0.05)


@given(DURATIONS, DURATIONS)
def test_counts_add_up(first: list[float], second: list[float]) -> None:
    """The texts of two spans, joined, are the text of both together."""
    texts = [counted(each).to_text() for each in (first, second)]
    together = DurationCounts.from_text(" ".join(texts))

    assert together == counted([*first, *second])
    assert together.total == len(first) + len(second)


def test_nothing_and_the_impossible() -> None:
    """No durations have no quantiles; none, or one that never ends, is counted all the same."""
    assert DurationCounts.from_text("") == DurationCounts()
    assert DurationCounts().quantile(0.5) is None
    assert bucket_of(0.0) == bucket_of(-1.0) == bucket_of(1e-9)
    assert bucket_of(float("inf")) == bucket_of(1e9)


@pytest.mark.parametrize(
    ("share", "total", "rank"),
    [(0.5, 1, 0), (0.5, 2, 0), (0.5, 3, 1), (0.95, 20, 18), (0.95, 21, 19), (1.0, 4, 3), (0, 4, 0)],
)
def test_ranks(share: float, total: int, rank: int) -> None:
    """The nearest rank: a percentile is one of the values."""
    assert rank_of(share, total) == rank
