"""Texts that must not show: tokens, passwords, and URLs that hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

HIDDEN: Final = "<secret>"
"""What is shown in place of a secret, as Alertmanager does."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that only ``reveal`` shows."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """Return the text; never pass it on to a log, an error or a span."""
        return self._text

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def redact(self, message: str) -> str:
        """Return a message without the secret, or, of a URL, without path, query and user."""
        parts = urlsplit(self._text)
        tail = self._text.partition(parts.netloc)[2] if parts.netloc else ""
        user = parts.netloc.rpartition("@")[0]
        for hidden in (self._text, tail.strip("/"), user, *self._text.split()):
            if len(hidden) > 1:
                message = message.replace(hidden, HIDDEN)
        return message
