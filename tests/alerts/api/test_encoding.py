"""Numbers and results as JSON."""

import json
import math
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.api.encoding import (
    MAX_POINTS,
    Answer,
    encode_instant,
    encode_range,
    format_exponent,
    format_timestamp,
    format_value,
    format_values,
)
from alerts.promql.errors import PromQLError, QueryCancelledError
from alerts.promql.values import InstantResult, RangeResult, Sample, SeriesPoints
from alerts.series.labels import Labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.000001, "0.000001"),
        (0.00000099, "9.9e-07"),
        (5e-324, "5e-324"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_values(value: float, text: str):
    """A sample's value has an exponent only when it is very small or very large."""
    assert format_value(value) == text


@given(st.lists(st.floats() | st.integers(-(10**18), 10**18).map(float), max_size=9))
def test_many_values_at_once(values: list[float]):
    """Many values are printed as each of them alone, and read back as they were."""
    texts = [text.decode() for text in format_values(np.array(values, dtype=np.float64))]

    assert texts == [format_value(value) for value in values]
    assert np.array_equal([float(text) for text in texts], values, equal_nan=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1e+00"),
        (0, "0e+00"),
        (-0.0, "-0e+00"),
        (100, "1e+02"),
        (-0.5, "-5e-01"),
        (123.25, "1.2325e+02"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
        (math.inf, "+Inf"),
        (math.nan, "NaN"),
    ],
)
def test_exponents(value: float, text: str):
    """The value of an alert always has an exponent."""
    assert format_exponent(float(value)) == text


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [(0, b"0"), (1_000, b"1"), (1_005, b"1.005"), (-1, b"-0.001"), (-2_500, b"-2.500")],
)
def test_timestamps(timestamp_ms: int, text: bytes):
    """Times are Unix seconds with three decimals or none."""
    assert format_timestamp(timestamp_ms) == text


def test_bytes_that_are_no_unicode():
    """Labels that no JSON can carry have the replacement character instead."""
    broken = Sample(Labels({"a\udcff": "b\udcff", "c": "d"}), 1.0)

    data = encode_instant(InstantResult("vector", 0, (broken,)), Event())

    body = json.loads(Answer(data, warnings=("\ud800",)).encode())
    assert body["data"]["result"][0]["metric"] == {"a\ufffd": "b\ufffd", "c": "d"}
    assert body["warnings"] == ["\ufffd"]


def test_a_cancelled_answer():
    """A result that nobody waits for is not written to its end."""
    cancelled = Event()
    cancelled.set()
    points = SeriesPoints(Labels(), np.array([0]), np.array([1.0]))

    with pytest.raises(QueryCancelledError):
        encode_range(RangeResult((points,)), cancelled)


def test_an_answer_that_is_too_large():
    """A result past the limit is refused before it takes the memory."""
    points = SeriesPoints(
        Labels(), np.broadcast_to(np.int64(0), MAX_POINTS), np.broadcast_to(1.0, MAX_POINTS)
    )
    more = SeriesPoints(Labels({"a": "b"}), np.array([0]), np.array([1.0]))

    with pytest.raises(PromQLError, match="5000001 points, more than the limit of 5000000"):
        encode_range(RangeResult((points, more)), Event())
