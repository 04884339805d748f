"""Label matchers ``=``, ``!=``, ``=~`` and ``!~``; an absent label has the empty value.

Regular expressions are RE2, fully anchored, with ``.`` matching newlines, as Prometheus 3 has
them; RE2 runs in linear time, so no pattern can hang an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no type information

_MAX_REGEX_MEMORY_BYTES = 8 << 20


class MatchOp(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


def compile_regex(pattern: str) -> Callable[[str], bool]:
    """Return the test for a fully anchored RE2 pattern.

    Raises:
        ValueError: The pattern is no RE2 pattern; the text says why.
    """
    fullmatch = _compiled(pattern).fullmatch

    def test(value: str) -> bool:
        return fullmatch(value) is not None

    return test


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MAX_REGEX_MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{pattern!r} is no RE2 regular expression: {text}") from None


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label.

    Raises:
        ValueError: The value of a regular expression matcher is no RE2 pattern.
    """

    op: MatchOp
    name: str
    value: str
    matches: Callable[[str], bool] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", self._test())

    def _test(self) -> Callable[[str], bool]:
        wanted = self.value
        if self.op is MatchOp.EQUAL:
            return lambda value: value == wanted
        if self.op is MatchOp.NOT_EQUAL:
            return lambda value: value != wanted
        regex = compile_regex(wanted)
        if self.op is MatchOp.REGEX:
            return regex
        return lambda value: not regex(value)

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.op}"{escaped}"'


def regex_groups(pattern: str) -> Callable[[str], dict[str, str] | None]:
    """Return what matches a fully anchored RE2 pattern: its groups by number and name.

    Raises:
        ValueError: The pattern is no RE2 pattern; the text says why.
    """
    regex = _compiled(pattern)

    def groups(value: str) -> dict[str, str] | None:
        match = regex.fullmatch(value)
        if match is None:
            return None
        numbered = enumerate((match.group(0), *match.groups()))
        found = {str(number): text or "" for number, text in numbered}
        found.update((name, text or "") for name, text in match.groupdict().items())
        return found

    return groups
