"""Exemplars: what is kept, and what is found."""

from hypothesis import given
from hypothesis import strategies as st

from alerts.series.exemplars import Exemplar, Exemplars
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp


def series(path: str) -> Labels:
    return Labels({"__name__": "took_bucket", "path": path})


def exemplar(at_ms: int, trace: str = "t") -> Exemplar:
    return Exemplar(Labels({"trace_id": trace}), 0.5, at_ms)


def all_of(kept: Exemplars, path: str = ".*", start_ms: int = 0, end_ms: int = 1000):
    selectors = [[Matcher(MatchOp.REGEX, "path", path)]]
    return {
        labels["path"]: [each.timestamp_ms for each in found]
        for labels, found in kept.select(selectors, start_ms, end_ms)
    }


def test_the_newest_of_each_series_are_kept():
    """The oldest make room; what is not newer than what is known is the same once more."""
    kept = Exemplars(max_per_series=2)
    for at_ms in (1, 2, 2, 1, 3):
        kept.add(series("a"), exemplar(at_ms))

    assert all_of(kept) == {"a": [2, 3]}


def test_series_without_news_make_room():
    """Beyond the limit the series that was heard of longest ago goes."""
    kept = Exemplars(max_series=2)
    for path, at_ms in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        kept.add(series(path), exemplar(at_ms))

    assert all_of(kept) == {"a": [1, 3], "c": [4]}


def test_what_fits_is_found():
    """Series by any of the selectors, in order; exemplars by time, both ends included."""
    kept = Exemplars()
    for path in "cab":
        for at_ms in (1, 2, 3, 4):
            kept.add(series(path), exemplar(at_ms))

    assert list(all_of(kept, "a|c", 2, 3).items()) == [("a", [2, 3]), ("c", [2, 3])]
    assert all_of(kept, start_ms=5) == {}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50)), max_size=60))
def test_bounded_and_in_order(added: list[tuple[str, int]]):
    """Whatever comes in which order, the bounds hold and each series is in order of time."""
    kept = Exemplars(max_series=3, max_per_series=4)
    for path, at_ms in added:
        kept.add(series(path), exemplar(at_ms))

    found = all_of(kept)
    assert len(found) <= 3
    for times in found.values():
        assert times == sorted(set(times))
        assert len(times) <= 4
