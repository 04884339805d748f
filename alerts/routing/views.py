"""Alerts as people and the API see them: where each one goes and what holds it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alerts.model import Alert
from alerts.series.labels import Labels


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody looks after an alert: it is not told again until something changes.

    Attributes:
        fingerprint: Of the alert.
        starts_at_ms: When that alert began to fire; another one of the same labels is not meant.
        by: Who.
        at_ms: When, in Unix milliseconds.
        note: What for; may be empty.
    """

    fingerprint: str
    starts_at_ms: int
    by: str
    at_ms: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """What holds an alert back.

    Attributes:
        state: ``unprocessed`` until routing has looked at it.
        silenced_by: Ids of silences.
        inhibited_by: Fingerprints of alerts.
        muted_by: Names of time intervals.
    """

    state: Literal["unprocessed", "active", "suppressed"]
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert that has not ended, and what becomes of it.

    Attributes:
        alert: ``ends_at_ms`` is until when it is believed to fire.
        updated_at_ms: When it was heard of last.
        receivers: Names, in the order of the routes.
        status: What holds it back.
        acknowledgement: Who looks after it.
    """

    alert: Alert
    updated_at_ms: int
    receivers: tuple[str, ...]
    status: AlertStatus
    acknowledgement: Acknowledgement | None = None


@dataclass(frozen=True, slots=True)
class GroupView:
    """An aggregation group.

    Attributes:
        labels: What its alerts share.
        route_labels: What its route adds.
        receiver: Who is told.
        alerts: Sorted by fingerprint.
    """

    labels: Labels
    route_labels: Labels
    receiver: str
    alerts: tuple[AlertView, ...]
