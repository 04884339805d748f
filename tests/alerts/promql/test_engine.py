"""The engine: results, their order and their kinds; and laws that hold for any data."""

import gc
import weakref

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alerts.promql.errors import PromQLError
from alerts.promql.memo import Memo
from alerts.promql.plan import prepare
from alerts.promql.values import Sample
from alerts.series.bits import STALE
from alerts.series.labels import Labels
from tests.support.promql import GAP, at, labels, loaded, over, scalar_at


def test_rule_result_of_a_scalar_is_one_sample_without_labels():
    """Rules take a scalar as a vector of one."""
    engine = loaded({})

    assert engine.instant_vector(engine.prepare("1 + 1"), 0) == (Sample(Labels(), 2.0),)


@pytest.mark.parametrize("expression", ["m[5m]", '"text"'])
def test_rules_and_ranges_need_numbers(expression):
    """A range vector or a string is no result for a rule, nor over a range."""
    engine = loaded({})
    query = engine.prepare(expression)

    with pytest.raises(PromQLError, match="an instant vector or a scalar is needed"):
        engine.instant_vector(query, 0)
    with pytest.raises(PromQLError, match="an instant vector or a scalar is needed"):
        engine.range(query, 0, 1, 1)


def test_string_result():
    """A string literal is a query."""
    engine = loaded({})

    assert engine.instant(engine.prepare('"text"'), 0).text == "text"


@pytest.mark.parametrize(("end_ms", "step_ms"), [(10, 0), (10, -1), (-1, 1)])
def test_range_must_go_forward(end_ms, step_ms):
    """A step that is not positive, or an end before the start, is refused."""
    engine = loaded({})

    with pytest.raises(PromQLError, match=r"must be positive|before the start"):
        engine.range(engine.prepare("1"), 0, end_ms, step_ms)


def test_range_result_is_sorted_and_has_gaps():
    """Series come sorted by labels, each with the points it has."""
    engine = loaded({'m{i="b"}': [1.0, 2.0], 'm{i="a"}': [GAP, 5.0], 'm{i="c"}': [STALE]})

    result = over(engine, "m", 0, 60, 60)

    assert list(result.items()) == [('m{i="a"}', {60: 5.0}), ('m{i="b"}', {0: 1.0, 60: 2.0})]


def test_new_series_are_seen_by_a_prepared_query():
    """What a query remembers about labels is renewed when the series change."""
    engine = loaded({'m{i="a"}': [1.0]})
    expression = "sum by (i) (m) + 0"
    before = at(engine, expression, 0)

    engine._store.source("new").append(0, [(labels('m{i="b"}'), 2.0)])

    assert before == {'{i="a"}': 1.0}
    assert at(engine, expression, 0) == {'{i="a"}': 1.0, '{i="b"}': 2.0}


def test_memo_compares_inputs_by_identity():
    """Equal inputs that are other objects are worked out again."""
    memo = Memo()
    first, second = [1], [1]
    worked: list[int] = []

    for inputs in ((first,), (first,), (second,)):
        memo.recall("name", inputs, lambda: worked.append(1))

    assert len(worked) == 2


def test_queries_alike_but_for_a_number_share_what_they_know_of_labels():
    """The labels of many series are worked out once, also when series come and go."""
    engine = loaded({'m{i="a"}': [1.0], 'm{i="b"}': [1.0]})
    queries = [engine.prepare(f"sum by (i) (rate(m[1m])) > {number}") for number in (1, 2)]

    for timestamp_ms in (1, 2):
        engine._store.source("new").append(
            timestamp_ms, [(labels(f'm{{i="{timestamp_ms}"}}'), 2.0)]
        )
        for query in queries:
            engine.instant_vector(query, timestamp_ms)
        known, same = (query.memo._entries for query in queries)
        assert known.keys() == same.keys()
        assert all(known[name][1] is same[name][1] for name in known)


