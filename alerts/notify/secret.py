"""Texts that must not show: tokens, passwords, and URLs that hold them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

HIDDEN: Final = "<secret>"
"""What is shown in place of a secret, as Alertmanager does."""


_SHORTEST_TOKEN: Final = 5
_SHORTEST_PLAIN_TOKEN: Final = 8


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
        if not netloc:
            words = set(re.split(r"[/?&=#:\s]+", self._text))
            # Shorter words would blank out much of any message and are no tokens.
            return {self._text} | {word for word in words if len(word) >= _SHORTEST_TOKEN}
        tail = self._text.partition(netloc)[2].strip("/")
        user = netloc.rpartition("@")[0]
        words = {word for word in re.split(r"[/?&=#:\s]+", tail) if _may_be_token(word)}
        logins = {word for word in user.split(":") if len(word) >= _SHORTEST_TOKEN}
        whole = {part for part in (self._text, user) if len(part) > 1}
        return whole | logins | words | ({tail} if words else set())


def _may_be_token(word: str) -> bool:
    """Whether a word of a URL's path may be a secret: ``hooks``, ``team`` and the like are none."""
    is_plain = word.isalpha() and word.islower()
    return len(word) >= (_SHORTEST_PLAIN_TOKEN if is_plain else _SHORTEST_TOKEN)
