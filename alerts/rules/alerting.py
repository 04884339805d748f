"""The life of the alerts of one rule: pending, firing, kept firing, resolved.

Pure: every decision follows from the samples and the timestamp passed in. No clock, no I/O.

Source: Prometheus, rules/alerting.go (Eval, needsSending).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final
from urllib.parse import quote_plus

from alerts.errors import AlertsError
from alerts.model import ALERT_NAME, Alert
from alerts.rules.model import AlertingDefinition, SampleLike
from alerts.rules.template_functions import QueryFunction
from alerts.rules.templates import TemplateData
from alerts.series.labels import METRIC_NAME, Labels

RESOLVED_RETENTION_MS: Final = 15 * 60 * 1000
"""How long an alert that ended is remembered, so that its end is told again."""

_SERIES_OF_STATE: Final = {METRIC_NAME: "ALERTS"}
_SERIES_OF_START: Final = {METRIC_NAME: "ALERTS_FOR_STATE"}


class RuleError(AlertsError):
    """A rule whose result cannot be used; the rule is reported and tried again next time."""


class AlertState(StrEnum):
    """Where an alert is in its life."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class External:
    """What the world outside adds to alerts.

    Attributes:
        url: Where this process is reached by people, without a slash at the end.
        labels: Added to every alert that leaves, unless it has them.
    """

    url: str = ""
    labels: Labels = field(default_factory=Labels)


@dataclass(frozen=True, slots=True)
class AlertInstance:
    """One alert of a rule at one evaluation. Times are milliseconds of Unix time.

    Attributes:
        labels: Identity; fixed for its life.
        annotations: As of the newest evaluation that found it.
        value: The sample's value then.
        state: Where it is in its life.
        active_at_ms: When the expression began to hold.
        fired_at_ms: When it began to fire.
        resolved_at_ms: When it ended.
        keep_firing_since_ms: Since when only ``keep_firing_for`` keeps it firing.
        last_sent_at_ms: When it was last handed on; 0: never.
    """

    labels: Labels
    annotations: Labels
    value: float
    active_at_ms: int
    state: AlertState = AlertState.PENDING
    fired_at_ms: int | None = None
    resolved_at_ms: int | None = None
    keep_firing_since_ms: int | None = None
    last_sent_at_ms: int = 0

    @property
    def milestones(self) -> tuple[object, ...]:
        """What must survive a restart; value and annotations are stored along with it."""
        return (
            self.state,
            self.active_at_ms,
            self.fired_at_ms,
            self.resolved_at_ms,
            self.keep_firing_since_ms,
            self.last_sent_at_ms,
        )

    def needs_sending(self, timestamp_ms: int, resend_delay_ms: int) -> bool:
        """Whether it has to be handed on: newly firing, newly resolved, or not told for long."""
        if self.state is AlertState.PENDING:
            return False
        if self.resolved_at_ms is not None and self.resolved_at_ms > self.last_sent_at_ms:
            return True
        return self.last_sent_at_ms + resend_delay_ms < timestamp_ms


@dataclass(slots=True)
class _Restored:
    """What is remembered of a restart until the first evaluations have spoken."""

    tolerated_until_ms: int
    hold_until_ms: int
    unseen: set[Labels]


