"""Text out of string literals, whose bytes need not be UTF-8: those that are not are surrogates."""

from __future__ import annotations

import re
from typing import Final

_STRAY: Final = re.compile("[\ud800-\udfff]")
_FIRST_BYTE: Final = 0xDC00
"""A stray byte is the surrogate this far above it; other surrogates come from the outside."""


def is_label_name(name: str) -> bool:
    """Tell whether a text may name a label: any UTF-8, but not nothing."""
    return bool(name) and _STRAY.search(name) is None


def readable(text: str) -> str:
    """Return the text with what is no UTF-8 replaced, fit for an answer."""
    return _STRAY.sub("\ufffd", text)


def shown(text: str) -> str:
    r"""Return the text with what is no UTF-8 as escapes such as ``\xff``, fit for a message."""
    return _STRAY.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    byte = code - _FIRST_BYTE
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else f"\\u{code:04x}"
