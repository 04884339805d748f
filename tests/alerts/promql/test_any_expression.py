"""Any expression: it fails with a PromQLError, or an instant is the step of a range."""

from __future__ import annotations

import math
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.promql.errors import PromQLError
from alerts.promql.signatures import AGGREGATIONS, FUNCTIONS
from alerts.series.bits import STALE
from tests.support.promql import GAP, loaded

NAN, INF = math.nan, math.inf
SERIES: dict[str, list[float | None]] = {
    'm{a="b", i="1"}': [1.0, 2.0, GAP, 3.0, 0.0, 5.0],
    'm{a="c"}': [NAN, 1.0, STALE, 4.0, 5.0, INF],
    'h_bucket{le="1"}': [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    'h_bucket{le="+Inf"}': [2.0, 2.0, 2.0, 5.0, 5.0, 7.0],
    "n": [1.0, 2.0, 3.0],
}
ENGINES = [
    loaded(SERIES, delays_name_removal=True),
    loaded(SERIES, delays_name_removal=False),
]

STRINGS = st.sampled_from(['"a"', '"b"', '""', '"le"', '"__name__"', '"(.*)"', '"$1"', '"("'])
SCALARS = st.sampled_from(["1", "0", "-1", "0.5", "NaN", "Inf", "1e300", "2", "5m", "time()"])
SELECTORS = ["m", "n", "h_bucket", '{a=~"b|c"}', "m offset 1m", "m @ 60", "nothing"]
RANGES = st.sampled_from(["m[5m]", "n[90s]", "h_bucket[2m30s] offset 30s", "m[1m] @ 120"])
OPERATORS = ["+", "/", "% on(a)", "^ ignoring(i)", "== on() group_left", "> bool", "and", "or"]


def _call(name: str, args: tuple[str, ...]) -> str:
    return f"{name}({', '.join(args)})"


def _aggregation(op: str, parts: tuple[str, str, str]) -> str:
    grouping, param, vector = parts
    return f"{op} {grouping} ({param}{vector})"


def _extend(vectors: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    given_as = {
        "vector": vectors,
        "scalar": SCALARS | vectors.map(lambda vector: f"scalar({vector})"),
        "matrix": RANGES | vectors.map(lambda vector: f"({vector})[3m:30s]"),
        "string": STRINGS,
    }
    calls = [
        st.tuples(*(given_as[kind] for kind in signature.takes)).map(partial(_call, name))
        for name, signature in sorted(FUNCTIONS.items())
        if signature.gives == "vector" and not signature.experimental
    ]
    aggregations = [
        st.tuples(
            st.sampled_from(["", "by (a)", "without (a, le)"]),
            st.just("") if param is None else given_as[param].map(lambda text: text + ", "),
            vectors,
        ).map(partial(_aggregation, op))
        for op, param in sorted(AGGREGATIONS.items())
    ]
    operations = st.tuples(vectors, st.sampled_from(OPERATORS), vectors).map(
        lambda parts: f"({parts[0]} {parts[1]} ({parts[2]}))"
    )
    return st.one_of(*calls, *aggregations, operations, vectors.map(lambda text: f"-({text})"))


EXPRESSIONS = st.recursive(st.sampled_from(SELECTORS), _extend, max_leaves=5)


def _same(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other) or (math.isnan(one) and math.isnan(other))


@settings(max_examples=300)
@given(EXPRESSIONS, st.sampled_from(ENGINES))
def test_an_instant_is_a_step_of_a_range(expression, engine):
    """The answer at one time is what a range query has at that time."""
    try:
        query = engine.prepare(expression)
        instant = engine.instant(query, 180_000)
        over = engine.range(query, 120_000, 240_000, 60_000)
    except PromQLError as error:
        assert error.message
        return

    found = {
        points.labels: value
        for points in over.series
        for at_ms, value in zip(points.timestamps_ms.tolist(), points.values.tolist(), strict=True)
        if at_ms == 180_000
    }
    expected = {sample.labels: sample.value for sample in instant.samples}
    assert set(found) == set(expected)
    assert all(_same(found[labels], value) for labels, value in expected.items())
