"""Texts, characters and numbers as Go writes them in source code.

Source: Go, strconv (Unquote, ParseInt, ParseFloat) and text/template/parse/node.go (newNumber).
"""

from __future__ import annotations

import re
from typing import Final

from alerts.escapes import resolve_escapes

_INTEGER: Final = re.compile(
    r"[-+]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0(?:_?[0-7])*"
    r"|[1-9](?:_?[0-9])*)"
)
_FLOAT: Final = re.compile(
    r"[-+]?(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)"
    r"(?:[eE][-+]?[0-9](?:_?[0-9])*)?"
)
_HEX_FLOAT: Final = re.compile(
    r"[-+]?0[xX](?:[0-9a-fA-F_]+\.?[0-9a-fA-F_]*|\.[0-9a-fA-F_]+)[pP][-+]?[0-9]+"
)
_MAX_INT: Final = 2**63
_MAX_UINT: Final = 2**64


def unquote(text: str) -> str:
    """Return what a literal in double or back quotes stands for.

    Bytes that are no UTF-8 become lone surrogates.

    Raises:
        ValueError: An escape is none of Go's.
    """
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _unescaped(text[1:-1], '"')


def unquote_char(text: str) -> int:
    """Return the code point of a literal in single quotes.

    Raises:
        ValueError: It is not one character.
    """
    value = _unescaped(text[1:-1], "'")
    if text[1:-1] == "'" or len(value) != 1:
        raise ValueError(f"{text} is not one character")
    point = ord(value)
    return point - 0xDC00 if 0xDC80 <= point <= 0xDCFF else point


def _unescaped(text: str, quote: str) -> str:
    if "\\" not in text:
        return text
    return resolve_escapes(text, quotes=quote).decode("utf-8", "surrogateescape")


def parse_number(text: str) -> tuple[int | None, float | None, bool]:
    """Return a number as int64 and as float64, as far as it is one, and if it is written as one.

    Raises:
        ValueError: It is no number, or an integer of more than 64 bits.
    """
    is_real = any(letter in text for letter in ".eEpP") and not (
        text.lstrip("+-")[:2].lower() == "0x" and not any(letter in text for letter in "pP")
    )
    if _INTEGER.fullmatch(text):
        integer = _integer(text)
        if not -_MAX_INT <= integer < _MAX_UINT:
            raise ValueError(f"{text} does not fit into 64 bits")
        if integer >= _MAX_INT:
            return None, float(integer), False
        return integer, float(integer), False
    if _FLOAT.fullmatch(text) and is_real:
        real = float(text.replace("_", ""))
    elif _HEX_FLOAT.fullmatch(text):
        real = float.fromhex(text.replace("_", ""))
    else:
        raise ValueError(f"{text} is no number")
    if real in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large")
    integral = int(real) if real.is_integer() and abs(real) < _MAX_INT else None
    return integral, real, True


def _integer(text: str) -> int:
    digits = text.lstrip("+-").replace("_", "").lower()
    sign = -1 if text.startswith("-") else 1
    if len(digits) > 70:
        raise ValueError(f"{text[:20]}... does not fit into 64 bits")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        return sign * int(digits, 8)
    return sign * int(digits, 0)
