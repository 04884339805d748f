"""The life of alerts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.promql.values import Sample
from alerts.rules.alerting import AlertingRule, AlertState, External, RuleError
from alerts.rules.model import AlertingDefinition
from alerts.rules.templates import Template
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, alerting_rule, sample

STEP_MS = 60_000
INACTIVE, PENDING, FIRING = AlertState.INACTIVE, AlertState.PENDING, AlertState.FIRING


def timeline(rule: AlertingRule, presence: str) -> str:
    """Evaluate once per character (x: the expression holds) and return a letter per state.

    Letters: ``.`` no alert, ``p`` pending, ``f`` firing, ``r`` resolved and remembered.
    """
    letters = []
    for step, present in enumerate(presence):
        samples = [sample(float(step), instance="a")] if present == "x" else []
        rule.evaluate(samples, START_MS + step * STEP_MS)
        states = [instance.state for instance in rule.instances.values()]
        letters.append({INACTIVE: "r", PENDING: "p", FIRING: "f"}[states[0]] if states else ".")
    return "".join(letters)


@pytest.mark.parametrize(
    ("for_s", "keep_s", "presence", "states"),
    [
        (0, 0, "x-x", "frf"),
        (120, 0, "xxxx", "ppff"),
        (120, 0, "xx-xx", "pp.pp"),
        (120, 0, "xxx--", "ppfrr"),
        (60, 0, "xx-xx", "pfrpf"),
        (0, 120, "x---", "fffr"),
        (0, 120, "x-x---", "fffffr"),
        (60, 60, "xx--x", "pffrp"),
        (90, 0, "xxx", "ppf"),
        (0, 0, "x" + "-" * 18, "f" + "r" * 16 + ".."),
    ],
)
def test_timeline(for_s: float, keep_s: float, presence: str, states: str) -> None:
    """for, keep_firing_for and the 15 minutes of memory follow the evaluations exactly."""
    rule = AlertingRule(alerting_rule(for_s=for_s, keep_firing_for_s=keep_s), External())

    assert timeline(rule, presence) == states


@dataclass
class Model:
    """One alert as a person would keep track of it on paper."""

    for_steps: int
    keep_steps: int
    held_since: int | None = None
    missing_since: int | None = None
    is_firing: bool = False
    resolved_at: int | None = None
    history: list[str] = field(default_factory=list)

    def step(self, now: int, *, present: bool) -> str:
        """Return the letter after an evaluation."""
        if present:
            self.resolved_at = self.missing_since = None
            self.held_since = now if self.held_since is None else self.held_since
            self.is_firing = self.is_firing or now - self.held_since >= self.for_steps
        elif self.is_firing:
            self.missing_since = now if self.missing_since is None else self.missing_since
            if now - self.missing_since >= self.keep_steps:
                self.held_since, self.is_firing, self.resolved_at = None, False, now
        else:
            self.held_since = None
        if self.is_firing:
            return "f"
        if self.held_since is not None:
            return "p"
        remembered = self.resolved_at is not None and now - self.resolved_at <= 15
        return "r" if remembered else "."


@given(st.integers(0, 4), st.integers(0, 4), st.text(alphabet="x-", max_size=60))
def test_any_sequence(for_steps: int, keep_steps: int, presence: str) -> None:
    """Any sequence of presence and absence gives what the rules on paper give."""
    definition = alerting_rule(for_s=for_steps * 60.0, keep_firing_for_s=keep_steps * 60.0)
    model = Model(for_steps, keep_steps)

    states = timeline(AlertingRule(definition, External()), presence)

    wanted = [model.step(now, present=letter == "x") for now, letter in enumerate(presence)]
    assert states == "".join(wanted)


def test_identity() -> None:
    """An alert is its sample's labels without the name, the rule's labels and its name."""
    rule = AlertingRule(
        alerting_rule("Down", labels={"team": "{{ $labels.job }}-team", "job": ""}), External()
    )

    rule.evaluate([sample(__name__="up", job="db", instance="a")], START_MS)

    assert list(rule.instances) == [
        Labels({"alertname": "Down", "instance": "a", "team": "db-team"})
    ]


def test_refresh() -> None:
    """Value and annotations follow the newest evaluation; the start of the wait does not."""
    rule = AlertingRule(alerting_rule(for_s=600, annotations={"now": "{{ $value }}"}), External())
    rule.evaluate([sample(1.0)], START_MS)

    rule.evaluate([sample(2.5)], START_MS + STEP_MS)

    (alert,) = rule.active
    assert (alert.value, alert.annotations["now"], alert.active_at_ms) == (2.5, "2.5", START_MS)


def test_value_in_label_restarts_the_wait() -> None:
    """A label that changes with the value makes a new alert each time."""
    rule = AlertingRule(alerting_rule(for_s=60, labels={"v": "{{ $value }}"}), External())
    for step in range(3):
        rule.evaluate([sample(float(step))], START_MS + step * STEP_MS)

    assert [alert.state for alert in rule.active] == [PENDING]


def test_duplicates_change_nothing() -> None:
    """Two samples that become one alert are an error, and what was known stays."""
    rule = AlertingRule(alerting_rule(labels={"instance": "all"}), External())
    rule.evaluate([sample(instance="a")], START_MS)
    before = rule.instances

    with pytest.raises(RuleError, match="same labels"):
        rule.evaluate([sample(instance="a"), sample(instance="b")], START_MS + STEP_MS)

    assert rule.instances is before


@pytest.mark.parametrize(("count", "is_over"), [(1, False), (2, False), (3, True)])
def test_limit(count: int, is_over: bool) -> None:
    """Over the limit the rule fails and loses all its alerts."""
    rule = AlertingRule(alerting_rule(), External())
    samples = [sample(instance=str(index)) for index in range(count)]

    if is_over:
        with pytest.raises(RuleError, match="the limit of 2 is exceeded: 3 alerts"):
            rule.evaluate(samples, START_MS, limit=2)
    else:
        rule.evaluate(samples, START_MS, limit=2)

    assert len(rule.instances) == (0 if is_over else count)


def test_series() -> None:
    """ALERTS and ALERTS_FOR_STATE are written for what is pending or firing."""
    rule = AlertingRule(alerting_rule("Down", for_s=60), External())
    first = rule.evaluate([sample(instance="a")], START_MS)
    second = rule.evaluate([sample(instance="a")], START_MS + STEP_MS)
    third = rule.evaluate([], START_MS + 2 * STEP_MS)

    labels = {"alertname": "Down", "instance": "a"}
    start = (Labels({**labels, "__name__": "ALERTS_FOR_STATE"}), START_MS / 1000)
    pending = Labels({**labels, "__name__": "ALERTS", "alertstate": "pending"})
    firing = Labels({**labels, "__name__": "ALERTS", "alertstate": "firing"})
    assert first == [(pending, 1.0), start]
    assert second == [(firing, 1.0), start]
    assert third == []


def due(rule: AlertingRule, minute: float) -> list[tuple[int, int | None]]:
    """Return start and end, in minutes, of what has to be handed on."""
    alerts = rule.due(
        START_MS + round(minute * STEP_MS), resend_delay_ms=STEP_MS, interval_ms=15_000
    )
    return [
        (
            (alert.starts_at_ms - START_MS) // STEP_MS,
            None if alert.ends_at_ms is None else (alert.ends_at_ms - START_MS) // STEP_MS,
        )
        for alert in alerts
    ]


def test_sending() -> None:
    """Sent when firing begins, when it ends, and again after more than the resend delay."""
    rule = AlertingRule(alerting_rule(for_s=60), External())
    rule.evaluate([sample()], START_MS)
    assert due(rule, 0) == []
    rule.evaluate([sample()], START_MS + STEP_MS)
    assert due(rule, 1) == [(1, 5)]
    assert due(rule, 2) == []
    assert due(rule, 2.25) == [(1, 6)]
    rule.evaluate([], START_MS + round(2.5 * STEP_MS))
    assert due(rule, 2.5) == [(1, 2)]
    assert due(rule, 3) == []

    assert due(rule, 3.75) == [(1, 2)]


def test_outgoing() -> None:
    """An alert that leaves carries external labels it lacks and a link to its expression."""
    external = External("http://here", Labels({"region": "eu", "instance": "x"}))
    rule = AlertingRule(alerting_rule("Down", "up == 0"), external)
    rule.evaluate([sample(instance="a")], START_MS)

    (alert,) = rule.due(START_MS, resend_delay_ms=STEP_MS, interval_ms=STEP_MS)

    assert alert.labels == Labels({"alertname": "Down", "instance": "a", "region": "eu"})
    assert alert.generator_url == "http://here/graph?g0.expr=up+%3D%3D+0&g0.tab=1"


def test_state_of_the_rule() -> None:
    """A rule is in the worst state of its alerts."""
    rule = AlertingRule(alerting_rule(for_s=60), External())
    states = [rule.state]
    rule.evaluate([sample(instance="a")], START_MS)
    states.append(rule.state)
    rule.evaluate([sample(instance="a"), sample(instance="b")], START_MS + STEP_MS)
    states.append(rule.state)

    assert states == [INACTIVE, PENDING, FIRING]


def test_templates_know_time_alert_and_queries() -> None:
    """A template may ask for the time and for other series; its errors name the alert."""
    texts = {
        "now": "{{ now }}",
        "asked": "{{ with query `up` }}{{ . | first | value }}{{ end }}",
        "wrong": "{{ toUpper 1 }}",
    }
    definition = AlertingDefinition(
        "Down", "up", "up", annotations=tuple((k, Template.parse(v)) for k, v in texts.items())
    )
    rule = AlertingRule(definition, External())

    rule.evaluate([Sample(Labels(), 1.0)], 5_000, query=lambda _: [Sample(Labels(), 7.0)])

    (alert,) = rule.active
    assert (alert.annotations["now"], alert.annotations["asked"]) == ("5", "7")
    assert "__alert_Down:1:" in alert.annotations["wrong"]
