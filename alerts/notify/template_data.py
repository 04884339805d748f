"""What the templates of notifications can refer to: Alertmanager's data.

Source: Alertmanager, template/template.go (Data, Alert, KV, Pairs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final

from alerts.model import ALERT_NAME, Alert, format_time
from alerts.notify.notification import Notification, Status, status_of
from alerts.series.labels import Labels
from alerts.templates.gotime import ZERO_TIME_NS, GoTime
from alerts.templates.values import STRING, Function, Slice, Value

TEXTS: Final = "[]string"
"""Go's name of a list of texts."""


def texts_slice(texts: Iterable[str]) -> Slice:
    """Return texts as a list of Go's, with its method ``Join``."""
    items = tuple(texts)
    return Slice(
        items, TEXTS, {"Join": Function(lambda separator: separator.join(items), (STRING,))}
    )


class KV(Mapping[str, str]):
    """Names and values: labels or annotations."""

    __slots__ = ("_entries",)

    go_type: ClassVar[str] = "template.KV"

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> str:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def methods(self) -> Mapping[str, Function]:
        """Return the methods, which give parts of it in order."""
        return {
            "SortedPairs": Function(self._sorted_pairs),
            "Remove": Function(self._remove, (TEXTS,)),
            "Names": Function(lambda: texts_slice(name for name, _ in self._pairs())),
            "Values": Function(lambda: texts_slice(text for _, text in self._pairs())),
            "String": Function(self.text),
        }

    def text(self) -> str:
        """Return all of it on one line."""
        return _joined(self._pairs())

    def _pairs(self) -> list[tuple[str, str]]:
        return sorted(self._entries.items(), key=lambda pair: (pair[0] != ALERT_NAME, pair[0]))

    def _sorted_pairs(self) -> Slice:
        pairs = self._pairs()
        return Slice(
            tuple(Pair(name, text) for name, text in pairs),
            "template.Pairs",
            {
                "Names": Function(lambda: texts_slice(name for name, _ in pairs)),
                "Values": Function(lambda: texts_slice(text for _, text in pairs)),
            },
            _joined(pairs),
        )

    def _remove(self, names: Slice) -> KV:
        gone = set(names.items)
        return KV({name: text for name, text in self._entries.items() if name not in gone})


def _joined(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name}={text}" for name, text in pairs)


@dataclass(frozen=True, slots=True)
class Pair:
    """One name and its value."""

    go_type: ClassVar[str] = "template.Pair"
    name: str
    value: str

    def fields(self) -> Mapping[str, Value]:
        """Return name and value."""
        return {"Name": self.name, "Value": self.value}

    def methods(self) -> Mapping[str, Function]:
        """Return no methods."""
        return {}

    def text(self) -> None:
        """Say that it is written as a struct."""


@dataclass(frozen=True, slots=True)
class AlertData:
    """One alert.

    Attributes:
        alert: What happened.
    """

    go_type: ClassVar[str] = "template.Alert"
    alert: Alert

    @property
    def status(self) -> Status:
        """Whether it fires."""
        return status_of((self.alert,))

    def fields(self) -> Mapping[str, Value]:
        """Return what stands behind the dot; ``TraceURL`` is an addition of ours."""
        alert = self.alert
        return {
            "Status": self.status,
            "Labels": KV(alert.labels),
            "Annotations": KV(alert.annotations),
            "StartsAt": _time(alert.starts_at_ms),
            "EndsAt": _time(alert.ends_at_ms),
            "GeneratorURL": alert.generator_url,
            "Fingerprint": alert.fingerprint,
            "TraceURL": alert.annotations.get("trace_url", ""),
        }

    def methods(self) -> Mapping[str, Function]:
        """Return no methods."""
        return {}

    def text(self) -> None:
        """Say that it is written as a struct."""

    def as_json(self) -> dict[str, object]:
        """Return it as webhooks get it."""
        alert = self.alert
        data: dict[str, object] = {
            "status": self.status,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": format_time(alert.starts_at_ms),
            "endsAt": format_time(alert.ends_at_ms),
            "generatorURL": alert.generator_url,
            "fingerprint": alert.fingerprint,
        }
        return data


