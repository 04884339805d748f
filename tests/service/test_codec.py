"""JSON: bytes in and out, and errors of our own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codec import Fragment, JSONError, decode, decode_exactly, encode

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_round_trips(value: object):
    """Any JSON value is read back as it was written."""
    assert decode(encode(value)) == value


def test_writes_compact_utf8():
    """No blanks are written, and no character is escaped that need not be."""
    assert encode({"a": ["ä", 1]}) == '{"a":["ä",1]}'.encode()


def test_a_fragment_is_copied_as_it_is():
    """Bytes that are JSON already are not encoded again."""
    assert encode({"data": Fragment(b'{"x": 1}')}) == b'{"data":{"x": 1}}'


def test_reads_every_kind_of_bytes():
    """Text and every kind of buffer are read alike."""
    for data in (b"[1]", bytearray(b"[1]"), memoryview(b"[1]"), "[1]"):
        assert decode(data) == [1]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1,]", b"nan", b"\xff", b'"\xed\xa0\x80"', b"1 2", b"[" * 2000]
)
def test_refuses_what_is_not_json(data: bytes):
    """Broken text is a JSONError, which is a ValueError."""
    with pytest.raises(JSONError) as caught:
        decode(data)

    assert isinstance(caught.value, ValueError)
    assert str(caught.value)


@pytest.mark.parametrize("value", [object(), {1: 2}, 2**64, "\ud800", b"bytes", {"a": {1}}])
def test_refuses_what_json_cannot_carry(value: object):
    """A value without a JSON form is a JSONError."""
    with pytest.raises(JSONError):
        encode(value)


def test_numbers_that_are_none_become_null():
    """JSON has no NaN and no infinity; they are written as null."""
    assert encode([math.nan, math.inf]) == b"[null,null]"


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1" * 300])
def test_whole_numbers_of_any_size_pass_through_exactly(number: str):
    """Numbers beyond 64 bits are not for us to round."""
    text = f'{{"a":[{number},"{number}",1.5,{2**64 - 1}]}}'.encode()

    assert encode(decode_exactly(text)) == text


@given(VALUES)
def test_reading_exactly_is_reading(value: object):
    """Where every number fits, the two are the same."""
    assert decode_exactly(encode(value)) == value


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1,]", b"nan", b"\xff", b"1" * 30 + b" 2", b"[" * 2000 + b"1" * 30]
)
def test_reading_exactly_refuses_what_is_not_json(data: bytes):
    """Broken text is a JSONError here as well."""
    with pytest.raises(JSONError):
        decode_exactly(data)


def test_reading_exactly_goes_as_deep_as_can_be_written():
    """Deeper, a long number makes the text one that cannot be read."""
    text = b"[" * 254 + b"1" * 30 + b"]" * 254
    assert encode(decode_exactly(text)) == text

    with pytest.raises(JSONError):
        decode_exactly(b"[" * 1000 + b"1" * 30 + b"]" * 1000)
