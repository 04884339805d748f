"""What must not be printed although its type does not say so: secrets in URLs, headers."""

from __future__ import annotations

import re

from service.config.types import HIDDEN

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_QUERY = re.compile(r"(?<=\?)[^#\s]*")
_PASSWORD = re.compile(r"(?<=://)([^:/?#\s]*):([^/?#\s]*)@")
_TELLING = re.compile(r"auth|token|key|secret|cookie|password", re.IGNORECASE)


def hide_password(text: str) -> str:
    """Return a text with the passwords of the URLs in it hidden."""
    return _PASSWORD.sub(rf"\1:{HIDDEN}@", text)


def hide_secrets_of_urls(text: str) -> str:
    """Return a text with passwords and query values of the URLs in it hidden.

    The names in a query stay, for they say what is hidden.
    """
    return _URL.sub(lambda url: _QUERY.sub(_without_values, url[0], count=1), hide_password(text))


def _without_values(query: re.Match[str]) -> str:
    hidden = []
    for part in query[0].split("&"):
        name, equals, value = part.partition("=") if "=" in part else ("", "", part)
        hidden.append(f"{name}{equals}{HIDDEN if value else ''}")
    return "&".join(hidden)


def is_telling(header: str) -> bool:
    """Whether the name of a header says that its value is a secret."""
    return _TELLING.search(header) is not None
