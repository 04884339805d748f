"""Rule files and routes, read as the settings name them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

from alerts.errors import DocumentError, Problem
from alerts.routing.config import load_routing
from alerts.routing.model import RoutingConfig, log_routing
from alerts.rules.file import find_rule_files, load_rules
from alerts.rules.model import GroupDefinition, RuleEngine
from service.channels import channel_reader
from service.config.settings import AlertsSettings, Settings
from service.errors import ConfigurationError
from service.health.inhibition import with_dependencies

Documents = tuple[Sequence[GroupDefinition], RoutingConfig]
"""What the files besides the settings say: rules and routes."""


def read_documents(settings: Settings, engine: RuleEngine) -> Documents:
    """Return the rules and routes that the settings name, and inhibition between checks.

    Raises:
        ConfigurationError: A file is missing or wrong; lists the problems of all files. Those that
            are missing are told at the setting that names them.
    """
    alerts = settings.alerts
    problems: list[Problem] = []
    rules: Sequence[GroupDefinition] = ()
    routing = log_routing()
    found = find_rule_files(alerts.rule_files, base_dir=Path())
    for index, path in found.missing:
        message = f"there is no such rule file: {path}"
        problems.append(Problem(f"alerts.rule_files[{index}]", 0, 0, message))
    try:
        rules = _load_rules(found.paths, alerts, engine)
    except DocumentError as error:
        problems += error.problems
    try:
        routing = _load_routing(alerts)
    except DocumentError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return rules, with_dependencies(routing, settings.health)


def _load_rules(
    paths: Sequence[Path], alerts: AlertsSettings, engine: RuleEngine
) -> tuple[GroupDefinition, ...]:
    """Read the configured rule files and the rules gatewatch ships."""
    with ExitStack() as stack:
        rule_files = list(paths)
        if alerts.default_rules:
            shipped = [
                stack.enter_context(as_file(files("alerts.rules") / "packs" / name))
                for name in ("gatewatch.yaml", "checks.yaml")
            ]
            rule_files = [*shipped, *rule_files]
        return load_rules(rule_files, engine=engine, default_interval_s=alerts.evaluation_interval)


def _load_routing(alerts: AlertsSettings) -> RoutingConfig:
    """Read the routes; without a file alerts go to the log."""
    file = alerts.alertmanager_config
    if file is None:
        return log_routing()
    if not file.exists():
        message = f"there is no such file: {file}"
        raise DocumentError([Problem("alerts.alertmanager_config", 0, 0, message)])
    return load_routing(file, channels=channel_reader(alerts))
