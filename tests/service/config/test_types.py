"""Durations and sizes as settings: what is read, and that it is written as it was read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from alerts.durations import format_duration
from service.config.addresses import is_loopback
from service.config.types import Duration, PositiveDuration, Size, format_size

DURATION: TypeAdapter[float] = TypeAdapter(Duration)
POSITIVE: TypeAdapter[float] = TypeAdapter(PositiveDuration)
SIZE: TypeAdapter[int] = TypeAdapter(Size)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1000, 1000),
        ("512", 512),
        ("512B", 512),
        ("64KiB", 65_536),
        ("1 MiB", 1_048_576),
        ("2GiB", 2_147_483_648),
        ("1kB", 1000),
        ("1MB", 1_000_000),
        ("1GB", 1_000_000_000),
    ],
)
def test_reads_sizes(text: object, size: int):
    """Sizes are whole numbers of bytes, or numbers with a decimal or binary unit."""
    assert SIZE.validate_python(text) == size


@pytest.mark.parametrize(
    "value", ["", "64k", "KiB", "1.5MiB", "-1B", "9" * 5000, True, 1.5, None, 0, -1]
)
def test_refuses_what_is_no_size(value: object):
    """Unknown units, fractions, nothing and other kinds of value are refused."""
    with pytest.raises(ValidationError):
        SIZE.validate_python(value)


@pytest.mark.parametrize("value", [5, 1.5, True, None, [], "5", "-5s", "abc"])
def test_refuses_what_is_no_duration(value: object):
    """A number without a unit is refused: seconds and milliseconds look alike."""
    with pytest.raises(ValidationError):
        DURATION.validate_python(value)


@pytest.mark.parametrize("value", [0, 0.0, "0", "0s"])
def test_no_time_at_all_needs_no_unit(value: object):
    """Zero is a duration, except where something must take time."""
    assert DURATION.validate_python(value) == 0.0
    with pytest.raises(ValidationError):
        POSITIVE.validate_python(value)


@given(st.integers(min_value=1, max_value=2**50))
def test_sizes_round_trip(size: int):
    """Every size is read back as it was written."""
    assert SIZE.validate_python(format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**12))
def test_durations_round_trip(milliseconds: int):
    """Every duration is read back as it was written."""
    seconds = milliseconds / 1000

    assert DURATION.validate_python(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_knows_loopback(host: str, answer: bool):
    """Only addresses that other machines cannot reach are loopback."""
    assert is_loopback(host) is answer
