"""Reading JSON that clients send, field by field, with the place in every error.

As Alertmanager's clients and servers do it, unknown fields are passed over and null is no value.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from alerts.api.parameters import parse_time
from alerts.errors import AlertsError
from alerts.series.labels import Labels, quote

FIRST_MS: Final = -62_135_596_800_000
"""0001-01-01T00:00:00Z, by which programs in Go say that there is no time."""

LAST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]+)?", re.ASCII)
_KINDS: Final = {
    type(None): "nothing",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "an array",
    dict: "an object",
}


class BadRequestError(AlertsError):
    """A request that cannot be used; says where and what would be right."""


class Fields:
    """The fields of one JSON object.

    Args:
        place: Where the object is, for errors.
        element: The object.

    Raises:
        BadRequestError: It is no object. Every method raises it for a field it cannot use.
    """

    def __init__(self, place: str, element: object) -> None:
        if not isinstance(element, dict):
            raise BadRequestError(f"{place} must be an object, not {kind_of(element)}")
        self.place: Final = place
        self._fields: Final[dict[str, object]] = element

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default it has to be there."""
        value = self._value(name, is_required=default is None)
        if value is None:
            return default or ""
        if not isinstance(value, str):
            raise self._unfit(name, "a text", value)
        return value

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """Return true or false; without a default it has to be there."""
        value = self._value(name, is_required=default is None)
        if value is None:
            return bool(default)
        if not isinstance(value, bool):
            raise self._unfit(name, "true or false", value)
        return value

    def elements(self, name: str) -> list[object]:
        """Return an array that has to be there."""
        value = self._value(name, is_required=True)
        if not isinstance(value, list):
            raise self._unfit(name, "an array", value)
        return value

    def labels(self, name: str, *, is_required: bool = False) -> Labels:
        """Return an object of texts, those that are empty left out."""
        value = self._value(name, is_required=is_required)
        if value is None:
            return Labels()
        if not isinstance(value, dict):
            raise self._unfit(name, "an object", value)
        texts = {}
        for key, text in value.items():
            if text is not None and not isinstance(text, str):
                raise self._unfit(f"{name}[{quote(key)}]", "a text", text)
            if text and not key:
                raise BadRequestError(f"{self.place}: {name}: invalid name {quote(key)}")
            texts[key] = text or ""
        return Labels(texts)

    def moment_ms(self, name: str, *, is_required: bool = False) -> int | None:
        """Return a time in Unix milliseconds; None when it is missing, empty or Go's zero time."""
        text = self.text(name, None if is_required else "")
        if not text:
            return None
        try:
            moment_ms = parse_moment(text)
        except ValueError as error:
            raise BadRequestError(f"{self.place}: {name}: {error}") from None
        return None if moment_ms == FIRST_MS else moment_ms

    def _value(self, name: str, *, is_required: bool) -> object:
        value = self._fields.get(name)
        if value is None and is_required:
            raise BadRequestError(f"{self.place}: {name} is required")
        return value

    def _unfit(self, name: str, wanted: str, value: object) -> BadRequestError:
        return BadRequestError(f"{self.place}: {name} must be {wanted}, not {kind_of(value)}")


def decode(body: bytes) -> object:
    """Return what a body says in JSON.

    Raises:
        BadRequestError: It is no JSON; says what is wrong and where.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None


def kind_of(value: object) -> str:
    """Return what a JSON value is, for a person."""
    return _KINDS[type(value)]


def parse_moment(text: str) -> int:
    """Return the Unix milliseconds of an RFC 3339 time; one without an offset is UTC.

    Raises:
        ValueError: It is none, or not within the years 1 to 9999 of UTC.
    """
    is_local = _MOMENT.fullmatch(text) is not None
    if _MOMENT.match(text) is None:
        raise ValueError(f"{quote(text)} is no time such as 2006-01-02T15:04:05Z")
    moment_ms = parse_time(f"{text}Z" if is_local else text)
    if not FIRST_MS <= moment_ms <= LAST_MS:
        raise ValueError(f"{quote(text)} is out of range")
    return moment_ms
