"""Shortening texts to what a receiver takes, as Alertmanager does: with an ellipsis at the end.

Source: Alertmanager, notify/util.go (TruncateInRunes, TruncateInBytes).
"""

from __future__ import annotations

from typing import Final

from alerts.notify.settings import Limit

ELLIPSIS: Final = "\u2026"


def fits(text: str, limit: Limit) -> bool:
    """Whether a text is no longer than it may be."""
    return size_of(text, limit) <= limit.size


def size_of(text: str, limit: Limit) -> int:
    """Return how long a text is, in what the limit counts."""
    if limit.unit == "characters":
        return len(text)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def truncate(text: str, limit: Limit) -> str:
    """Return a text cut at its end if it is too long; characters stay whole."""
    if fits(text, limit):
        return text
    return _characters(text, limit.size) if limit.unit == "characters" else _bytes(text, limit.size)


def truncate_lines(text: str, limit: Limit) -> str:
    """Return a text cut after a whole line if it is too long, in a line if it is but one."""
    if fits(text, limit):
        return text
    shorter = truncate(text, limit)
    whole, newline, _ = shorter.rpartition("\n")
    return f"{whole}\n{ELLIPSIS}" if newline and whole.strip() else shorter


def _characters(text: str, size: int) -> str:
    return text[:size] if size <= 3 else text[: size - 1] + ELLIPSIS


def _bytes(text: str, size: int) -> str:
    if size <= 3:
        return ELLIPSIS if size == 3 else "." * size
    data = text.encode("utf-8", "surrogatepass")[: size - 3]
    return data.decode("utf-8", "ignore") + ELLIPSIS
