"""A rule as member of its group: its identity, where it writes, and what of it is stored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from alerts.rules.alerting import AlertingRule, AlertInstance
from alerts.rules.model import SeriesTarget
from alerts.rules.recording import RecordingRule
from alerts.rules.state import OUTAGE_TOLERANCE_MS
from alerts.series.errors import SeriesError
from alerts.series.labels import Labels

_log = logging.getLogger(__name__)

RuleHealth = Literal["unknown", "ok", "err"]


@dataclass(slots=True)
class RuleStatus:
    """How the newest evaluation of a rule went.

    Attributes:
        health: ok, err, or unknown before the first.
        last_error: What went wrong, empty when nothing did.
        evaluation_s: How long it took, in seconds.
        evaluated_at_ms: Its timestamp; 0 before the first.
    """

    health: RuleHealth = "unknown"
    last_error: str = ""
    evaluation_s: float = 0.0
    evaluated_at_ms: int = 0


@dataclass(slots=True)
class GroupRule:
    """A rule in its group.

    Attributes:
        rule: The rule.
        identity: What its state belongs to; see ``GroupDefinition.rule_ids``.
        source: The source of the series store it writes to.
        status: How its newest evaluation went.
        saved: Its alerts as they were last stored.
    """

    rule: AlertingRule | RecordingRule
    identity: str
    source: str
    status: RuleStatus = field(default_factory=RuleStatus)
    saved: dict[Labels, AlertInstance] = field(default_factory=dict)
    _may_have_series: bool = True
    _refusal: str = ""

    def take_over(self, other: GroupRule) -> None:
        """Go on with the alerts, the series and the status of the rule this one replaces."""
        if isinstance(self.rule, AlertingRule) and isinstance(other.rule, AlertingRule):
            self.rule.take_over(other.rule)
        self.source = other.source
        self.status = other.status
        self.saved = other.saved
        self._may_have_series = other._may_have_series

    def restore(
        self, instances: Sequence[AlertInstance], *, watched_until_ms: int, hold_until_ms: int
    ) -> None:
        """Take up the alerts an earlier process left; as ``AlertingRule.restore``."""
        if isinstance(self.rule, AlertingRule) and instances:
            self.rule.restore(
                instances,
                watched_until_ms=watched_until_ms,
                tolerance_ms=OUTAGE_TOLERANCE_MS,
                hold_until_ms=hold_until_ms,
            )
            self.saved = self.rule.instances

    def write(
        self, store: SeriesTarget, timestamp_ms: int, series: Sequence[tuple[Labels, float]]
    ) -> None:
        """Append what the rule gave; a refusal is logged and does not stop the alerts."""
        # An append without series is what makes those of the pass before, or of the process
        # before, go stale.
        if not series and not self._may_have_series:
            return
        try:
            store.source(self.source).append(timestamp_ms, series)
        except SeriesError as error:
            if self._refusal != error.reason:
                _log.warning("the series of rule %s are not stored: %s", self.rule.name, error)
            self._refusal = error.reason
        else:
            self._refusal = ""
            self._may_have_series = bool(series)

    def changes(self) -> tuple[list[AlertInstance], list[Labels]]:
        """Return the alerts that are not stored as they are, and those that are no more."""
        if not isinstance(self.rule, AlertingRule):
            return [], []
        saved = self.saved
        instances = self.rule.instances
        put = [
            instance
            for labels, instance in instances.items()
            if (before := saved.get(labels)) is None or not instance.is_as_stored(before)
        ]
        return put, [labels for labels in saved if labels not in instances]