def _time(timestamp_ms: int | None) -> GoTime:
    return GoTime(ZERO_TIME_NS if timestamp_ms is None else timestamp_ms * 1_000_000)


def _alert_list(alerts: Sequence[AlertData], *, has_methods: bool = False) -> Slice:
    items = tuple(alerts)
    if not has_methods:
        return Slice(items, "[]template.Alert")
    return Slice(
        items,
        "template.Alerts",
        {
            "Firing": Function(lambda: _alert_list([i for i in items if i.status == "firing"])),
            "Resolved": Function(lambda: _alert_list([i for i in items if i.status != "firing"])),
        },
    )


@dataclass(frozen=True)
class TemplateData:
    """What one notification says, as ``.`` of its templates.

    Attributes:
        notification: What is told.
        alerts: The alerts of it that are told, which may be fewer than it has.
        external_url: Where people reach this process.
    """

    go_type: ClassVar[str] = "*template.Data"
    notification: Notification
    alerts: tuple[AlertData, ...]
    external_url: str = field(default="")

    @classmethod
    def of(
        cls, notification: Notification, external_url: str = "", *, max_alerts: int | None = None
    ) -> TemplateData:
        """Return the data of a notification, of some alerts only when there is a limit.

        Alerts that fire are kept before those that ended.
        """
        alerts = notification.alerts
        if max_alerts is not None and max_alerts < len(alerts):
            order = sorted(range(len(alerts)), key=lambda at: alerts[at].ends_at_ms is not None)
            alerts = tuple(alerts[at] for at in sorted(order[:max_alerts]))
        return cls(
            notification,
            tuple(map(AlertData, alerts)),
            external_url,
        )

    @property
    def status(self) -> Status:
        """Firing when at least one of all alerts fires, also one that is not told."""
        return status_of(self.notification.alerts)

    @property
    def omitted(self) -> int:
        """How many alerts are not told."""
        return len(self.notification.alerts) - len(self.alerts)

    @cached_property
    def common_labels(self) -> KV:
        """The labels all alerts share."""
        return KV(common([item.alert.labels for item in self.alerts]))

    @cached_property
    def common_annotations(self) -> KV:
        """The annotations all alerts share."""
        return KV(common([item.alert.annotations for item in self.alerts]))

    @cached_property
    def _fields(self) -> Mapping[str, Value]:
        notification = self.notification
        return {
            "Receiver": notification.receiver,
            "Status": self.status,
            "Alerts": _alert_list(self.alerts, has_methods=True),
            "NotificationReason": notification.reason,
            "GroupLabels": KV(notification.group_labels),
            "CommonLabels": self.common_labels,
            "CommonAnnotations": self.common_annotations,
            "RouteLabels": KV(notification.route_labels),
            "ExternalURL": self.external_url,
        }

    def fields(self) -> Mapping[str, Value]:
        """Return what stands behind the dot."""
        return self._fields

    def methods(self) -> Mapping[str, Function]:
        """Return no methods."""
        return {}

    def text(self) -> None:
        """Say that it is written as a struct."""

    def as_json(self) -> dict[str, object]:
        """Return it as webhooks get it: Alertmanager's payload, version 4."""
        notification = self.notification
        return {
            "receiver": notification.receiver,
            "status": self.status,
            "alerts": [item.as_json() for item in self.alerts],
            "notification_reason": notification.reason,
            "groupLabels": dict(notification.group_labels),
            "commonLabels": dict(self.common_labels),
            "commonAnnotations": dict(self.common_annotations),
            "routeLabels": dict(notification.route_labels),
            "externalURL": self.external_url,
            "version": "4",
            "groupKey": notification.group_key,
            "truncatedAlerts": self.omitted,
        }


def common(sets: Sequence[Labels]) -> dict[str, str]:
    """Return the pairs that are in all of the sets."""
    if not sets:
        return {}
    first, *others = sets
    return {
        name: text for name, text in first.pairs if all(other.get(name) == text for other in others)
    }
