"""What a stored change of an alert of a rule means for the history. Pure.

An alert carries when it began, fired and ended, so what happened is what its times tell now and
what was stored before did not. So a change whose commit failed is in the history once the next
one is stored, with the times at which it happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alerts.rules.alerting import AlertState
from alerts.series.labels import Labels
from alerts.storage.history import EventKind, HistoryEvent


@dataclass(frozen=True, slots=True)
class AlertTimes:
    """The life of an alert so far, in milliseconds of Unix time; None: did not happen yet."""

    active_at_ms: int
    fired_at_ms: int | None
    resolved_at_ms: int | None

    @property
    def state(self) -> AlertState:
        """Where it is in its life."""
        if self.resolved_at_ms is not None:
            return AlertState.INACTIVE
        return AlertState.PENDING if self.fired_at_ms is None else AlertState.FIRING


@dataclass(frozen=True, slots=True)
class _Moment:
    kind: EventKind
    at_ms: int
    before: AlertState


@dataclass(frozen=True, slots=True)
class Subject:
    """The alert events are about.

    Attributes:
        group_key: The group of its rule.
        labels: As the alert leaves, external labels included.
        annotations: Texts for people.
        value: The sample's value, as text.
    """

    group_key: str
    labels: Labels
    annotations: Labels
    value: str


def events_of_change(
    subject: Subject, before: AlertTimes | None, after: AlertTimes, at_ms: int
) -> list[HistoryEvent]:
    """Return what happened to an alert, in order.

    Args:
        subject: The alert.
        before: What was stored of it; None: nothing.
        after: What is stored of it now.
        at_ms: The evaluation.
    """
    if before is None:
        return [_event(subject, moment) for moment in _moments(after)]
    if _waits_again(before, after):
        return [_event(subject, _Moment(EventKind.PENDING, at_ms, AlertState.FIRING))]
    known = set(_moments(before))
    return [_event(subject, moment) for moment in _moments(after) if moment not in known]


def events_of_end(subject: Subject, before: AlertTimes, at_ms: int) -> list[HistoryEvent]:
    """Return what it means that an alert is known no more: nothing when it had ended before.

    Args:
        subject: The alert.
        before: What was stored of it.
        at_ms: When it was forgotten.
    """
    if before.state is AlertState.INACTIVE:
        return []
    return [_event(subject, _Moment(EventKind.RESOLVED, at_ms, before.state))]


def _waits_again(before: AlertTimes, after: AlertTimes) -> bool:
    """Whether an alert that fired is pending once more, as its rule now wants a longer wait."""
    return (
        before.active_at_ms == after.active_at_ms
        and before.state is AlertState.FIRING
        and after.state is AlertState.PENDING
    )


def _moments(times: AlertTimes) -> Iterator[_Moment]:
    fired_at_ms, resolved_at_ms = times.fired_at_ms, times.resolved_at_ms
    waited = fired_at_ms is None or fired_at_ms > times.active_at_ms
    if waited:
        yield _Moment(EventKind.PENDING, times.active_at_ms, AlertState.INACTIVE)
    if fired_at_ms is not None:
        before = AlertState.PENDING if waited else AlertState.INACTIVE
        yield _Moment(EventKind.FIRING, fired_at_ms, before)
    if resolved_at_ms is not None:
        yield _Moment(EventKind.RESOLVED, resolved_at_ms, AlertState.FIRING)


def _event(subject: Subject, moment: _Moment) -> HistoryEvent:
    return HistoryEvent(
        at_ms=moment.at_ms,
        kind=moment.kind,
        fingerprint=subject.labels.fingerprint(),
        labels=subject.labels,
        annotations=subject.annotations,
        detail={
            "group": subject.group_key,
            "from": moment.before.value,
            "value": subject.value,
        },
    )
