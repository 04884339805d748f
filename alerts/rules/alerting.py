"""The life of the alerts of one rule: pending, firing, kept firing, resolved.

Pure: every decision follows from the samples and the timestamp passed in. No clock, no I/O.

Source: Prometheus, rules/alerting.go (Eval, needsSending).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import copysign
from typing import Final, Self
from urllib.parse import quote_plus

from alerts.errors import AlertsError
from alerts.model import ALERT_NAME, Alert
from alerts.rules.model import AlertingDefinition, SampleLike
from alerts.rules.template_functions import QueryFunction
from alerts.rules.templates import Texts
from alerts.series.labels import METRIC_NAME, Labels

RESOLVED_RETENTION_MS: Final = 15 * 60 * 1000
"""How long an alert that ended is remembered, so that its end is told again."""

_SERIES_OF_STATE: Final = {METRIC_NAME: "ALERTS"}
_SERIES_OF_START: Final = {METRIC_NAME: "ALERTS_FOR_STATE"}

Annotations = Labels | Texts
"""The texts of an alert, or what they are made from when somebody wants to read them."""


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


@dataclass(frozen=True, slots=True, eq=False)
class AlertInstance:
    """One alert of a rule at one evaluation. Times are milliseconds of Unix time.

    Attributes:
        labels: Identity; fixed for its life.
        texts: Its annotations, or how they come about.
        value: The sample's value then.
        state: Where it is in its life.
        active_at_ms: When the expression began to hold.
        fired_at_ms: When it began to fire.
        resolved_at_ms: When it ended.
        keep_firing_since_ms: Since when only ``keep_firing_for`` keeps it firing.
        last_sent_at_ms: When it was last handed on; 0: never.
    """

    labels: Labels
    texts: Annotations
    value: float
    active_at_ms: int
    state: AlertState = AlertState.PENDING
    fired_at_ms: int | None = None
    resolved_at_ms: int | None = None
    keep_firing_since_ms: int | None = None
    last_sent_at_ms: int = 0

    @property
    def annotations(self) -> Labels:
        """Texts for people, as of the newest evaluation that found it."""
        return self.texts.of(self.value) if isinstance(self.texts, Texts) else self.texts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AlertInstance):
            return NotImplemented
        return (
            self.is_as_stored(other)
            and (self.labels, self.value) == (other.labels, other.value)
            and self.last_sent_at_ms == other.last_sent_at_ms
            and self.annotations == other.annotations
        )

    def __hash__(self) -> int:
        return hash(self.labels)

    def is_as_stored(self, stored: AlertInstance) -> bool:
        """Whether what must survive a restart is the same; the rest is stored along with it.

        When it was handed on is not asked: a restart hands on everything again anyway.
        """
        return self is stored or (
            self.state is stored.state
            and self.active_at_ms == stored.active_at_ms
            and self.fired_at_ms == stored.fired_at_ms
            and self.resolved_at_ms == stored.resolved_at_ms
            and self.keep_firing_since_ms == stored.keep_firing_since_ms
        )

    def goes_on(self, value: float, texts: Annotations) -> AlertInstance:
        """Return the alert found once more; no other way to copy it costs as little."""
        if texts is self.texts and _is_same(value, self.value):
            return self
        return AlertInstance(
            self.labels,
            texts,
            value,
            self.active_at_ms,
            self.state,
            self.fired_at_ms,
            None,
            None,
            self.last_sent_at_ms,
        )

    def needs_sending(self, timestamp_ms: int, resend_delay_ms: int) -> bool:
        """Whether it has to be handed on: newly firing, newly resolved, or not told for long."""
        if self.state is AlertState.PENDING:
            return False
        if self.resolved_at_ms is not None and self.resolved_at_ms > self.last_sent_at_ms:
            return True
        return self.last_sent_at_ms + resend_delay_ms < timestamp_ms


@dataclass(frozen=True, slots=True)
class _Subject:
    """What the labels of a sample make of it: an alert's identity and its texts."""

    labels: Labels
    texts: Texts


@dataclass(frozen=True, slots=True)
class _Found:
    """A sample as the alert it is."""

    texts: Annotations
    value: float


