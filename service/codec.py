"""JSON as bytes, in and out: the only module that knows the JSON library."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from service.errors import GatewatchError

_ZEROS_FOR_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * 19  # fewer digits always fit 64 bits


class JSONError(GatewatchError, ValueError):
    """Bytes that are not JSON, or a value that JSON cannot carry."""


Fragment: Final = orjson.Fragment
"""Wraps bytes that are JSON already, so that ``encode`` copies them as they are."""


def encode(value: object) -> bytes:
    """Return a value as compact UTF-8 JSON.

    Raises:
        JSONError: The value, or one inside it, has no JSON form.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise JSONError(str(error)) from error


def decode(data: bytes | bytearray | memoryview | str) -> Any:
    """Return the value that JSON text stands for.

    Raises:
        JSONError: The text is not JSON; says where.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JSONError(str(error)) from error


def decode_exactly(data: bytes) -> Any:
    """Return the value of JSON text, with whole numbers beyond 64 bits as fragments.

    ``decode`` rounds them to floats; a fragment is encoded again as the very digits that came.
    Numbers that not even a float can approximate are refused by both.

    Raises:
        JSONError: The text is not JSON; says where.
    """
    value = decode(data)
    if _LONG_NUMBER not in data.translate(_ZEROS_FOR_DIGITS):
        return value
    try:
        return json.loads(data, parse_int=_whole_number)
    except RecursionError as error:
        raise JSONError("nested too deep beside a long number") from error


def _whole_number(digits: str) -> int | orjson.Fragment:
    if len(digits) <= 20 and -(2**63) <= (number := int(digits)) < 2**64:
        return number
    return Fragment(digits.encode())
