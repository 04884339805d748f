"""Rule files and routes, read as the settings name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from alerts.errors import DocumentError
from alerts.promql.engine import Engine
from alerts.routing.config import load_routing
from alerts.routing.model import RoutingConfig, log_routing
from alerts.rules.file import find_rule_files, load_rules
from alerts.rules.model import GroupDefinition
from service.channels import channel_reader
from service.config.settings import AlertsSettings
from service.errors import ConfigurationError


def load_rule_groups(alerts: AlertsSettings, engine: Engine) -> tuple[GroupDefinition, ...]:
    """Read the configured rule files and the rules gatewatch ships.

    Raises:
        ConfigurationError: Something is wrong in them; lists all problems.
    """
    with ExitStack() as stack, _as_configuration():
        rule_files = list(find_rule_files(alerts.rule_files, base_dir=Path()))
        if alerts.default_rules:
            shipped = files("alerts.rules") / "packs" / "gatewatch.yaml"
            rule_files.insert(0, stack.enter_context(as_file(shipped)))
        return load_rules(rule_files, engine=engine, default_interval_s=alerts.evaluation_interval)


def load_routes(alerts: AlertsSettings) -> RoutingConfig:
    """Read the routes; without a file alerts go to the log.

    Raises:
        ConfigurationError: Something is wrong in the file; lists all problems.
    """
    if alerts.alertmanager_config is None:
        return log_routing()
    with _as_configuration():
        return load_routing(alerts.alertmanager_config, channels=channel_reader(alerts))


@contextmanager
def _as_configuration() -> Iterator[None]:
    """Report what is wrong in rule and routing files as configuration errors."""
    try:
        yield
    except DocumentError as error:
        raise ConfigurationError(list(error.problems)) from error