@dataclass(frozen=True, slots=True)
class _Written:
    """The series of an alert, good for as long as it is in this state since then."""

    state: AlertState
    active_at_ms: int
    series: tuple[tuple[Labels, float], tuple[Labels, float]]

    @classmethod
    def of(cls, instance: AlertInstance) -> Self:
        state = {**_SERIES_OF_STATE, "alertstate": instance.state.value}
        since_s = float(instance.active_at_ms // 1000)
        return cls(
            instance.state,
            instance.active_at_ms,
            (
                (instance.labels.merge(state), 1.0),
                (instance.labels.merge(_SERIES_OF_START), since_s),
            ),
        )


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
        self._firing = 0
        # What the labels of samples come to, worked out when they first appear.
        self._subjects: dict[Labels, _Subject] = {}
        self._written: dict[Labels, _Written] = {}
        self._labels_may_change = any(
            text.needs_value or text.needs_moment for _, text in definition.labels
        )
        self._texts_may_change = any(text.needs_moment for _, text in definition.annotations)
        query = quote_plus(definition.expression)
        self._generator_url = f"{external.url}/graph?g0.expr={query}&g0.tab=1"

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
    def firing(self) -> int:
        """How many of its alerts fire, as of the newest evaluation."""
        return self._firing

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
            instances[labels] = self._begin(labels, new, timestamp_ms)
        active = [item for item in instances.values() if item.state is not AlertState.INACTIVE]
        if limit and len(active) > limit:
            self.instances, self._firing = {}, 0
            raise RuleError(f"the limit of {limit} is exceeded: {len(active)} alerts")
        self.instances = instances
        self._firing = sum(item.state is AlertState.FIRING for item in active)
        return self._series(active)

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
        self._firing = sum(item.state is AlertState.FIRING for item in self.instances.values())
        self._restored = _Restored(
            watched_until_ms + tolerance_ms, hold_until_ms, set(self.instances)
        )
        self._hands_on_all = True

    def take_over(self, other: AlertingRule) -> None:
        """Go on with the alerts of the rule this one replaces."""
        self.instances = other.instances
        self._firing = other._firing
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
        if not due:
            return []
        sent = {item.labels: replace(item, last_sent_at_ms=timestamp_ms) for item in due}
        self.instances = {**self.instances, **sent}
        return [self._outgoing(instance, timestamp_ms + valid_ms) for instance in due]

    def raised(self, valid_until_ms: int) -> list[Alert]:
        """Return the alerts that fire or have ended lately.

        Those that fire are to be believed until a time unless they are told again.
        """
        return [
            self._outgoing(instance, valid_until_ms)
            for instance in self.instances.values()
            if instance.state is not AlertState.PENDING
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
    ) -> dict[Labels, _Found]:
        found: dict[Labels, _Found] = {}
        known, subjects = self._subjects, {}
        for sample in samples:
            # A metric's name is not in an alert's labels, so that two samples may be one alert.
            subject = known.get(sample.labels)
            if subject is None or self._labels_may_change:
                subject = self._subject(sample, timestamp_ms, query)
            subjects[sample.labels] = subject
            texts: Annotations = subject.texts
            if self._texts_may_change:
                texts = subject.texts.at(sample.value, timestamp_ms, query)
            if subject.labels in found:
                raise RuleError(
                    "two results have the same labels once the rule's labels are applied: "
                    f"{subject.labels!r}; keep a label that tells them apart"
                )
            found[subject.labels] = _Found(texts, sample.value)
        self._subjects = subjects
        return found

    def _subject(
        self, sample: SampleLike, timestamp_ms: int, query: QueryFunction | None
    ) -> _Subject:
        external, definition = self._external, self.definition
        own = Texts(definition.labels, sample.labels, self.name, external.labels, external.url)
        added = {**dict(own.pairs(sample.value, timestamp_ms, query)), ALERT_NAME: self.name}
        return _Subject(
            sample.labels.drop((METRIC_NAME,)).merge(added),
            Texts(definition.annotations, sample.labels, self.name, external.labels, external.url),
        )

    def _series(self, active: Sequence[AlertInstance]) -> list[tuple[Labels, float]]:
        before, written = self._written, {}
        series: list[tuple[Labels, float]] = []
        for instance in active:
            each = before.get(instance.labels)
            if (
                each is None
                or each.state is not instance.state
                or each.active_at_ms != instance.active_at_ms
            ):
                each = _Written.of(instance)
            written[instance.labels] = each
            series += each.series
        self._written = written
        return series

    def _move_on(
        self, known: AlertInstance, found: _Found | None, timestamp_ms: int
    ) -> AlertInstance | None:
        """Return a known alert after an evaluation that found it or did not; None: forget it."""
        if found is None:
            is_held = known.resolved_at_ms is None and self._is_held(known)
            return known if is_held else self._absent(known, timestamp_ms)
        if self._restored is not None:
            self._restored.unseen.discard(known.labels)
        if known.state is AlertState.INACTIVE:
            return self._begin(known.labels, found, timestamp_ms)
        present = known.goes_on(found.value, found.texts)
        if self._fires_too_early(present, timestamp_ms):
            # The file was changed to a longer wait: what fired by the old one waits again.
            present = replace(
                present, state=AlertState.PENDING, fired_at_ms=None, last_sent_at_ms=0
            )
        return self._fire_when_due(present, timestamp_ms)

    def _begin(self, labels: Labels, found: _Found, timestamp_ms: int) -> AlertInstance:
        new = AlertInstance(labels, found.texts, found.value, timestamp_ms)
        return self._fire_when_due(new, timestamp_ms)

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
        labels, external = instance.labels, self._external.labels
        return Alert(
            labels=external.merge(labels) if external else labels,
            annotations=instance.annotations,
            starts_at_ms=instance.fired_at_ms or instance.active_at_ms,
            ends_at_ms=valid_until_ms if ends_at_ms is None else ends_at_ms,
            generator_url=self._generator_url,
        )


def _is_same(one: float, other: float) -> bool:
    """Whether two values are written the same; 0 and -0 are not."""
    return one == other and (one != 0 or copysign(1.0, one) == copysign(1.0, other))
