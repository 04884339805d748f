"""The store: what is appended can be read, what is refused is counted, what is old is freed."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.clock import ManualClock
from alerts.series.bits import STALE, is_absent, is_missing, is_stale
from alerts.series.errors import SeriesError
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.series.store import SeriesStore

A, B, C = (Labels({"__name__": "m", "i": name}) for name in "abc")
ALL = (Matcher(MatchOp.EQUAL, "__name__", "m"),)


def make(retention_s: float = 3600) -> tuple[SeriesStore, ManualClock]:
    clock = ManualClock(0.0)
    return SeriesStore(clock=clock, retention_s=retention_s), clock


def contents(
    store: SeriesStore, after_ms: int = -1, until_ms: int = 10**12, *, newest: bool = False
):
    """Return every sample and marker as {labels: {ms: value or "stale"}}."""
    selection, blocks = store.read(ALL, None, after_ms, until_ms, newest=newest)
    found: dict[Labels, dict[int, object]] = {}
    for block in blocks:
        rows = np.arange(len(selection.labels))[block.positions]
        for column, row in enumerate(rows.tolist()):
            values = np.ascontiguousarray(block.values[:, column])
            for ms, value, stale, missing in zip(
                block.times_ms.tolist(),
                values.tolist(),
                is_stale(values).tolist(),
                is_missing(values).tolist(),
                strict=True,
            ):
                if not missing:
                    series = found.setdefault(selection.labels[row], {})
                    series[ms] = "stale" if stale else value
    return found


def test_series_that_is_gone_gets_one_staleness_marker():
    """A series in one append and not in the next ends there, once."""
    store, _ = make()
    source = store.source("s")

    source.append(1, [(A, 1.0), (B, 2.0)])
    source.append(2, [(B, 3.0)])
    source.append(3, [(B, 4.0)])

    assert contents(store) == {A: {1: 1.0, 2: "stale"}, B: {1: 2.0, 2: 3.0, 3: 4.0}}


def test_empty_append_ends_every_series():
    """An append of nothing ends what the source had."""
    store, _ = make()
    source = store.source("s")
    source.append(1, [(A, 1.0)])

    taken = source.append(2, [])

    assert taken == 0
    assert contents(store) == {A: {1: 1.0, 2: "stale"}}


def test_sources_have_their_own_time_axes():
    """A source may be behind another one, and ends only its own series."""
    store, _ = make()

    store.source("one").append(5, [(A, 1.0)])
    store.source("two").append(3, [(B, 2.0)])

    assert contents(store) == {A: {5: 1.0}, B: {3: 2.0}}


@pytest.mark.parametrize(
    ("timestamp_ms", "reason"), [(10, "duplicate_timestamp"), (9, "out_of_order")]
)
def test_time_must_move_on(timestamp_ms, reason):
    """An append at or before the last one is refused whole, counted, and changes nothing."""
    store, _ = make()
    source = store.source("s")
    source.append(10, [(A, 1.0)])

    with pytest.raises(SeriesError) as caught:
        source.append(timestamp_ms, [(A, 2.0), (B, 3.0)])

    assert caught.value.reason == reason
    assert getattr(store.stats, f"refused_{reason}") == 2
    assert contents(store) == {A: {10: 1.0}}


def test_first_of_two_equal_series_counts():
    """A series that comes twice in one append is taken once, the other is counted."""
    store, _ = make()

    taken = store.source("s").append(1, [(A, 1.0), (A, 2.0)])

    assert taken == 1
    assert contents(store) == {A: {1: 1.0}}
    assert (store.stats.samples, store.stats.refused_duplicate_series) == (1, 1)


def test_series_alive_elsewhere_is_refused():
    """Two sources cannot both have a series alive."""
    store, _ = make()
    store.source("one").append(1, [(A, 1.0)])

    taken = store.source("two").append(1, [(A, 2.0), (B, 2.0)])

    assert taken == 1
    assert store.stats.refused_duplicate_series == 1
    with pytest.raises(SeriesError, match="alive in another source"):
        store.source("two").rows([A])


def test_series_that_ended_can_move_to_another_source():
    """Once a series has ended in one source another may go on with it."""
    store, _ = make()
    store.source("one").append(1, [(A, 1.0)])
    store.source("one").append(2, [])

    store.source("two").append(3, [(A, 2.0)])

    assert contents(store) == {A: {3: 2.0}}


def test_column_append_equals_plain_append():
    """The fast path writes what the plain one would, staleness included."""
    store, _ = make()
    source = store.source("s")
    both, one = source.rows([B, A]), source.rows([A])

    source.append_column(1, both, np.array([1.0, 2.0]))
    source.append_column(2, both, np.array([3.0, 4.0]))
    source.append_column(3, one, np.array([5.0]))

    assert contents(store) == {A: {1: 2.0, 2: 4.0, 3: 5.0}, B: {1: 1.0, 2: 3.0, 3: "stale"}}


def test_rows_of_one_series_twice_are_refused():
    """Rows for the same label set twice would overwrite each other."""
    store, _ = make()

    with pytest.raises(SeriesError, match="twice"):
        store.source("s").rows([A, A])


async def test_rows_that_were_freed_are_refused():
    """A column for rows given back to the store is refused before it is written."""
    store, clock = make(retention_s=1)
    source = store.source("s")
    rows = source.rows([A])
    await clock.advance(100)
    store.expire()

    with pytest.raises(SeriesError, match="ask rows\\(\\) again"):
        source.append_column(100_000, rows, np.array([1.0]))


def test_nan_stays_and_other_bit_patterns_do_not_pass_for_markers():
    """An ordinary NaN is a value, whatever its payload."""
    store, _ = make()
    odd = float(np.array([0x7FF0000000000003], dtype=np.uint64).view(np.float64)[0])

    store.source("s").append(1, [(A, float("nan")), (B, odd), (C, STALE)])

    _, (block,) = store.read(ALL, None, 0, 1)
    assert np.isnan(block.values).all()
    assert is_absent(block.values).tolist() == [[False, False, True]]


def test_window_is_open_on_the_left():
    """Reading takes samples after the first time, up to and with the second."""
    store, _ = make()
    source = store.source("s")
    for ms in (1, 2, 3, 4):
        source.append(ms, [(A, float(ms))])

    assert contents(store, 1, 3) == {A: {2: 2.0, 3: 3.0}}


@given(
    passes=st.lists(st.sets(st.sampled_from((A, B, C))), min_size=1, max_size=30),
    until_ms=st.integers(0, 31),
    lookback_ms=st.integers(1, 31),
)
def test_the_newest_time_tells_which_sample_is_the_latest(passes, until_ms, lookback_ms):
    """What is not there at the newest time has ended or not begun: older samples do not count."""
    store, _ = make(retention_s=0.02)
    source = store.source("s")
    for ms, found in enumerate(passes, 1):
        source.append(ms, [(labels, float(ms)) for labels in found])
    after_ms = until_ms - lookback_ms

    every, newest = (contents(store, after_ms, until_ms, newest=only) for only in (False, True))

    latest = {labels: max(samples.items()) for labels, samples in every.items()}
    alive = {labels: {ms: value} for labels, (ms, value) in latest.items() if value != "stale"}
    told = {
        labels: samples for labels, samples in newest.items() if "stale" not in samples.values()
    }
    assert told == alive


def test_selection_stays_the_same_object_until_its_series_change():
    """Work derived from a selection stays good while other metrics come and go."""
    store, _ = make()
    source = store.source("s")
    source.append(1, [(A, 1.0)])
    first, _ = store.read(ALL, None, 0, 9)

    store.source("other").append(1, [(Labels({"__name__": "other"}), 1.0)])
    unchanged, _ = store.read(ALL, first, 0, 9)
    source.append(2, [(A, 1.0), (B, 1.0)])
    changed, _ = store.read(ALL, first, 0, 9)

    assert unchanged is first
    assert changed.labels == (A, B)


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        ([Matcher(MatchOp.REGEX, "i", "a|c")], [A, C]),
        ([Matcher(MatchOp.NOT_EQUAL, "i", "a")], [B, C]),
        ([Matcher(MatchOp.EQUAL, "absent", "")], [A, B, C]),
        ([Matcher(MatchOp.EQUAL, "__name__", "m"), Matcher(MatchOp.EQUAL, "i", "b")], [B]),
        ([Matcher(MatchOp.EQUAL, "__name__", "x"), Matcher(MatchOp.NOT_REGEX, "i", "b")], []),
    ],
)
def test_selection_by_matchers(matchers, expected):
    """All matchers must hold; an absent label is an empty one."""
    store, _ = make()
    store.source("s").append(1, [(A, 1.0), (B, 1.0), (C, 1.0)])

    assert list(store.select(matchers).labels) == expected


def test_label_names_and_values():
    """The index tells which labels there are and what they hold."""
    store, _ = make()
    store.source("s").append(1, [(A, 1.0), (B, 1.0)])

    assert store.label_names() == ["__name__", "i"]
    assert store.label_values("i") == ["a", "b"]
    assert store.label_values("absent") == []


def test_churn_does_not_grow_the_store():
    """Series that come and go are freed after retention: memory and index reach a plateau."""
    store, _ = make(retention_s=100)
    source = store.source("s")
    widths = []

    for second in range(2000):
        labels = [Labels({"__name__": "m", "i": str(second // 3 + k)}) for k in range(5)]
        source.append(second * 1000, [(label_set, 1.0) for label_set in labels])
        if second % 500 == 499:
            widths.append(len(source._entries))

    assert widths[1] == widths[-1]
    assert store.series_count <= 60
    assert len(source._columns._chunks) <= 6


async def test_abandoned_source_is_freed_by_expire():
    """Nobody appends to a source any more: expire frees its samples, series and the source."""
    store, clock = make(retention_s=10)
    store.source("gone").append(1000, [(A, 1.0)])
    store.source("gone").append(2000, [(B, 1.0)])
    await clock.advance(60)

    store.expire()

    assert store.series_count == 0
    assert len(store._sources) == 0


def test_reader_and_writer_in_different_threads():
    """A reader sees whole columns only, while series are added and chunks grow."""
    store, _ = make(retention_s=1)
    source = store.source("s")
    torn: list[object] = []
    done = threading.Event()

    def read() -> None:
        previous = None
        while not done.is_set():
            previous, blocks = store.read(ALL, previous, -1, 10**9)
            torn.extend(
                block for block in blocks if (np.nan_to_num(block.values, nan=7.0) != 7.0).any()
            )

    reader = threading.Thread(target=read)
    reader.start()
    for ms in range(2000):
        labels = [Labels({"__name__": "m", "i": str(k)}) for k in range(1 + ms // 50)]
        source.append(ms, [(label_set, 7.0) for label_set in labels])
    done.set()
    reader.join()

    assert not torn


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["one", "two"]),
            st.integers(1, 5),
            st.dictionaries(st.integers(0, 6), st.floats(allow_nan=False), max_size=6),
        ),
        max_size=40,
    )
)
def test_store_equals_a_dictionary_of_samples(appends):
    """Any interleaving of appends reads back as the plain model of it says."""
    store, _ = make(retention_s=10**6)
    model: dict[Labels, dict[int, object]] = {}
    times = {"one": 0, "two": 0}
    alive: dict[str, set[Labels]] = {"one": set(), "two": set()}
    for name, pause_ms, values in appends:
        times[name] += pause_ms
        samples = {Labels({"__name__": "m", "i": f"{name}{k}"}): v for k, v in values.items()}
        for label_set in alive[name] - samples.keys():
            model[label_set][times[name]] = "stale"
        for label_set, value in samples.items():
            model.setdefault(label_set, {})[times[name]] = value
        alive[name] = set(samples)

        store.source(name).append(times[name], samples.items())

    assert contents(store) == model
