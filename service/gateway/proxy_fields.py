"""Strict reading of the fields of a back end's answer. No I/O.

Every function raises ``AnswerError`` for a field of another kind; null counts as absent.
Clients speak JSON here, so what comes in ``b64data`` and ``b64info`` must be JSON too.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from service.codec import JSONError, decode_exactly, encode
from service.gateway.codes import GatewayError

_MAX_TIME: Final = 2**53


class AnswerError(GatewayError):
    """An answer that is not in the format; says what is wrong with it."""


def refuse(fields: Mapping[str, Any], *names: str) -> None:
    """Refuse what is there and cannot be done, rather than do half of what the back end wants."""
    given = [name for name in names if fields.get(name)]
    if given:
        raise AnswerError(f"{' and '.join(given)} in a result cannot be honoured here")


def object_field(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return an object; None when it is absent."""
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise AnswerError(f"{name} is not an object")
    return value


def text_field(fields: Mapping[str, Any], name: str) -> str:
    """Return a text; empty when it is absent."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AnswerError(f"{name} is not a string")
    check_encodable(value, name)
    return value


def texts_field(fields: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts; empty when it is absent."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise AnswerError(f"{name} is not a list of strings")
    check_encodable(value, name)
    return value


def check_encodable(value: object, name: str) -> None:
    """Refuse text that JSON can spell and UTF-8 cannot."""
    try:
        encode(value)
    except JSONError as error:
        raise AnswerError(f"{name} cannot be passed on: {error}") from error


def flag_field(fields: Mapping[str, Any], name: str) -> bool:
    """Return a yes or no; no when it is absent."""
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise AnswerError(f"{name} is neither true nor false")
    return value


def integer_field(fields: Mapping[str, Any], name: str) -> int:
    """Return a whole number of 64 bits; 0 when it is absent."""
    value = fields.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise AnswerError(f"{name} is not a whole number of 64 bits")
    return value


def time_field(fields: Mapping[str, Any]) -> int | None:
    """Return ``expire_at`` in Unix seconds; None when it is absent or 0."""
    seconds = integer_field(fields, "expire_at")
    if seconds > _MAX_TIME:
        raise AnswerError("expire_at is not a time in Unix seconds")
    return seconds or None


def payload_field(fields: Mapping[str, Any], name: str, *, encoded: bool = True) -> bytes | None:
    """Return a value as compact JSON; its Base64 twin, if there is one, has precedence."""
    text = text_field(fields, f"b64{name}") if encoded else ""
    value = fields.get(name)
    try:
        if text:
            value = decode_exactly(b64decode(text, validate=True))
        elif value is None:
            return None
        return encode(value)  # anew: a line break between tokens would end the reply it is put in
    except ValueError as error:  # JSONError, and what base64 has not
        what = f"b64{name}" if text else name
        raise AnswerError(f"{what} is no JSON that can be passed on: {error}") from error
