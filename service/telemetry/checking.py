"""What is wrong with the settings and variables of telemetry, found without building anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alerts.errors import Problem
from service.config.settings import Settings
from service.errors import ConfigurationError
from service.telemetry.environment import (
    is_disabled,
    resolve_export_interval,
    resolve_limits,
    resolve_resource,
    resolve_sampling,
    resolve_span_limits,
)
from service.telemetry.otlp import resolve_targets
from service.telemetry.view_settings import resolve_views


def telemetry_problems(settings: Settings, environment: Mapping[str, str]) -> list[Problem]:
    """Return everything that ``service.telemetry.providers.Telemetry`` would refuse.

    Args:
        settings: ``service`` and ``telemetry`` are looked at.
        environment: The process's environment, for the standard ``OTEL_*`` variables.
    """
    telemetry = settings.telemetry
    steps: list[Callable[[], object]] = [
        lambda: resolve_resource(settings, environment),
        lambda: resolve_sampling(telemetry, environment),
        lambda: resolve_limits("OTEL_BSP", environment),
        lambda: resolve_limits("OTEL_BLRP", environment),
        lambda: resolve_export_interval(telemetry, environment),
        lambda: resolve_views(telemetry),
    ]
    if not is_disabled(environment):
        steps.append(lambda: resolve_targets(telemetry.otlp, environment))
        steps.append(lambda: resolve_span_limits(environment))
    problems: list[Problem] = []
    for step in steps:
        try:
            step()
        except ConfigurationError as error:
            problems += error.problems
    return problems
