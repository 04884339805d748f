"""Whatever a body holds: it is taken, in part or whole, or refused, and nothing else happens."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alerts.clock import ManualClock
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from service.receiving.encoding import Encoding, decode_request
from service.receiving.errors import ReceivingError
from service.receiving.requests import Outcome, Requests
from service.receiving.targets import Targets
from service.receiving.translating import AttributeLimits
from tests.support.otlp_sending import counter, gauge, histogram, request_of

NOW_MS = 1_700_000_000_000
VALID = request_of(
    counter("a", 1, NOW_MS, region="eu"), gauge("b", 2, NOW_MS), histogram("c", [1], [1, 2], NOW_MS)
).SerializeToString()
NAMES = st.sampled_from(
    [
        *("resourceMetrics", "resource", "attributes", "key", "value", "scopeMetrics", "metrics"),
        *("name", "unit", "sum", "gauge", "histogram", "dataPoints", "asInt", "asDouble", "flags"),
        *("timeUnixNano", "bucketCounts", "explicitBounds", "exemplars", "traceId", "stringValue"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=30
)


def take(body: bytes, encoding: Encoding) -> Outcome | None:
    """Take a body into a store of its own; None: it was refused."""
    clock = ManualClock(NOW_MS / 1000)
    store = SeriesStore(clock=clock, retention_s=3600)
    targets = Targets(store, clock=clock, retention_s=3600, max_series=100)
    own = Labels({"job": "gatewatch", "instance": "here:8000"})
    requests = Requests(targets, limits=AttributeLimits(8, 64), max_data_points=100, own=own)
    try:
        outcome = requests.take(decode_request(body, encoding))
    except ReceivingError:
        return None
    assert 0 <= outcome.rejected <= outcome.points
    assert bool(outcome.message) == bool(outcome.rejected)
    return outcome


@given(st.data())
def test_damaged_protobuf_harms_nobody(data: st.DataObject):
    """Bytes changed, cut off or put in."""
    body = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not body:
            break

    take(bytes(body), "protobuf")


@given(st.dictionaries(NAMES, VALUES) | VALUES)
def test_json_of_any_shape_harms_nobody(document: Any):
    """Names that are known in places where they are not."""
    take(json.dumps(document).encode(), "json")


@given(VALUES)
def test_data_points_of_any_shape_harm_nobody(value: Any):
    """A wrong value at the place of each part of a metric."""
    for wrapped in (
        {"name": "a", "sum": {"dataPoints": value}},
        {"name": "a", "gauge": {"dataPoints": [value]}},
        {"name": "a", "histogram": {"aggregationTemporality": 2, "dataPoints": [value]}},
        value,
    ):
        document = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [wrapped]}]}]}
        take(json.dumps(document).encode(), "json")


def test_what_is_whole_is_taken():
    """All of it, so that the tests above begin with something that could be harmed."""
    outcome = take(VALID, "protobuf")

    assert outcome is not None
    assert (outcome.points, outcome.rejected, outcome.message) == (3, 0, "")
