"""The share of traces that are recorded, by the name of their first span or by the channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

_MAX_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """A share for some traces.

    Attributes:
        ratio: The share, 0 to 1.
        name: Pattern of the name of the span the trace begins with; ``*`` and ``?`` stand for
            anything; None: any.
        namespace: Namespace of the channel, empty for channels without one; None: any, or none.
    """

    ratio: float
    name: str | None = None
    namespace: str | None = None

    def matches(self, name: str, namespace: str | None) -> bool:
        """Whether it is about a span of this name that concerns a channel, or none."""
        if self.namespace is not None and self.namespace != namespace:
            return False
        return self.name is None or fnmatchcase(name, self.name)


class SamplingRules:
    """Finds the share for a trace: the first rule that matches, else the one for all.

    Attributes:
        ratio: The share where no rule matches; 0: nothing is recorded, whatever the rules say.
        exist: Whether there are rules, so that names need not be made up when there are none.
    """

    __slots__ = ("_about", "_found", "_rules", "exist", "ratio")

    def __init__(self, ratio: float, rules: Sequence[SamplingRule] = ()) -> None:
        self.ratio = ratio
        self._rules = tuple(rules)
        self.exist = bool(rules) and ratio > 0
        self._about: dict[tuple[str, str], float | None] = {}
        self._found: dict[tuple[str, str | None], float | None] = {}

    def about(self, verb: str, template: str) -> float | None:
        """Return the share that a rule gives to what is done with a channel, None when none does.

        Args:
            verb: The first word of the span's name.
            template: The channel's, of which there are as many as namespaces; empty: no channel.
        """
        if not self.exist:
            return None
        key = (verb, template)
        if key not in self._about:
            namespace = namespace_of(template) if template else None
            self._about[key] = self.given(f"{verb} {template}".strip(), namespace)
        return self._about[key]

    def given(self, name: str, namespace: str | None = None) -> float | None:
        """Return the share that a rule gives, None when no rule matches."""
        if not self.exist:
            return None
        key = (name, namespace)
        if key in self._found:
            return self._found[key]
        ratio = next((each.ratio for each in self._rules if each.matches(*key)), None)
        if len(self._found) < _MAX_REMEMBERED:  # names are few, unless somebody makes them up
            self._found[key] = ratio
        return ratio


def namespace_of(template: str) -> str:
    """Return the namespace of a channel's template, empty when it has none."""
    return template.partition(":")[0] if ":" in template else ""