def test_what_no_query_needs_is_not_kept():
    """A frame that is shared goes with the last query that remembers it."""
    engine = loaded({'m{i="a"}': [1.0]})
    first, second = (prepare(f"sum by (i) (m) > {number}") for number in (1, 2))
    engine.instant_vector(first, 0)
    engine.instant_vector(second, 0)
    frame = weakref.ref(first.memo.latest((1, "frame")) or first.memo.latest((0, "frame")))

    del first
    gc.collect()
    assert frame() is not None
    del second
    gc.collect()
    assert frame() is None


def test_remembered_queries_are_bounded():
    """The oldest query is forgotten when there are too many."""
    engine = loaded({})
    first = engine.prepare("1")

    for number in range(5000):
        engine.prepare(str(number + 2))

    assert len(engine._queries) == 4096
    assert engine.prepare("1") is not first


VALUES = st.lists(
    st.one_of(st.none(), st.integers(0, 1000).map(float)), min_size=1, max_size=12
).filter(lambda values: any(value is not None for value in values))
SERIES = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3)).map(
        lambda key: f'm{{job="{key[0]}",i="{key[1]}"}}'
    ),
    VALUES,
    min_size=1,
    max_size=6,
)
EXPRESSIONS = (
    "m",
    "m offset 1m",
    "rate(m[3m])",
    "sum by (job) (m)",
    "avg_over_time(m[3m])",
    "quantile_over_time(0.3, m[4m])",
    "max_over_time(sum(m)[3m:1m])",
    "m / on(job) group_left sum by (job) (m)",
    "topk(2, m)",
    "m > 500 or on(job) m",
    "quantile by (job) (0.7, m)",
    "stddev(m)",
    "changes(m[5m]) + resets(m[5m])",
    "absent(m > 900)",
)


@settings(max_examples=60)
@given(SERIES, st.sampled_from(EXPRESSIONS))
def test_range_is_the_instants_at_its_steps(series, expression):
    """A range query answers at each step what an instant query answers there."""
    engine = loaded(series)

    ranged = over(engine, expression, 0, 720, 90)

    for second in range(0, 721, 90):
        instant = at(engine, expression, second)
        there = {name: points[second] for name, points in ranged.items() if second in points}
        assert there.keys() == instant.keys()
        assert all(there[name] == pytest.approx(instant[name], nan_ok=True) for name in there)


@settings(max_examples=60)
@given(SERIES)
def test_sums_of_groups_are_the_whole(series):
    """Adding up by label and then in all is adding up in all."""
    engine = loaded(series)

    assert at(engine, "sum(sum by (job) (m)) - sum(m)", 300) in ({}, {"{}": 0.0})
    assert at(engine, "count(m) - sum(count by (job) (m))", 300) in ({}, {"{}": 0.0})


@settings(max_examples=60)
@given(VALUES)
def test_counters_never_fall(values):
    """Whatever a counter does, resets included, its rate is not negative."""
    engine = loaded({"m": values})
    assume(at(engine, "rate(m[12m])", 660))

    assert scalar_at(engine, "rate(m[12m])", 660) >= 0


@settings(max_examples=60)
@given(VALUES, st.floats(0, 1))
def test_quantiles_lie_between_least_and_greatest(values, quantile):
    """A quantile is within the range of the samples, and grows with its parameter."""
    engine = loaded({"m": values})
    end = 60 * (len(values) - 1)

    def value(expression: str) -> float:
        return scalar_at(engine, expression, end)

    middle = value(f"quantile_over_time({quantile}, m[20m])")
    least, most = value("min_over_time(m[20m])"), value("max_over_time(m[20m])")

    # Interpolating as Prometheus does may miss equal values by the last digit.
    rounding = 1e-12 * max(abs(least), abs(most))
    assert least - rounding <= middle <= most + rounding


def test_large_ranges_are_cut_in_batches(monkeypatch):
    """Batches of steps give what one batch gives."""
    values = [float(k) for k in range(60)]
    counters = loaded({f'm{{i="{i}"}}': values for i in range(50)}, step_s=15)
    whole = over(counters, "sum(rate(m[5m]))", 0, 900, 5)

    monkeypatch.setattr("alerts.promql.selectors._MAX_WINDOW_ELEMENTS", 100)

    assert over(counters, "sum(rate(m[5m]))", 0, 900, 5) == whole
