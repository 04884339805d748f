"""Text out of string literals, whose bytes need not be UTF-8: those that are not are surrogates."""

from __future__ import annotations


def is_label_name(name: str) -> bool:
    """Tell whether a text may name a label: any UTF-8, but not nothing."""
    return bool(name) and not _has_stray_bytes(name)


def readable(text: str) -> str:
    """Return the text with stray bytes replaced, fit for an answer."""
    return _bytes(text).decode(errors="replace") if _has_stray_bytes(text) else text


def shown(text: str) -> str:
    """Return the text with stray bytes as escapes, fit for a message."""
    return _bytes(text).decode(errors="backslashreplace") if _has_stray_bytes(text) else text


def _has_stray_bytes(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
