"""The rules gatewatch ships, evaluated by the real engine: each fires, and each stays quiet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.rules.alerting import AlertingRule, AlertInstance, AlertState
from alerts.rules.file import DEFAULT_RULES, load_rules
from alerts.rules.group import GroupContext, RuleGroup
from alerts.rules.model import AlertingDefinition
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from alerts.telemetry import DEFINITIONS as ALERTS_DEFINITIONS
from alerts.telemetry import AlertsTelemetry
from service.telemetry.definitions import DEFINITIONS
from service.telemetry.prometheus import metric_name
from tests.support.alerts import START_MS, Notified

STEP_MS = 15_000
Value = Callable[[float], float | None]


def series(name: str, **labels: str) -> Labels:
    """Return a series of this process."""
    return Labels({"__name__": name, "job": "gatewatch", "instance": "here", **labels})


def constant(value: float) -> Value:
    """Return a value that does not change."""
    return lambda _minute: value


def grows(per_minute: float) -> Value:
    """Return a counter that grows."""
    return lambda minute: minute * per_minute


def appears(minute_of_birth: float) -> Value:
    """Return a counter that is not there before its first event."""
    return lambda minute: 1.0 if minute >= minute_of_birth else None


async def firing(values: dict[Labels, Value], minutes: int) -> list[AlertInstance]:
    """Feed series for some minutes, evaluate the pack every 15 s, return what fires."""
    clock = ManualClock(START_MS / 1000)
    store = SeriesStore(clock=clock, retention_s=3600)
    engine = Engine(store)
    context = GroupContext(
        engine=engine,
        store=store,
        notify=Notified(),
        clock=clock,
        telemetry=AlertsTelemetry.disabled(),
    )
    groups = [
        RuleGroup(definition, context)
        for definition in load_rules([DEFAULT_RULES], engine=engine, default_interval_s=15.0)
    ]
    source = store.source("self")
    for step in range(minutes * 4 + 1):
        now = {labels: value(step / 4) for labels, value in values.items()}
        moment = START_MS + step * STEP_MS
        source.append(moment, [(key, value) for key, value in now.items() if value is not None])
        for group in groups:
            await group.evaluate(moment)
    assert [group.stats.failed_rules for group in groups] == [0] * len(groups)
    return [
        instance
        for group in groups
        for rule, _ in group.rules
        if isinstance(rule, AlertingRule)
        for instance in rule.active
        if instance.state is AlertState.FIRING
    ]


def lag(slow: float) -> dict[Labels, Value]:
    """Return event loop lag buckets where a share of the timers takes between 0.25 and 0.5 s."""
    name = "gateway_event_loop_lag_seconds_bucket"
    return {
        series(name, le="0.25"): grows(60.0 * (1 - slow)),
        series(name, le="0.5"): grows(60.0),
        series(name, le="+Inf"): grows(60.0),
    }


CLOSED = series("gateway_connection_closed_total", gateway_close_code="3008")
OTHER_CLOSED = series("gateway_connection_closed_total", gateway_close_code="3000")
FAILED = series("gateway_notification_failed_total", gateway_receiver="ops", error_type="refused")
MISSED = series("gateway_rule_evaluation_missed_total", gateway_rule_group="g")
RULES = series("gateway_rule_evaluation_failed_total", gateway_rule_group="g")
JOBS = series("gateway_job_missed_total", gateway_job_kind="sweep")
BATCH = series("gateway_batch_failed_total", gateway_batcher_name="channels")
DROPPED = series("gateway_telemetry_dropped_total", gateway_telemetry_signal="traces")
TRACES_SENT = series("gateway_telemetry_export_success", gateway_telemetry_signal="traces")
LOGS_SENT = series("gateway_telemetry_export_success", gateway_telemetry_signal="logs")
BROKER = series("gateway_broker_away")
WAITING = series("gateway_pool_waiting", gateway_pool_name="http")
QUEUE = series("gateway_notification_queue_size")
LIMIT = series("gateway_connection_limit")
OPEN = series("gateway_connection_count", gateway_connection_state="open")
CLOSING = series("gateway_connection_count", gateway_connection_state="closing")


@pytest.mark.parametrize(
    ("alert", "values", "minutes"),
    [
        (
            "ConnectionsNearLimit",
            {OPEN: constant(900), CLOSING: constant(1), LIMIT: constant(1000)},
            2,
        ),
        ("SlowClientsDisconnected", {CLOSED: grows(1)}, 2),
        ("SlowClientsDisconnected", {CLOSED: appears(10)}, 12),
        ("BatchesFail", {BATCH: grows(1)}, 2),
        ("BatchesFail", {BATCH: appears(10)}, 12),
        ("EventLoopLags", lag(0.02), 4),
        ("PoolExhausted", {WAITING: constant(1)}, 2),
        ("RuleEvaluationsMissed", {MISSED: grows(1)}, 3),
        ("JobsMissed", {JOBS: grows(1)}, 3),
        ("RulesFail", {RULES: grows(1)}, 2),
        ("NotificationsFail", {FAILED: grows(1)}, 2),
        ("NotificationsFail", {FAILED: appears(20)}, 21),
        ("NotificationsStuck", {QUEUE: constant(3)}, 12),
        ("BrokerAway", {BROKER: constant(1)}, 2),
        ("CollectorAway", {TRACES_SENT: constant(0), LOGS_SENT: constant(0)}, 6),
        ("TelemetryDropped", {DROPPED: grows(1)}, 7),
    ],
)
async def test_fires(alert: str, values: dict[Labels, Value], minutes: int) -> None:
    """What the rule is about makes it, and no other, fire, with texts that expand."""
    found = await firing(values, minutes)

    assert [instance.labels["alertname"] for instance in found] == [f"Gatewatch{alert}"]
    texts = " ".join(found[0].annotations.values())
    assert "<error" not in texts
    assert "  " not in texts


@pytest.mark.parametrize(
    ("values", "minutes"),
    [
        ({OPEN: constant(900), LIMIT: constant(1000)}, 3),
        ({OTHER_CLOSED: grows(5), CLOSED: constant(7)}, 16),
        ({CLOSED: appears(2)}, 8),
        ({BATCH: constant(3)}, 16),
        (lag(0.005), 6),
        ({BROKER: lambda minute: float(minute % 1 == 0)}, 5),
        ({BROKER: constant(0)}, 5),
        ({WAITING: lambda minute: float(minute % 1 == 0)}, 5),
        ({MISSED: constant(4)}, 5),
        ({JOBS: constant(4)}, 5),
        ({RULES: constant(4)}, 5),
        ({FAILED: constant(4)}, 31),
        ({QUEUE: lambda minute: float(minute % 4 < 3)}, 20),
        ({TRACES_SENT: constant(0), LOGS_SENT: constant(1)}, 8),
        ({TRACES_SENT: lambda minute: float(minute % 4 == 0)}, 20),
        ({DROPPED: lambda minute: 10.0 if minute > 1 else 0.0}, 8),
        ({}, 2),
    ],
)
async def test_stays_quiet(values: dict[Labels, Value], minutes: int) -> None:
    """What is normal, short, or long past fires nothing."""
    # Series that hold still from the first evaluation on look newly born to some rules.
    found = await firing(values, minutes)

    assert [instance.labels["alertname"] for instance in found] == []


def test_written_with_care() -> None:
    """Every rule has a severity, a summary and a description, and a name of its own."""
    store = SeriesStore(clock=ManualClock(), retention_s=60)
    groups = load_rules([DEFAULT_RULES], engine=Engine(store), default_interval_s=15.0)

    rules = [rule for group in groups for rule in group.rules]
    names = [rule.alert for rule in rules if isinstance(rule, AlertingDefinition)]
    assert len(names) == len(rules) == len(set(names))
    for rule in rules:
        assert isinstance(rule, AlertingDefinition)
        assert dict(rule.labels)["severity"].source in ("critical", "warning")
        assert set(dict(rule.annotations)) == {"summary", "description"}


def test_metrics_exist() -> None:
    """Every metric the rules name is one the service has."""
    known = set()
    for item in (*DEFINITIONS, *ALERTS_DEFINITIONS):
        name = metric_name(item.name, item.unit, counter=item.kind == "counter")
        known |= {f"{name}_bucket"} if item.kind == "histogram" else {name}
    store = SeriesStore(clock=ManualClock(), retention_s=60)
    groups = load_rules([DEFAULT_RULES], engine=Engine(store), default_interval_s=15.0)

    named = {name for group in groups for rule in group.rules for name in rule.query.metric_names}

    assert len(named) == 15
    assert named <= known
