"""Inhibition: while one alert fires, others that follow from it are not told.

Source: Alertmanager, inhibit/inhibit.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from alerts.model import Alert
from alerts.routing.model import InhibitRule, matches_all
from alerts.series.labels import Labels

_Equal = tuple[str, ...]
"""The values of a rule's ``equal`` labels."""


class Inhibitor:
    """Knows the alerts that inhibit, by rule and by what must be equal."""

    def __init__(self, rules: Sequence[InhibitRule]) -> None:
        """Start without alerts."""
        self._rules = tuple(_Rule(rule) for rule in rules)

    def put(self, alert: Alert) -> None:
        """Take an alert, or news of one: it may be a source."""
        for rule in self._rules:
            rule.put(alert)

    def remove(self, labels: Labels) -> None:
        """Forget an alert."""
        for rule in self._rules:
            rule.remove(labels)

    def targeting(self, labels: Labels) -> tuple[int, ...]:
        """Return the numbers of the rules that may inhibit an alert; they never change."""
        return tuple(
            number
            for number, rule in enumerate(self._rules)
            if matches_all(rule.definition.target_matchers, labels)
        )

    def inhibiting(
        self, labels: Labels, now_ms: int, *, targeting: Sequence[int] | None = None
    ) -> tuple[str, ...]:
        """Return the fingerprint of an alert that inhibits one with these labels, or nothing.

        Args:
            labels: Of the alert that may be held back.
            now_ms: When.
            targeting: What ``targeting`` says of the labels, where that is known.
        """
        numbers = self.targeting(labels) if targeting is None else targeting
        for number in numbers:
            source = self._rules[number].source_for(labels, now_ms)
            if source is not None:
                return (source.fingerprint,)
        return ()


@dataclass(slots=True)
class _Rule:
    """A rule and its sources, by what must be equal and by their labels."""

    definition: InhibitRule
    sources: dict[_Equal, dict[Labels, Alert]] = field(default_factory=dict)

    def put(self, alert: Alert) -> None:
        if matches_all(self.definition.source_matchers, alert.labels):
            self.sources.setdefault(self._equal(alert.labels), {})[alert.labels] = alert

    def remove(self, labels: Labels) -> None:
        equal = self._equal(labels)
        alerts = self.sources.get(equal)
        if alerts is not None and alerts.pop(labels, None) is not None and not alerts:
            del self.sources[equal]

    def source_for(self, labels: Labels, now_ms: int) -> Alert | None:
        """Return an alert that fires and inhibits a target."""
        candidates = self.sources.get(self._equal(labels))
        if not candidates:
            return None
        # An alert on both sides is held back by a pure source only: two such would hold back
        # each other, and nobody would be told.
        is_source_too = matches_all(self.definition.source_matchers, labels)
        for candidate in candidates.values():
            if candidate.is_resolved(now_ms):
                continue
            if is_source_too and matches_all(self.definition.target_matchers, candidate.labels):
                continue
            return candidate
        return None

    def _equal(self, labels: Labels) -> _Equal:
        return tuple(labels.get(name, "") for name in self.definition.equal)