class AlertingRule:
    """The alerts of one rule. Not safe to evaluate from two threads at once.

    Attributes:
        definition: The rule as the file has it.
        instances: Every alert known, resolved ones included; replaced as a whole by each
            evaluation, so that another thread can read it at any time.
    """

    def __init__(self, definition: AlertingDefinition, external: External) -> None:
        self.definition = definition
        self.instances: dict[Labels, AlertInstance] = {}
        self._external = external
        self._for_ms = round(definition.for_s * 1000)
        self._keep_firing_for_ms = round(definition.keep_firing_for_s * 1000)
        self._restored: _Restored | None = None
        self._hands_on_all = False

    @property
    def name(self) -> str:
        """Name of the alert."""
        return self.definition.alert

    @property
    def active(self) -> tuple[AlertInstance, ...]:
        """The alerts that are pending or firing."""
        return tuple(
            instance
            for instance in self.instances.values()
            if instance.state is not AlertState.INACTIVE
        )

    @property
    def state(self) -> AlertState:
        """The worst state of its alerts."""
        states = {instance.state for instance in self.instances.values()}
        for state in (AlertState.FIRING, AlertState.PENDING):
            if state in states:
                return state
        return AlertState.INACTIVE

    def evaluate(
        self,
        samples: Sequence[SampleLike],
        timestamp_ms: int,
        *,
        limit: int = 0,
        query: QueryFunction | None = None,
    ) -> list[tuple[Labels, float]]:
        """Take the result of the expression at a time and move every alert on.

        Args:
            samples: What the expression came to.
            timestamp_ms: The time.
            limit: Most alerts there may be; 0: any number.
            query: Answers the function ``query`` of templates, at that time.

        Returns:
            The series to write: ``ALERTS`` and ``ALERTS_FOR_STATE`` of what is pending or firing.

        Raises:
            RuleError: Two samples give the same alert (nothing changes), or there are more alerts
                than ``limit`` (all alerts of the rule are forgotten, as Prometheus does).
        """
        found = self._found(samples, timestamp_ms, query)
        instances: dict[Labels, AlertInstance] = {}
        for labels, known in self._after_outage(timestamp_ms).items():
            kept = self._move_on(known, found.pop(labels, None), timestamp_ms)
            if kept is not None:
                instances[labels] = kept
        for labels, new in found.items():
            instances[labels] = self._fire_when_due(new, timestamp_ms)
        active = [item for item in instances.values() if item.state is not AlertState.INACTIVE]
        if limit and len(active) > limit:
            self.instances = {}
            raise RuleError(f"the limit of {limit} is exceeded: {len(active)} alerts")
        self.instances = instances
        return [series for instance in active for series in _series(instance)]

    def restore(
        self,
        instances: Iterable[AlertInstance],
        *,
        watched_until_ms: int,
        tolerance_ms: int,
        hold_until_ms: int = 0,
    ) -> None:
        """Take up the alerts an earlier process left.

        A pending alert that the first evaluation finds keeps its wait, unless nobody watched for
        longer than ``tolerance_ms``: then the wait starts over. Everything else goes on as it
        was, and whatever is not pending is handed on again, as routing may not have heard of it.

        Args:
            instances: The alerts.
            watched_until_ms: The last evaluation of the earlier process.
            tolerance_ms: How long a condition may go unwatched and still count as having held.
            hold_until_ms: Until when an alert that is not found is left as it is: after a start
                the series it is about may not be there yet.
        """
        self.instances = {instance.labels: instance for instance in instances}
        self._restored = _Restored(
            watched_until_ms + tolerance_ms, hold_until_ms, set(self.instances)
        )
        self._hands_on_all = True

    def take_over(self, other: AlertingRule) -> None:
        """Go on with the alerts of the rule this one replaces."""
        self.instances = other.instances
        self._restored = other._restored
        self._hands_on_all = other._hands_on_all

    def due(self, timestamp_ms: int, *, resend_delay_ms: int, interval_ms: int) -> list[Alert]:
        """Return what has to be handed on after an evaluation, and take it as handed on.

        A firing alert is given an end four sendings ahead, so that it ends by itself when the
        evaluations stop.
        """
        valid_ms = 4 * max(resend_delay_ms, interval_ms)
        due = [
            instance
            for instance in self.instances.values()
            if instance.needs_sending(timestamp_ms, resend_delay_ms)
            or (self._hands_on_all and instance.state is not AlertState.PENDING)
        ]
        self._hands_on_all = False
        sent = {item.labels: replace(item, last_sent_at_ms=timestamp_ms) for item in due}
        self.instances = {**self.instances, **sent}
        return [self._outgoing(instance, timestamp_ms + valid_ms) for instance in due]

    def firing_until(self, valid_until_ms: int) -> list[Alert]:
        """Return the alerts that fire, to be believed until a time unless they are told again."""
        return [
            self._outgoing(instance, valid_until_ms)
            for instance in self.instances.values()
            if instance.state is AlertState.FIRING
        ]

    def _after_outage(self, timestamp_ms: int) -> dict[Labels, AlertInstance]:
        """Return the known alerts; those that waited unwatched for too long wait anew."""
        restored = self._restored
        if restored is None:
            return self.instances
        was_watched = timestamp_ms <= restored.tolerated_until_ms
        restored.tolerated_until_ms = sys.maxsize  # the next evaluation follows this one
        if timestamp_ms >= restored.hold_until_ms:
            self._restored = None
        if was_watched:
            return self.instances
        return {
            labels: replace(known, active_at_ms=timestamp_ms)
            if known.state is AlertState.PENDING
            else known
            for labels, known in self.instances.items()
        }

    def _is_held(self, known: AlertInstance) -> bool:
        """Whether a restored alert that is not found may only be waiting for its series."""
        return self._restored is not None and known.labels in self._restored.unseen

    def _found(
        self, samples: Sequence[SampleLike], timestamp_ms: int, query: QueryFunction | None
    ) -> dict[Labels, AlertInstance]:
        found: dict[Labels, AlertInstance] = {}
        for sample in samples:
            data = TemplateData(
                sample.labels,
                sample.value,
                self._external.labels,
                self._external.url,
                timestamp_ms=timestamp_ms,
                alert=self.name,
                query=query,
            )
            own = {name: text.expand(data) for name, text in self.definition.labels}
            labels = sample.labels.drop((METRIC_NAME,)).merge({**own, ALERT_NAME: self.name})
            if labels in found:
                raise RuleError(
                    "two results have the same labels once the rule's labels are applied: "
                    f"{labels!r}; keep a label that tells them apart"
                )
            annotations = Labels(
                (name, text.expand(data)) for name, text in self.definition.annotations
            )
            found[labels] = AlertInstance(labels, annotations, sample.value, timestamp_ms)
        return found

    def _move_on(
        self, known: AlertInstance, found: AlertInstance | None, timestamp_ms: int
    ) -> AlertInstance | None:
        """Return a known alert after an evaluation that found it or did not; None: forget it."""
        if found is None:
            is_held = known.resolved_at_ms is None and self._is_held(known)
            return known if is_held else self._absent(known, timestamp_ms)
        if self._restored is not None:
            self._restored.unseen.discard(known.labels)
        if known.state is AlertState.INACTIVE:
            return self._fire_when_due(found, timestamp_ms)
        present = replace(
            known,
            value=found.value,
            annotations=found.annotations,
            keep_firing_since_ms=None,
        )
        if self._fires_too_early(present, timestamp_ms):
            # The file was changed to a longer wait: what fired by the old one waits again.
            present = replace(
                present, state=AlertState.PENDING, fired_at_ms=None, last_sent_at_ms=0
            )
        return self._fire_when_due(present, timestamp_ms)

    def _absent(self, known: AlertInstance, timestamp_ms: int) -> AlertInstance | None:
        if known.state is AlertState.PENDING:
            return None
        if known.resolved_at_ms is not None:
            is_old = timestamp_ms - known.resolved_at_ms > RESOLVED_RETENTION_MS
            return None if is_old and not self._hands_on_all else known
        if self._keep_firing_for_ms:
            since = known.keep_firing_since_ms
            since = timestamp_ms if since is None else since
            known = replace(known, keep_firing_since_ms=since)
            if timestamp_ms - since < self._keep_firing_for_ms:
                return known
        return replace(known, state=AlertState.INACTIVE, resolved_at_ms=timestamp_ms)

    def _fire_when_due(self, instance: AlertInstance, timestamp_ms: int) -> AlertInstance:
        is_pending = instance.state is AlertState.PENDING
        if is_pending and timestamp_ms - instance.active_at_ms >= self._for_ms:
            return replace(instance, state=AlertState.FIRING, fired_at_ms=timestamp_ms)
        return instance

    def _fires_too_early(self, instance: AlertInstance, timestamp_ms: int) -> bool:
        is_firing = instance.state is AlertState.FIRING
        return is_firing and timestamp_ms - instance.active_at_ms < self._for_ms

    def _outgoing(self, instance: AlertInstance, valid_until_ms: int) -> Alert:
        ends_at_ms = instance.resolved_at_ms
        query = quote_plus(self.definition.expression)
        return Alert(
            labels=self._external.labels.merge(instance.labels),
            annotations=instance.annotations,
            starts_at_ms=instance.fired_at_ms or instance.active_at_ms,
            ends_at_ms=valid_until_ms if ends_at_ms is None else ends_at_ms,
            generator_url=f"{self._external.url}/graph?g0.expr={query}&g0.tab=1",
        )


def _series(instance: AlertInstance) -> list[tuple[Labels, float]]:
    state = {**_SERIES_OF_STATE, "alertstate": instance.state.value}
    return [
        (instance.labels.merge(state), 1.0),
        (instance.labels.merge(_SERIES_OF_START), float(instance.active_at_ms // 1000)),
    ]
