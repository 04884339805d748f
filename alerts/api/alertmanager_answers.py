"""What the Alertmanager API shows, in the JSON its clients expect.

Source: Alertmanager, api/v2/openapi.yaml, api/v2/compat.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from alerts.api.alertmanager_fields import FIRST_MS, LAST_MS
from alerts.routing.silence import Silence
from alerts.routing.views import Acknowledgement, AlertView, GroupView
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp

ALERTMANAGER_VERSION: Final = "0.34.0"
"""The Alertmanager whose API this is: clients ask for it and leave out what is newer."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NamedReceiver(Protocol):
    """A receiver as the API shows it."""

    @property
    def name(self) -> str:
        """Unique."""

    @property
    def labels(self) -> Sequence[tuple[str, str]]:
        """Texts by name."""


class RecordedEvent(Protocol):
    """Something that happened to an alert or a silence, as the history has it."""

    @property
    def at_ms(self) -> int:
        """When, in Unix milliseconds."""

    @property
    def kind(self) -> str:
        """What, such as ``firing``."""

    @property
    def fingerprint(self) -> str | None:
        """Of the alert it happened to, if it was one."""

    @property
    def labels(self) -> Labels:
        """Of the alert."""

    @property
    def annotations(self) -> Labels:
        """Of the alert."""

    @property
    def detail(self) -> Mapping[str, str]:
        """More, by name, such as the receiver that was told."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of the history.

    Attributes:
        events: Newest first; there may be none on a page that is not the last.
        next: What asks for the page behind this one; None when this is the last.
    """

    events: Sequence[RecordedEvent]
    next: str | None = None


def show_status(*, original_config: str, started_at_ms: int, version: str) -> dict[str, object]:
    """Return the status of a server that has no peers."""
    return {
        "cluster": {"status": "disabled", "peers": []},
        "versionInfo": {
            "version": ALERTMANAGER_VERSION,
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
            "applicationVersion": version,
        },
        "config": {"original": original_config},
        "uptime": show_time(started_at_ms),
    }


def show_receiver(receiver: NamedReceiver) -> dict[str, object]:
    """Return a receiver; its labels only if it has some."""
    shown: dict[str, object] = {"name": receiver.name}
    if receiver.labels:
        shown["labels"] = dict(receiver.labels)
    return shown


def show_alert(view: AlertView, fingerprint: str) -> dict[str, object]:
    """Return an alert; who acknowledged it only if somebody did.

    Args:
        view: The alert.
        fingerprint: Its fingerprint, which takes long enough to be computed only once.
    """
    alert, status = view.alert, view.status
    shown: dict[str, object] = {
        "annotations": dict(alert.annotations.pairs),
        "endsAt": show_time(FIRST_MS if alert.ends_at_ms is None else alert.ends_at_ms),
        "fingerprint": fingerprint,
        "receivers": [{"name": name} for name in view.receivers],
        "startsAt": show_time(alert.starts_at_ms),
        "status": {
            "inhibitedBy": status.inhibited_by,
            "mutedBy": status.muted_by,
            "silencedBy": status.silenced_by,
            "state": status.state,
        },
        "updatedAt": show_time(view.updated_at_ms),
        "labels": dict(alert.labels.pairs),
    }
    if alert.generator_url:
        shown["generatorURL"] = alert.generator_url
    if view.acknowledgement is not None:
        shown["acknowledgement"] = show_acknowledgement(view.acknowledgement)
    return shown


def show_group(group: GroupView, alerts: Iterable[dict[str, object]]) -> dict[str, object]:
    """Return a group with those of its alerts that are wanted."""
    return {
        "alerts": list(alerts),
        "labels": dict(group.labels.pairs),
        "receiver": {"name": group.receiver},
        "routeLabels": dict(group.route_labels.pairs),
    }


def show_silence(silence: Silence, now_ms: int) -> dict[str, object]:
    """Return a silence and the state it is in."""
    return {
        "id": silence.id,
        "status": {"state": silence.state(now_ms).value},
        "updatedAt": show_time(silence.updated_at_ms),
        "annotations": dict(silence.annotations.pairs),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": show_time(silence.ends_at_ms),
        "matchers": [_show_matcher(matcher) for matcher in silence.matchers],
        "startsAt": show_time(silence.starts_at_ms),
    }


def show_acknowledgement(acknowledgement: Acknowledgement) -> dict[str, object]:
    """Return who looks after an alert."""
    return {
        "at": show_time(acknowledgement.at_ms),
        "by": acknowledgement.by,
        "note": acknowledgement.note,
    }


def show_history(page: HistoryPage) -> dict[str, object]:
    """Return a page of the history."""
    return {"events": [_show_event(event) for event in page.events], "next": page.next}


def show_time(moment_ms: int) -> str:
    """Return a time as Alertmanager's API prints it: RFC 3339 in UTC with milliseconds.

    Args:
        moment_ms: Unix milliseconds; what lies beyond the years 1 to 9999 is shown as their end.
    """
    bounded_ms = max(FIRST_MS, min(LAST_MS, moment_ms))
    text = (_EPOCH + timedelta(milliseconds=bounded_ms)).isoformat(timespec="milliseconds")
    return f"{text.removesuffix('+00:00')}Z"


def _show_matcher(matcher: Matcher) -> dict[str, object]:
    return {
        "isEqual": matcher.op in (MatchOp.EQUAL, MatchOp.REGEX),
        "isRegex": matcher.op in (MatchOp.REGEX, MatchOp.NOT_REGEX),
        "name": matcher.name,
        "value": matcher.value,
    }


def _show_event(event: RecordedEvent) -> dict[str, object]:
    shown: dict[str, object] = {
        "annotations": dict(event.annotations.pairs),
        "at": show_time(event.at_ms),
        "detail": dict(event.detail),
        "kind": str(event.kind),
        "labels": dict(event.labels.pairs),
    }
    if event.fingerprint:
        shown["fingerprint"] = event.fingerprint
    return shown
