"""What must not be printed although its type does not say so: passwords in URLs, headers."""

from __future__ import annotations

import re

from service.config.types import HIDDEN

_PASSWORD = re.compile(r"(?<=://)([^:/?#\s]*):([^/?#\s]*)@")
_TELLING = re.compile(r"auth|token|key|secret|cookie|password", re.IGNORECASE)


def hide_password(text: str) -> str:
    """Return a text with the passwords of the URLs in it hidden."""
    return _PASSWORD.sub(rf"\1:{HIDDEN}@", text)


def is_telling(header: str) -> bool:
    """Whether the name of a header says that its value is a secret."""
    return _TELLING.search(header) is not None
