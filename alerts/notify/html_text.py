"""Values in HTML templates: escaped for the place they are written to.

Text and quoted attributes are escaped, attributes that hold a URL take only schemes that do no
harm. A value inside of ``<script>`` or ``<style>``, in the name of a tag or attribute, or in an
attribute without quotes, is refused: to be safe there, it would have to be known what it means.

Source: Go, package html/template, of which this is the part that mail and chat messages need.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from alerts.notify.template_functions import Url
from alerts.templates.gofmt import written
from alerts.templates.values import Html, Value, to_bytes

_ESCAPES: Final = str.maketrans(
    {
        "\0": "\ufffd",
        '"': "&#34;",
        "'": "&#39;",
        "&": "&amp;",
        "+": "&#43;",
        "<": "&lt;",
        ">": "&gt;",
    }
)
_UNSAFE_URL: Final = "#ZgotmplZ"
"""What Go writes in place of a URL that could run something."""

_SAFE_SCHEMES: Final = frozenset(("http", "https", "mailto", "tel"))
_URL_ATTRIBUTES: Final = frozenset(
    ("action", "background", "cite", "formaction", "href", "poster", "src")
)
_ATTRIBUTE: Final = re.compile(r"""([a-zA-Z_:][-\w:.]*)\s*=\s*(?:"([^"]*)|'([^']*))\Z""", re.ASCII)
_TAG: Final = re.compile(r"<[a-zA-Z/!]", re.ASCII)
"""Where a tag begins; another ``<`` is only text."""

_CODE: Final = re.compile(r"<(/?)(script|style)\b", re.IGNORECASE)
_LOOKED_AT: Final = 4096


def escape_html(value: Value, before: Sequence[str]) -> str:
    """Return what an action writes into HTML.

    Args:
        value: What it came to.
        before: What was written before it.

    Raises:
        ValueError: Nothing is safe at that place; says what would be.
    """
    text = written(value)
    place = _tail(before)
    if place is None:
        if isinstance(value, Html):
            return text
        return text.translate(_ESCAPES)
    match = _ATTRIBUTE.search(place)
    if match is None:
        raise ValueError("a value in a tag must stand in an attribute with quotes around it")
    name = match[1].lower()
    if name.startswith("on") or name == "style":
        raise ValueError(f"the attribute {name} takes no values of templates")
    if name in _URL_ATTRIBUTES:
        is_start = not (match[2] or match[3])
        return _url(text, is_start=is_start and not isinstance(value, Url))
    return text.translate(_ESCAPES)


def _tail(before: Sequence[str]) -> str | None:
    """Return the tag that what was written ends inside of; None when it ends in text."""
    found = ""
    for piece in reversed(before):
        found = piece + found
        if ">" in piece or _TAG.search(found) or len(found) > _LOOKED_AT:
            break
    whole = "".join(before[-64:])
    code = list(_CODE.finditer(whole))
    if code and not code[-1][1]:
        raise ValueError(f"a value inside of <{code[-1][2].lower()}> is not supported")
    opened = [match.start() for match in _TAG.finditer(found)]
    return found[opened[-1] :] if opened and opened[-1] > found.rfind(">") else None


def _url(text: str, *, is_start: bool) -> str:
    if is_start:
        scheme, colon, _ = text.partition(":")
        has_scheme = bool(colon) and not set(scheme) & set("/?#")
        if has_scheme and scheme.strip().lower() not in _SAFE_SCHEMES:
            return _UNSAFE_URL
    return quote(to_bytes(text), safe="!#$%&*+,-./:;=?@[]_~()'").translate(_ESCAPES)


def escape_text(text: str) -> str:
    """Return a text for HTML."""
    return text.translate(_ESCAPES)
