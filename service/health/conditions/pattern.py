r"""The patterns of ``pat()``: ``*``, ``?``, ``[a-z]`` and ``\`` as in Go's ``filepath.Match``.

Unlike there, ``*`` and ``?`` stand for slashes and line ends as well, as in Gatus. They are matched
by RE2, in time that grows with the text and no faster.
"""

from __future__ import annotations

import re2  # type: ignore[import-untyped]  # google-re2 ships no type information


class PatternError(ValueError):
    """A text that is no pattern; the message says what would be right.

    Attributes:
        offset: Where in the text, from 0.
    """

    def __init__(self, message: str, offset: int) -> None:
        self.offset = offset
        super().__init__(message)


class Pattern:
    """A pattern that was understood.

    Attributes:
        text: As it was written.
    """

    __slots__ = ("_expression", "text")

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            PatternError: It is none.
        """
        self.text = text
        options = re2.Options()
        options.log_errors = False
        options.dot_nl = True
        try:
            self._expression = re2.compile(_as_expression(text), options)
        except re2.error as error:
            raise PatternError(f"{text!r} is no pattern: {error}", 0) from error

    def matches(self, text: str) -> bool:
        """Whether a whole text is one the pattern stands for."""
        return self._expression.fullmatch(text) is not None


def _as_expression(text: str) -> str:
    parts: list[str] = []
    position = 0
    while position < len(text):
        letter = text[position]
        if letter == "*":
            parts.append(".*")
        elif letter == "?":
            parts.append(".")
        elif letter == "[":
            position = _put_class(text, position, parts)
            continue
        elif letter == "\\":
            position += 1
            if position == len(text):
                raise PatternError(
                    "the pattern ends with a backslash; write two for one in the text", position - 1
                )
            parts.append(re2.escape(text[position]))
        else:
            parts.append(re2.escape(letter))
        position += 1
    return "".join(parts)


def _put_class(text: str, start: int, parts: list[str]) -> int:
    """Write a class of characters and return the position behind it."""
    end = text.find("]", start + 2)
    if end < 0:
        raise PatternError("[ has no ] to it; write \\[ for a bracket in the text", start)
    inner = text[start + 1 : end]
    negated = inner.startswith(("^", "!"))
    ranges = inner[1:] if negated else inner
    if not ranges:
        raise PatternError("there is nothing between [ and ]", start)
    escaped = "".join(one if one == "-" else re2.escape(one) for one in ranges)
    parts.append(f"[{'^' if negated else ''}{escaped}]")
    return end + 1
