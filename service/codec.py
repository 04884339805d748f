"""JSON as bytes, in and out: the only module that knows the JSON library."""

from __future__ import annotations

from typing import Any, Final

import orjson

from service.errors import GatewatchError


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
