"""Inhibition that follows from what checks depend on: a dependency that is down is one alert.

Checks that are held back are no alert of the shipped rules; this is for rules of people's own, over
``probe_success`` or anything else that has the label ``check``.
"""

from __future__ import annotations

import re
from typing import Final

from alerts.routing.additions import with_inhibit_rules
from alerts.routing.model import InhibitRule, RoutingConfig
from alerts.series.matchers import Matcher, MatchOp
from service.config.health_settings import HealthSettings
from service.health.dependencies import Dependencies

CHECK_LABEL: Final = "check"
"""The label that says which check an alert is about."""

HARMLESS: Final = "warning|info|none"
"""Severities of alerts that do not say that a check is down, such as of an old certificate."""


def with_dependencies(routing: RoutingConfig, health: HealthSettings) -> RoutingConfig:
    """Return routes that tell nothing of checks below one that is told to be down.

    Args:
        routing: Routes and their own inhibition rules.
        health: The checks.
    """
    return with_inhibit_rules(routing, dependency_rules(health))


def dependency_rules(health: HealthSettings) -> tuple[InhibitRule, ...]:
    """Return one rule for each check that others depend on, however indirectly."""
    dependencies = Dependencies({check.name: check.depends_on for check in health.checks})
    return tuple(
        InhibitRule(
            source_matchers=(
                Matcher(MatchOp.EQUAL, CHECK_LABEL, cause),
                Matcher(MatchOp.NOT_REGEX, "severity", HARMLESS),
            ),
            target_matchers=(Matcher(MatchOp.REGEX, CHECK_LABEL, "|".join(map(_literal, below))),),
            name=f"checks that depend on {cause}",
        )
        for cause in dependencies.causes
        if (below := dependencies.below(cause))
    )


def _literal(name: str) -> str:
    """Return a pattern that matches a name; of its characters only the dot means something."""
    return re.sub(r"\.", r"\\.", name)
