"""Endpoints that show rules and alerts.

Source: Prometheus, web/api/v1/api.go (rules, alerts).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from alerts.alerting import GroupSnapshot, RuleSnapshot
from alerts.api.encoding import Answer, format_exponent
from alerts.api.errors import APIError
from alerts.api.parameters import Parameters, invalid, matches_any
from alerts.model import format_time
from alerts.promql.engine import Engine
from alerts.promql.limits import QueryLimits
from alerts.rules.alerting import AlertingRule, AlertInstance
from alerts.rules.model import AlertingDefinition
from alerts.series.labels import quote
from alerts.series.matchers import Matcher


class RulesSource(Protocol):
    """What the endpoints ask; ``alerts.alerting.Alerting`` is one."""

    def rules(self) -> Sequence[GroupSnapshot]:
        """Return all groups with their rules and alerts."""

    def alerts(self) -> Sequence[AlertInstance]:
        """Return all alerts that are pending or firing."""


FindRules = Callable[[], RulesSource | None]
"""Returns where the rules are; None while they are not there yet."""


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which rules are wanted; what is empty filters nothing."""

    kind: str
    names: frozenset[str]
    matchers: list[tuple[Matcher, ...]]
    without_alerts: bool

    def takes(self, rule: RuleSnapshot) -> bool:
        is_alert = isinstance(rule.rule, AlertingRule)
        if self.kind and is_alert != (self.kind == "alert"):
            return False
        if self.names and rule.rule.name not in self.names:
            return False
        return not self.matchers or matches_any(_labels(rule), self.matchers)


class Rules:
    """The endpoints; called off the event loop.

    Args:
        find: Where the rules are.
        engine: Reads selectors.
    """

    def __init__(self, find: FindRules, engine: Engine) -> None:
        self._find = find
        self._engine = engine

    def rules(self, parameters: Parameters, _limits: QueryLimits) -> Answer:
        """Return the groups with their rules and alerts, by file and name."""
        wanted = self._filter(parameters)
        groups = frozenset(parameters.texts("rule_group[]"))
        files = frozenset(parameters.texts("file[]"))
        limit, token = _page(parameters)
        bodies: list[dict[str, object]] = []
        found_token = not token
        ordered = sorted(
            self._source().rules(),
            key=lambda item: (item.group.definition.file, item.group.name),
        )
        for snapshot in ordered:
            definition = snapshot.group.definition
            found_token = found_token or token == _token(snapshot)
            is_wanted = (not groups or definition.name in groups) and (
                not files or definition.file in files
            )
            if not found_token or not is_wanted:
                continue
            rules = [
                _rule_body(rule, without_alerts=wanted.without_alerts)
                for rule in snapshot.rules
                if wanted.takes(rule)
            ]
            if not rules:
                continue
            if limit and len(bodies) == limit:
                return Answer({"groups": bodies, "groupNextToken": _token(snapshot)})
            bodies.append(_group_body(snapshot, rules))
        if not found_token:
            raise invalid(
                "group_next_token",
                f"invalid group_next_token {quote(token)}. were rule groups changed?",
            )
        return Answer({"groups": bodies})

    def alerts(self, _parameters: Parameters, _limits: QueryLimits) -> Answer:
        """Return the alerts that are pending or firing."""
        return Answer({"alerts": [_alert_body(alert) for alert in self._source().alerts()]})

    def _source(self) -> RulesSource:
        source = self._find()
        if source is None:
            raise APIError("unavailable", "the rules are being loaded; try again in a moment")
        return source

    def _filter(self, parameters: Parameters) -> _Filter:
        kind = parameters.text("type").lower()
        if kind not in ("", "alert", "record"):
            raise invalid("type", f"not supported value {quote(kind)}")
        return _Filter(
            kind,
            frozenset(parameters.texts("rule_name[]")),
            parameters.matcher_sets(self._engine),
            parameters.flag("exclude_alerts"),
        )


def _page(parameters: Parameters) -> tuple[int, str]:
    """Return how many groups are wanted, 0 for all, and the group to begin with."""
    token = parameters.text("group_next_token")
    if not parameters.text("group_limit"):
        if token:
            raise invalid(
                "group_limit",
                "group_limit needs to be set in order to paginate over the groups",
            )
        return 0, ""
    limit = parameters.number("group_limit", 0)
    if limit <= 0:
        raise invalid("group_limit", "group_limit needs to be greater than 0")
    return limit, token


def _token(snapshot: GroupSnapshot) -> str:
    """Return what a group is called between two pages."""
    return hashlib.blake2b(snapshot.group.definition.key.encode(), digest_size=20).hexdigest()


def _labels(rule: RuleSnapshot) -> dict[str, str]:
    """Return the labels the file gives a rule, templates as they are written."""
    definition = rule.rule.definition
    if isinstance(definition, AlertingDefinition):
        return {name: template.source for name, template in definition.labels}
    return dict(definition.labels)


def _group_body(snapshot: GroupSnapshot, rules: list[dict[str, object]]) -> dict[str, object]:
    group = snapshot.group
    return {
        "name": group.name,
        "file": group.definition.file,
        "rules": rules,
        "interval": group.interval_s,
        "limit": group.definition.limit,
        "evaluationTime": group.last_evaluation_s,
        "lastEvaluation": format_time(group.last_evaluation_ms or None),
    }


def _rule_body(rule: RuleSnapshot, *, without_alerts: bool) -> dict[str, object]:
    definition, status = rule.rule.definition, rule.status
    body: dict[str, object] = {"query": definition.expression, "health": status.health}
    if status.last_error:
        body["lastError"] = status.last_error
    body["evaluationTime"] = status.evaluation_s
    body["lastEvaluation"] = format_time(status.evaluated_at_ms or None)
    labels = _labels(rule)
    if not isinstance(rule.rule, AlertingRule):
        shown = {"labels": labels} if labels else {}
        return {"name": rule.rule.name, **body, **shown, "type": "recording"}
    alerting = rule.rule.definition
    return {
        "state": rule.rule.state.value if status.evaluated_at_ms else "unknown",
        "name": rule.rule.name,
        **body,
        "duration": alerting.for_s,
        "keepFiringFor": alerting.keep_firing_for_s,
        "labels": labels,
        "annotations": {name: text.source for name, text in alerting.annotations},
        "alerts": [] if without_alerts else [_alert_body(alert) for alert in rule.alerts],
        "type": "alerting",
    }


def _alert_body(alert: AlertInstance) -> dict[str, object]:
    body: dict[str, object] = {
        "labels": dict(alert.labels.pairs),
        "annotations": dict(alert.annotations.pairs),
        "state": alert.state.value,
        "activeAt": format_time(alert.active_at_ms),
        "value": format_exponent(alert.value),
    }
    if alert.keep_firing_since_ms is not None:
        body["keepFiringSince"] = format_time(alert.keep_firing_since_ms)
    return body
