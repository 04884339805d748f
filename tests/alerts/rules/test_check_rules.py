"""The shipped rules about checks."""

from __future__ import annotations

from pathlib import Path

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.rules.file import CHECK_RULES, load_rules
from alerts.rules.model import AlertingDefinition
from alerts.rules.unit_tests import run_rule_tests
from alerts.series.store import SeriesStore
from service.telemetry.definitions import DEFINITIONS
from service.telemetry.probe_instruments import PROBE_DEFINITIONS
from service.telemetry.prometheus import metric_name

UNIT_TESTS = Path(__file__).with_name("checks_test.yaml")


def test_unit_tests() -> None:
    """Each rule fires when it should, and on nothing else; promtool reads the same file."""
    result = run_rule_tests(UNIT_TESTS, clock=ManualClock())

    assert result.passed, result


def test_written_with_care() -> None:
    """Every rule has severity, summary and description, and reads metrics there are."""
    store = SeriesStore(clock=ManualClock(), retention_s=60)
    groups = load_rules([CHECK_RULES], engine=Engine(store), default_interval_s=15.0)
    known = {metric_name(item.name, item.unit) for item in (*DEFINITIONS, *PROBE_DEFINITIONS)}

    rules = [rule for group in groups for rule in group.rules]
    assert len(rules) == 5
    for rule in rules:
        assert isinstance(rule, AlertingDefinition)
        assert dict(rule.labels)["severity"].source in ("critical", "warning")
        assert set(dict(rule.annotations)) == {"summary", "description"}
        assert set(rule.query.metric_names) <= known
