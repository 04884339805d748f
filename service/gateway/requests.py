"""Fields of server API requests: what they must be, or error 107 says it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from service.codec import JSONError, decode_exactly
from service.gateway.codes import bad_request

Request = Mapping[str, Any]


def text(request: Request, name: str) -> str:
    """Return a text, empty when it is absent or null.

    Raises:
        ProtocolError: It is none (107).
    """
    value = request.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise bad_request(f"{name} is not a string")
    return value


def flag(request: Request, name: str) -> bool:
    """Return a yes or no, no when it is absent or null.

    Raises:
        ProtocolError: It is neither (107).
    """
    value = request.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise bad_request(f"{name} is neither true nor false")
    return value


def whole(request: Request, name: str) -> int:
    """Return a whole number from 0, 0 when it is absent or null.

    Raises:
        ProtocolError: It is none (107).
    """
    value = request.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise bad_request(f"{name} is not a whole number from 0")
    return value


def texts(request: Request, name: str) -> list[str]:
    """Return a list of texts, empty when it is absent or null.

    Raises:
        ProtocolError: It is none (107).
    """
    value = request.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise bad_request(f"{name} is not a list of strings")
    return value


def section(request: Request, name: str) -> Request | None:
    """Return an object, None when it is absent or null.

    Raises:
        ProtocolError: It is none (107).
    """
    value = request.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise bad_request(f"{name} is not an object")


def value_of(request: Request, name: str) -> object:
    """Return any JSON, given as itself or in base64 under ``b64`` and the name.

    Raises:
        ProtocolError: What is in base64 is no JSON (107).
        KeyError: It is not there.
    """
    packed = text(request, f"b64{name}")
    if not packed:
        return request[name]
    try:
        return decode_exactly(base64.b64decode(packed, validate=True))
    except (binascii.Error, ValueError, JSONError) as error:
        raise bad_request(f"b64{name} is not JSON in base64, which is what clients take") from error
