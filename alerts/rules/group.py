"""A rule group at work: one pass over its rules at one timestamp.

Who calls ``evaluate``, and when, is the scheduler's business; ``slot_ms`` says which timestamps
belong to the group. Source: Prometheus, rules/group.go.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from typing import Final, Literal

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from alerts.clock import Clock
from alerts.errors import AlertsError
from alerts.model import Alert, NotifyFunc
from alerts.rules.alerting import AlertingRule, AlertState, External
from alerts.rules.model import (
    AlertingDefinition,
    GroupDefinition,
    RuleEngine,
    SeriesTarget,
)
from alerts.rules.recording import RecordingRule
from alerts.telemetry import AlertsTelemetry

_log = logging.getLogger(__name__)

RESEND_DELAY_S: Final = 60.0
"""How often an alert that goes on firing is handed on again, in seconds."""

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
class GroupStats:
    """Plain counts, read when metrics are collected."""

    evaluations: int = 0
    missed: int = 0
    failed_rules: int = 0


@dataclass(frozen=True, slots=True)
class GroupContext:
    """What every group is handed.

    Attributes:
        engine: Evaluates the expressions, off the event loop.
        store: Takes what the rules write; each rule is a source of its own.
        notify: Takes the alerts of a pass.
        clock: Measures how long evaluations take.
        telemetry: Where passes are recorded.
        external: Added to the alerts.
        resend_delay_s: See ``RESEND_DELAY_S``.
    """

    engine: RuleEngine
    store: SeriesTarget
    notify: NotifyFunc
    clock: Clock
    telemetry: AlertsTelemetry
    external: External = field(default_factory=External)
    resend_delay_s: float = RESEND_DELAY_S


class RuleGroup:
    """The rules of one group with their state."""

    def __init__(self, definition: GroupDefinition, context: GroupContext) -> None:
        self.definition = definition
        self.stats = GroupStats()
        self.last_evaluation_ms = 0
        self.last_evaluation_s = 0.0
        self._context = context
        self._interval_ms = round(definition.interval_s * 1000)
        self._offset_ms = slot_offset_ms(definition.key, self._interval_ms)
        self._is_running = False
        self._rules = tuple(
            _GroupRule(
                AlertingRule(rule, context.external)
                if isinstance(rule, AlertingDefinition)
                else RecordingRule(rule),
                source=f"rule:{definition.key};{index}",
            )
            for index, rule in enumerate(definition.rules)
        )

    @property
    def name(self) -> str:
        """Name of the group in its file."""
        return self.definition.name

    @property
    def interval_s(self) -> float:
        """Seconds between evaluations."""
        return self.definition.interval_s

    @property
    def offset_s(self) -> float:
        """Seconds after a multiple of the interval at which the group is due."""
        return self._offset_ms / 1000

    @property
    def rules(self) -> tuple[tuple[AlertingRule | RecordingRule, RuleStatus], ...]:
        """The rules in file order, each with how its newest evaluation went."""
        return tuple((item.rule, item.status) for item in self._rules)

    def slot_ms(self, now_s: float) -> int:
        """Return the newest timestamp, in milliseconds, at which the group is due by now."""
        now_ms = int(now_s * 1000)
        return now_ms - (now_ms - self._offset_ms) % self._interval_ms

    async def evaluate(self, timestamp_ms: int) -> None:
        """Evaluate every rule at one timestamp and hand on the alerts.

        A rule that fails is reported and costs the others nothing. While a pass runs, and for a
        timestamp that is not later than the last, nothing happens; slots that were passed over
        are counted as missed by the next pass.
        """
        if self._is_running or timestamp_ms <= self.last_evaluation_ms:
            return
        self._is_running = True
        try:
            self._count_missed(timestamp_ms)
            await self._traced_pass(timestamp_ms)
        finally:
            self._is_running = False

    def _count_missed(self, timestamp_ms: int) -> None:
        if self.last_evaluation_ms:
            slot, last_slot = (
                (moment - self._offset_ms) // self._interval_ms
                for moment in (timestamp_ms, self.last_evaluation_ms)
            )
            self.stats.missed += max(0, slot - last_slot - 1)
        self.last_evaluation_ms = timestamp_ms

    async def _traced_pass(self, timestamp_ms: int) -> None:
        context = self._context
        started = context.clock.monotonic()
        with context.telemetry.tracer.start_as_current_span(
            f"evaluate {self.name}",
            # Whoever armed the schedule is not the parent of what it starts.
            context=Context(),
            kind=SpanKind.INTERNAL,
            attributes={
                "gateway.rule.group": self.name,
                "gateway.rule.count": len(self._rules),
            },
        ) as span:
            alerts, errors = await asyncio.to_thread(self._pass, timestamp_ms)
            self.stats.evaluations += 1
            self.stats.failed_rules += len(errors)
            if alerts:
                context.notify(alerts, span.get_span_context())
            self._describe(span, errors)
        self.last_evaluation_s = context.clock.monotonic() - started
        attributes = {"gateway.rule.group": self.name}
        if errors:
            attributes["error.type"] = errors[0]
        context.telemetry.rule_evaluation_duration.record(self.last_evaluation_s, attributes)

    def _describe(self, span: Span, errors: list[str]) -> None:
        firing = sum(
            instance.state is AlertState.FIRING
            for item in self._rules
            if isinstance(item.rule, AlertingRule)
            for instance in item.rule.active
        )
        span.set_attribute("gateway.alert.fired", firing)
        if errors:
            span.set_attribute("error.type", errors[0])
            span.set_status(Status(StatusCode.ERROR, f"{len(errors)} rule(s) failed"))

    def _pass(self, timestamp_ms: int) -> tuple[list[Alert], list[str]]:
        """Evaluate the rules in order; runs in a worker thread."""
        alerts: list[Alert] = []
        errors: list[str] = []
        for item in self._rules:
            started = self._context.clock.monotonic()
            try:
                alerts += self._evaluate_rule(item, timestamp_ms)
                item.status.health, item.status.last_error = "ok", ""
            except AlertsError as error:
                self._failed(item, error)
                errors.append(type(error).__name__)
            except Exception as error:  # noqa: BLE001 - supervises the rules: one that trips over a defect of ours must not stop the others; reported with its traceback and counted
                _log.error("rule %s of group %s broke", item.rule.name, self.name, exc_info=error)
                self._failed(item, error)
                errors.append(type(error).__name__)
            item.status.evaluation_s = self._context.clock.monotonic() - started
            item.status.evaluated_at_ms = timestamp_ms
        return alerts, errors

    def _failed(self, item: _GroupRule, error: Exception) -> None:
        reason = str(error)
        if item.status.last_error != reason:
            _log.warning("rule %s of group %s failed: %s", item.rule.name, self.name, reason)
        item.status.health, item.status.last_error = "err", reason

    def _evaluate_rule(self, item: _GroupRule, timestamp_ms: int) -> list[Alert]:
        context = self._context
        rule = item.rule
        sample_ms = timestamp_ms - round(self.definition.query_offset_s * 1000)
        samples = context.engine.instant_vector(rule.definition.query, sample_ms)
        series = rule.evaluate(samples, timestamp_ms, limit=self.definition.limit)
        # An append without series is what makes the series of the pass before go stale.
        if series or item.has_series:
            context.store.source(item.source).append(sample_ms, series)
            item.has_series = bool(series)
        if isinstance(rule, RecordingRule):
            return []
        return rule.due(
            timestamp_ms,
            resend_delay_ms=round(context.resend_delay_s * 1000),
            interval_ms=self._interval_ms,
        )


@dataclass(slots=True)
class _GroupRule:
    rule: AlertingRule | RecordingRule
    source: str
    status: RuleStatus
    has_series: bool

    def __init__(self, rule: AlertingRule | RecordingRule, source: str) -> None:
        self.rule = rule
        self.source = source
        self.status = RuleStatus()
        self.has_series = False


def slot_offset_ms(key: str, interval_ms: int) -> int:
    """Return where in its interval a group is due: spread over groups, the same after a restart."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % interval_ms
