"""Numbers as text."""

import math

import pytest

from alerts.promql.numbers import format_float, format_g


@pytest.mark.parametrize(
    ("value", "plain", "short"),
    [
        (0.0, "0", "0"),
        (1.5, "1.5", "1.5"),
        (-100000.0, "-100000", "-100000"),
        (1e6, "1000000", "1e+06"),
        (1234567.0, "1234567", "1.234567e+06"),
        (1e-4, "0.0001", "0.0001"),
        (1.5e-5, "0.000015", "1.5e-05"),
        (1e300, "1" + "0" * 300, "1e+300"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_numbers_as_go_writes_them(value, plain, short):
    """In labels without an exponent, in messages with one where the number is large or small."""
    assert format_float(value) == plain
    assert format_g(value) == short
