"""Numbers, durations and texts of conditions, and when two of them are the same.

Source: Gatus's ``config/endpoint/condition.go``, whose comparisons are those of Go's ``strconv``
and ``time.ParseDuration``. Where Gatus makes 0 of what is no number, a comparison does not hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.codec import JSONError, encode

_UNIT_MS = {
    "ns": 1e-6,
    "us": 1e-3,
    "µs": 1e-3,
    "ms": 1.0,
    "s": 1e3,
    "m": 60e3,
    "h": 3600e3,
    "d": 86400e3,
    "w": 604800e3,
    "y": 31536000e3,
}
_PART = re.compile(
    r"([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(ns|us|µs|ms|s|m|h|d|w|y)", re.ASCII
)
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+", re.ASCII)
_WHOLE = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|0[oO][0-7]{1,22}|0[bB][01]{1,64}|[0-9]{1,19})", re.ASCII
)
_FLOAT = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Missing:
    """A value that is not there.

    Attributes:
        reason: Why, to stand in parentheses.
    """

    reason: str


Value = int | float | str | Missing
"""What an operand of a condition stands for in one run."""


def whole_number(text: str) -> int | None:
    """Return the integer a text stands for, in the notations of Go; None when it is none."""
    if _WHOLE.fullmatch(text) is None:
        return None
    digits = text.lstrip("+-")
    is_octal = len(digits) > 1 and digits.isdecimal() and digits.startswith("0")
    try:
        number = int(digits, 8 if is_octal else 0)
    except ValueError:  # 08 and 09 are no octal numbers
        return None
    return -number if text.startswith("-") else number


def milliseconds(text: str) -> float | None:
    """Return the milliseconds of a duration such as ``48h``, ``7d``, ``1.5h``; None for others."""
    if _DURATION.fullmatch(text) is None:
        return None
    total = sum(float(count) * _UNIT_MS[unit] for count, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def number(value: Value) -> int | float | None:
    """Return a value as a number; durations are milliseconds. None when it is none."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, Missing):
        return None
    whole = whole_number(value)
    if whole is not None:
        return whole
    if _FLOAT.fullmatch(value) is not None:
        return float(value)
    return milliseconds(value)


def is_same(left: Value, right: Value) -> bool:
    """Whether two values are equal.

    A number is compared as a number, two texts as texts unless both are whole numbers: the texts
    ``1.1`` and ``1.10`` are versions as often as numbers.
    """
    if isinstance(left, Missing) or isinstance(right, Missing):
        return False
    if isinstance(left, str) and isinstance(right, str):
        ours, theirs = whole_number(left), whole_number(right)
        return left == right if ours is None or theirs is None else ours == theirs
    ours_number, theirs_number = number(left), number(right)
    if ours_number is None or theirs_number is None:
        return as_text(left) == as_text(right)
    return ours_number == theirs_number


def as_text(value: Value) -> str:
    """Return a value as patterns see it and people read it."""
    if isinstance(value, Missing):
        return value.reason
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def from_json(value: object) -> Value:
    """Return a value found in JSON: lists and mappings as their JSON, null as missing."""
    if value is None:
        return Missing("null")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str):
        return value
    try:
        return encode(value).decode()
    except JSONError:
        return Missing("nested too deeply")
