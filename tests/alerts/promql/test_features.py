"""Feature flags: which are known, and what they change."""

from __future__ import annotations

import pytest

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.promql.errors import PromQLError
from alerts.promql.features import (
    DELAYED_NAME_REMOVAL,
    EXPERIMENTAL_FUNCTIONS,
    FEATURES,
    known_features,
)
from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.store import SeriesStore


def engine(*features: str) -> Engine:
    """Return an engine with features over no series."""
    return Engine(SeriesStore(clock=ManualClock(), retention_s=60), features=features)


def test_lists_are_taken_as_prometheus_takes_them():
    """Names are separated by commas or given one by one; empty ones are none."""
    names = [f"{EXPERIMENTAL_FUNCTIONS}, {DELAYED_NAME_REMOVAL}", "", EXPERIMENTAL_FUNCTIONS]

    assert known_features(names) == {EXPERIMENTAL_FUNCTIONS, DELAYED_NAME_REMOVAL}


def test_an_unknown_feature_is_refused():
    """The error names those that are known."""
    with pytest.raises(ValueError, match="'native-histograms' is no feature") as caught:
        known_features(["native-histograms"])

    assert all(feature in str(caught.value) for feature in FEATURES)


def test_experimental_functions_have_to_be_enabled():
    """Without the feature the error says what to enable and where."""
    expression = "double_exponential_smoothing(m[5m], 0.5, 0.5)"
    with pytest.raises(PromQLError, match=f"{EXPERIMENTAL_FUNCTIONS} in alerts.promql_features or"):
        engine().prepare(expression)

    assert engine(EXPERIMENTAL_FUNCTIONS).prepare(expression).kind == "vector"


@pytest.mark.parametrize(
    ("features", "labels"), [((), '{x="1"}'), ((DELAYED_NAME_REMOVAL,), '{n="m", x="1"}')]
)
def test_names_may_go_late(features, labels):
    """With the feature a name is still there for what is around the operator."""
    store = SeriesStore(clock=ManualClock(0.0), retention_s=600)
    store.source("test").append(0, [(Labels({METRIC_NAME: "m", "x": "1"}), 1.0)])
    tested = Engine(store, features=features)

    query = tested.prepare('label_replace(m + 1, "n", "$1", "__name__", "(.+)")')
    assert [repr(sample.labels) for sample in tested.instant(query, 0).samples] == [labels]
