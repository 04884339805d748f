r"""Escapes in strings as Go writes them: ``\n``, ``\x41``, ``\u00e9``, ``\U0001F600``, ``\101``.

PromQL and Go's templates have the same, and differ in the quotes that can be escaped.
"""

from __future__ import annotations

import re
from typing import Final

_LETTERS: Final = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
}
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.)|)", re.DOTALL
)


def resolve_escapes(text: str, *, quotes: str) -> bytes:
    """Return the UTF-8 of a text with its escapes resolved; some stand for single bytes.

    Args:
        text: What stands between the quotes.
        quotes: Those that can be escaped in it.

    Raises:
        ValueError: An escape is none of Go's.
    """
    pieces: list[bytes] = []
    position = 0
    for found in _ESCAPE.finditer(text):
        pieces.append(text[position : found.start()].encode("utf-8", "surrogatepass"))
        position = found.end()
        pieces.append(_resolved(found, quotes))
    pieces.append(text[position:].encode("utf-8", "surrogatepass"))
    return b"".join(pieces)


def _resolved(found: re.Match[str], quotes: str) -> bytes:
    byte, short, long, octal, letter = found.groups()
    if byte:
        return bytes([int(byte, 16)])
    if octal and int(octal, 8) <= 0xFF:
        return bytes([int(octal, 8)])
    code = short or long
    if code and int(code, 16) <= 0x10FFFF and not 0xD800 <= int(code, 16) <= 0xDFFF:
        return chr(int(code, 16)).encode()
    if letter in _LETTERS:
        return _LETTERS[letter]
    if letter and letter in quotes:
        return letter.encode()
    raise ValueError(f"{found[0]} is no escape")
