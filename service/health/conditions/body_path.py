"""Paths into a JSON body: Gatus's ``.items[0].id``, carried out as JSONPath (RFC 9535).

The library is imported with the first path: settings are read by every command.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonpath import JSONPathEnvironment

_HINT = "write .name, [0], [*] or a JSONPath selector such as [?@.id == 1]"


class BodyPathError(ValueError):
    """A text that is no path; the message says what would be right.

    Attributes:
        offset: Where in the text, from 0.
    """

    def __init__(self, message: str, offset: int) -> None:
        self.offset = offset
        super().__init__(message)


class BodyPath:
    """A path that was understood.

    Attributes:
        is_singular: Whether it leads to one place at most, whatever the body.
    """

    __slots__ = ("_query", "is_singular", "text")

    def __init__(self, text: str) -> None:
        """Read a path.

        Args:
            text: What stands behind ``[BODY]``.

        Raises:
            BodyPathError: It is no path.
        """
        from jsonpath import JSONPath
        from jsonpath.exceptions import JSONPathError

        self.text = text
        query = _as_jsonpath(text)
        try:
            compiled = _environment().compile(query)
        except JSONPathError as error:
            problem = str(error).partition("\n")[0]
            raise BodyPathError(
                f"{text!r} is no path into a body ({problem}); {_HINT}", 0
            ) from error
        if not isinstance(compiled, JSONPath):
            raise BodyPathError(f"{text!r} is more than one path; {_HINT}", 0)
        self._query = compiled
        self.is_singular = compiled.singular_query()

    def find(self, document: object) -> Sequence[object]:
        """Return what the path leads to in a JSON document.

        Raises:
            BodyPathError: The document is nested too deeply to look everywhere in it.
        """
        from jsonpath.exceptions import JSONPathError

        if not isinstance(document, dict | list):
            return [] if self.text else [document]
        try:
            return [match.obj for match in self._query.finditer(document)]
        except (JSONPathError, RecursionError) as error:
            raise BodyPathError("nested too deeply", 0) from error


def _environment() -> JSONPathEnvironment:
    from jsonpath import JSONPathEnvironment

    environment = JSONPathEnvironment(strict=True)
    # Their regular expressions backtrack: a body could keep the process busy for hours.
    for name in ("match", "search"):
        environment.function_extensions.pop(name)
    return environment


def _as_jsonpath(text: str) -> str:
    parts = ["$"]
    position = 0
    while position < len(text):
        if text[position] == "[":
            end = closing_bracket(text, position)
            if end is None:
                raise BodyPathError("a ] is missing", len(text))
            parts.append(text[position:end])
        elif text[position] == ".":
            descends = text.startswith("..", position)
            start = position + 2 if descends else position + 1
            end = min(
                (at for at in (text.find(".", start), text.find("[", start)) if at >= 0),
                default=len(text),
            )
            name = text[start:end]
            if not name and not (descends and text.startswith("[", start)):
                raise BodyPathError(f"a name is missing behind the dot; {_HINT}", position)
            shown = "" if not name else "[*]" if name == "*" else f"[{json.dumps(name)}]"
            parts.append(f"{'..' if descends else ''}{shown}")
        else:
            raise BodyPathError(f"{text[position:]!r} is no path; {_HINT}", position)
        position = end
    return "".join(parts)


def closing_bracket(text: str, start: int) -> int | None:
    """Return the position behind the bracket that closes one; None when nothing closes it."""
    depth = 0
    quote = ""
    position = start
    while position < len(text):
        letter = text[position]
        if quote:
            if letter == "\\":
                position += 1
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return None
