"""Texts that must not show: tokens, passwords, and URLs that hold them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

HIDDEN: Final = "<secret>"
"""What is shown in place of a secret, as Alertmanager does."""


_SHORTEST_TOKEN: Final = 5


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
        """Return a message without the secret and without what of it could be one on its own.

        Of a URL that is the user, path and query, and their parts; the host may show.
        """
        for hidden in sorted(self._parts(), key=len, reverse=True):
            message = message.replace(hidden, HIDDEN)
        return message

    def _parts(self) -> set[str]:
        netloc = urlsplit(self._text).netloc
        tail = self._text.partition(netloc)[2] if netloc else ""
        user = netloc.rpartition("@")[0]
        words = re.split(r"[/?&=#:\s]+", f"{user} {tail}" if netloc else self._text)
        whole = {part for part in (self._text, user, tail.strip("/")) if len(part) > 1}
        # Shorter words would blank out much of any message and are no tokens.
        return whole | {word for word in words if len(word) >= _SHORTEST_TOKEN}
