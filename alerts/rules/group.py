"""A rule group at work: one pass over its rules at one timestamp.

Who calls ``evaluate``, and when, is the scheduler's business; ``slot_ms`` says which timestamps
belong to the group. Source: Prometheus, rules/group.go.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from alerts.clock import Clock
from alerts.errors import AlertsError
from alerts.model import Alert, NotifyFunc
from alerts.rules.alerting import AlertingRule, AlertInstance, External
from alerts.rules.evidence import TraceEvidence
from alerts.rules.member import GroupRule, RuleStatus
from alerts.rules.model import (
    AlertingDefinition,
    GroupDefinition,
    RuleEngine,
    SampleLike,
    SeriesTarget,
)
from alerts.rules.recording import RecordingRule
from alerts.rules.state import SavedGroup, StateChange, StateSink
from alerts.series.errors import SeriesError
from alerts.series.labels import Labels
from alerts.spans import EVALUATE
from alerts.telemetry import AlertsTelemetry

_log = logging.getLogger(__name__)

RESEND_DELAY_S: Final = 60.0
"""How often an alert that goes on firing is handed on again, in seconds."""


@dataclass(slots=True)
class GroupStats:
    """Plain counts, read when metrics are collected."""

    evaluations: int = 0
    missed: int = 0
    failed_rules: int = 0
    failed_saves: int = 0


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
        states: Keeps the alerts over restarts; None: they are forgotten.
        hold_absent_s: How long restored alerts that are not found are left as they are.
        evidence: Adds traces to the alerts; None: they have none.
    """

    engine: RuleEngine
    store: SeriesTarget
    notify: NotifyFunc
    clock: Clock
    telemetry: AlertsTelemetry
    external: External = field(default_factory=External)
    resend_delay_s: float = RESEND_DELAY_S
    states: StateSink | None = None
    hold_absent_s: float = 0.0
    evidence: TraceEvidence | None = None


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
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_stopped = False
        self._is_save_failing = False
        self._ending_sources: list[str] = []
        self._gone: list[tuple[str, Labels]] = []
        self._rules = tuple(
            GroupRule(
                AlertingRule(rule, context.external)
                if isinstance(rule, AlertingDefinition)
                else RecordingRule(rule),
                identity,
                source=f"rule:{definition.key};{identity}",
            )
            for identity, rule in zip(definition.rule_ids, definition.rules, strict=True)
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
        if self.is_running or self._is_stopped or timestamp_ms <= self.last_evaluation_ms:
            return
        self._idle.clear()
        try:
            self._count_missed(timestamp_ms)
            await self._traced_pass(timestamp_ms)
        finally:
            self._idle.set()

    @property
    def is_running(self) -> bool:
        """Whether a pass is in progress."""
        return not self._idle.is_set()

    async def stop(self) -> None:
        """Evaluate no more; return when the pass in progress has ended."""
        self._is_stopped = True
        await self._idle.wait()

    def restore(self, saved: SavedGroup, now_ms: int) -> None:
        """Take up the alerts an earlier process left, rule by rule.

        What is stored of rules that are not in the group any more is deleted with the next pass.
        """
        hold_until_ms = now_ms + round(self._context.hold_absent_s * 1000)
        left = dict(saved.rules)
        for item in self._rules:
            item.restore(
                left.pop(item.identity, []),
                watched_until_ms=saved.evaluated_at_ms,
                hold_until_ms=hold_until_ms,
            )
        self._gone += [
            (identity, instance.labels) for identity, lost in left.items() for instance in lost
        ]

    def raised(self, now_ms: int) -> list[Alert]:
        """Return what fires or has ended lately, as a pass at this moment would hand it on."""
        resend_ms = round(self._context.resend_delay_s * 1000)
        valid_until_ms = now_ms + 4 * max(resend_ms, self._interval_ms)
        return [
            alert
            for item in self._rules
            if isinstance(item.rule, AlertingRule)
            for alert in item.rule.raised(valid_until_ms)
        ]

    def take_over(self, other: RuleGroup) -> None:
        """Go on with the state of the group this one replaces, which must have stopped.

        Rules of the same identity keep alerts and series; the series of those that are not there
        any more end with the next pass.
        """
        self.stats = other.stats
        self.last_evaluation_s = other.last_evaluation_s
        lost = {item.identity: item for item in other._rules}
        for item in self._rules:
            old = lost.pop(item.identity, None)
            if old is not None:
                item.take_over(old)
        self._ending_sources = [*other._ending_sources, *(item.source for item in lost.values())]
        self._gone = [
            *other._gone,
            *((identity, labels) for identity, item in lost.items() for labels in item.saved),
        ]

    @property
    def sources(self) -> dict[str, str]:
        """Where each rule writes, by its identity."""
        return {item.identity: item.source for item in self._rules}

    def adopt(self, identity: str, source: str) -> None:
        """Have a rule go on with the series of a rule of the same identity in another group."""
        for item in self._rules:
            if item.identity == identity:
                item.source = source

    def keep_series(self, sources: Container[str]) -> None:
        """Do not end series with the next pass that another group goes on with."""
        self._ending_sources = [each for each in self._ending_sources if each not in sources]

    @property
    def has_saved_alerts(self) -> bool:
        """Whether alerts are stored, so that it matters until when they were watched."""
        return any(item.saved for item in self._rules)

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
        span = EVALUATE.start(
            context.telemetry.tracer,
            {"group": self.name},
            # Whoever armed the schedule is not the parent of what it starts.
            context=Context(),
            attributes={
                "gateway.rule.group": self.name,
                "gateway.rule.count": len(self._rules),
            },
        )
        with trace.use_span(span, end_on_exit=True):
            alerts, errors, change = await asyncio.to_thread(self._pass, timestamp_ms)
            self.stats.evaluations += 1
            self.stats.failed_rules += len(errors)
            # Before the alerts are handed on: see alerts.rules.state.
            await self._save(change)
            if alerts:
                context.notify(alerts, span.get_span_context())
            self._describe(span, errors)
        self.last_evaluation_s = context.clock.monotonic() - started
        attributes = {"gateway.rule.group": self.name}
        if errors:
            attributes["error.type"] = errors[0]
        context.telemetry.rule_evaluation_duration.record(
            self.last_evaluation_s, attributes, set_span_in_context(span)
        )

    def _describe(self, span: Span, errors: list[str]) -> None:
        firing = sum(
            item.rule.firing for item in self._rules if isinstance(item.rule, AlertingRule)
        )
        span.set_attribute("gateway.alert.fired", firing)
        if errors:
            span.set_attribute("error.type", errors[0])
            span.set_status(Status(StatusCode.ERROR, f"{len(errors)} rule(s) failed"))

    async def _save(self, change: StateChange) -> None:
        states = self._context.states
        if states is None or not change:
            return
        try:
            await states.save(change)
        except AlertsError as error:
            if not self._is_save_failing:
                _log.error("the alerts of group %s are not stored: %s", self.name, error)
            self._is_save_failing = True
            self.stats.failed_saves += 1
            return
        self._is_save_failing = False
        self._gone = []
        for item in self._rules:
            if isinstance(item.rule, AlertingRule):
                item.saved = item.rule.instances

    def _pass(self, timestamp_ms: int) -> tuple[list[Alert], list[str], StateChange]:
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
        self._end_series(timestamp_ms)
        return alerts, errors, self._change(timestamp_ms)

    def _end_series(self, timestamp_ms: int) -> None:
        """Make the series of rules that are not in the group any more go stale."""
        ending, self._ending_sources = self._ending_sources, []
        for source in ending:
            try:
                self._context.store.source(source).append(self._sample_ms(timestamp_ms), ())
            except SeriesError as error:
                _log.warning("series of a rule that is gone did not end: %s", error)

    def _change(self, timestamp_ms: int) -> StateChange:
        if self._context.states is None:
            return StateChange(self.definition.key, timestamp_ms)
        put: list[tuple[str, AlertInstance]] = []
        gone = list(self._gone)
        for item in self._rules:
            changed, lost = item.changes()
            put += [(item.identity, instance) for instance in changed]
            gone += [(item.identity, labels) for labels in lost]
        return StateChange(self.definition.key, timestamp_ms, tuple(put), tuple(gone))

    def _sample_ms(self, timestamp_ms: int) -> int:
        return timestamp_ms - round(self.definition.query_offset_s * 1000)

    def _failed(self, item: GroupRule, error: Exception) -> None:
        reason = str(error)
        if item.status.last_error != reason:
            _log.warning("rule %s of group %s failed: %s", item.rule.name, self.name, reason)
        item.status.health, item.status.last_error = "err", reason

    def _evaluate_rule(self, item: GroupRule, timestamp_ms: int) -> list[Alert]:
        context = self._context
        rule = item.rule
        sample_ms = self._sample_ms(timestamp_ms)
        samples = context.engine.instant_vector(rule.definition.query, sample_ms)
        limit = self.definition.limit
        if isinstance(rule, RecordingRule):
            series = rule.evaluate(samples, timestamp_ms, limit=limit)
            item.write(context.store, sample_ms, series)
            return []

        def query(expression: str) -> Sequence[SampleLike]:
            return context.engine.instant_vector(context.engine.prepare(expression), timestamp_ms)

        series = rule.evaluate(samples, timestamp_ms, limit=limit, query=query)
        item.write(context.store, sample_ms, series)
        due = rule.due(
            timestamp_ms,
            resend_delay_ms=round(context.resend_delay_s * 1000),
            interval_ms=self._interval_ms,
        )
        if context.evidence is None or not due:
            return due
        return context.evidence.add_to(due, rule.definition.query, timestamp_ms)


def slot_offset_ms(key: str, interval_ms: int) -> int:
    """Return where in its interval a group is due: spread over groups, the same after a restart."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % interval_ms
