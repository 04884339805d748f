"""Aggregation groups: alerts that are told together, and what to tell of them when.

Pure: a group decides from the time passed in; ``dispatcher`` owns timers and storage.

Source: Alertmanager, dispatch/dispatch.go (aggrGroup) and types (Merge).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from alerts.model import Alert
from alerts.notify.channel import Channel
from alerts.notify.log import LogEntry, NotificationLog
from alerts.notify.notification import Notification
from alerts.routing.model import ALL_LABELS, Route
from alerts.routing.reasons import NotifyReason, reason_to_notify
from alerts.series.labels import Labels

LOG_RETENTION_MS: Final = 120 * 3600 * 1000
"""The longest an entry of the notification log is kept, in milliseconds."""

_SORT_FIRST: Final = ("job", "instance")


@dataclass(frozen=True, slots=True)
class Flush:
    """What came of looking at a group: to be committed, then taken as told with ``settle``.

    Attributes:
        notifications: What to send.
        entries: What the notification log says from then on.
        resolved: The alerts that had ended, whether or not anybody is told.
    """

    notifications: tuple[Notification, ...]
    entries: tuple[LogEntry, ...]
    resolved: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a flush goes by besides the group itself.

    Attributes:
        now_ms: When it is.
        log: What the channels were told.
        new_id: Makes the ids of notifications.
        is_held_back: Whether an alert is not to be told, for whatever reason.
        is_acknowledged: Whether somebody looks after an alert, so that it need not be repeated.
        is_waiting: Whether a channel, by key, has not accepted yet what it is told about a group.
    """

    now_ms: int
    log: NotificationLog
    new_id: Callable[[], str]
    is_held_back: Callable[[Alert], bool] = field(default=lambda _: False)
    is_acknowledged: Callable[[Alert], bool] = field(default=lambda _: False)
    is_waiting: Callable[[str, str], bool] = field(default=lambda _group, _channel: False)


class AggregationGroup:
    """The alerts of one route that share the values of its ``group_by`` labels."""

    def __init__(self, route: Route, labels: Labels) -> None:
        self.route = route
        self.labels = labels
        self.key = f"{route.path}:{labels!r}"
        self.has_flushed = False
        self.trace_parent = ""
        self._alerts: dict[Labels, Alert] = {}

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts of the group, ended ones included until they were told."""
        return tuple(self._alerts.values())

    def add(self, alert: Alert) -> None:
        """Take an alert, or news of one that is known."""
        known = self._alerts.get(alert.labels)
        self._alerts[alert.labels] = alert if known is None else merge(known, alert)

    def flush(self, channels: Iterable[Channel], moment: Moment) -> Flush:
        """Decide what each channel has to be told; changes nothing."""
        now_ms = moment.now_ms
        alerts = sort_alerts(
            alert if alert.is_resolved(now_ms) else replace(alert, ends_at_ms=None)
            for alert in self._alerts.values()
            if not moment.is_held_back(alert)
        )
        notifications: list[Notification] = []
        entries: list[LogEntry] = []
        for channel in channels if alerts else ():
            due = self._due(channel, alerts, moment)
            if due is None:
                continue
            entry, reason = due
            entries.append(entry)
            told = alerts if channel.sends_resolved else entry.firing
            if told and reason is not None:
                before = moment.log.get(self.key, channel.key)
                notifications.append(self._notification(channel, entry, told, reason, before))
        resolved = tuple(item for item in self._alerts.values() if item.is_resolved(now_ms))
        return Flush(tuple(notifications), tuple(entries), resolved)

    def settle(self, flush: Flush) -> None:
        """Forget the ended alerts of a committed flush, unless there was news since."""
        self.has_flushed = True
        for alert in flush.resolved:
            if self._alerts.get(alert.labels) == alert:
                del self._alerts[alert.labels]

    def _due(
        self, channel: Channel, alerts: tuple[Alert, ...], moment: Moment
    ) -> tuple[LogEntry, NotifyReason | None] | None:
        """Return what the log says from now on and why the channel is told.

        None: nothing changes. Without a reason the channel is not told, and the log only has to
        remember for longer what it was told.
        """
        known = moment.log.get(self.key, channel.key)
        firing = tuple(alert for alert in alerts if alert.ends_at_ms is None)
        resolved = frozenset(alert.fingerprint for alert in alerts if alert.ends_at_ms is not None)
        repeat_ms = round(self.route.repeat_interval_s * 1000)
        expires_at_ms = moment.now_ms + min(LOG_RETENTION_MS, 2 * repeat_ms)
        reason = reason_to_notify(
            known,
            firing=frozenset(alert.fingerprint for alert in firing),
            resolved=resolved,
            sends_resolved=channel.sends_resolved,
            repeat_due=known is not None and known.notified_at_ms + repeat_ms <= moment.now_ms,
        )
        if reason is None:
            return None
        is_repeat = reason is NotifyReason.REPEAT
        if known and is_repeat and self._need_not_repeat(channel, firing, moment):
            is_fresh = known.expires_at_ms - moment.now_ms > repeat_ms
            return None if is_fresh else (replace(known, expires_at_ms=expires_at_ms), None)
        entry = LogEntry(
            group_key=self.key,
            channel=channel.key,
            notification_id=moment.new_id(),
            notified_at_ms=moment.now_ms,
            expires_at_ms=expires_at_ms,
            group_labels=self.labels,
            firing=firing,
            resolved=resolved,
        )
        return entry, reason

    def _need_not_repeat(self, channel: Channel, firing: Iterable[Alert], moment: Moment) -> bool:
        """Whether somebody looks after all alerts, or what was told last is not accepted yet."""
        return moment.is_waiting(self.key, channel.key) or all(map(moment.is_acknowledged, firing))

    def _notification(
        self,
        channel: Channel,
        entry: LogEntry,
        alerts: tuple[Alert, ...],
        reason: NotifyReason,
        before: LogEntry | None,
    ) -> Notification:
        return Notification(
            id=entry.notification_id,
            channel=channel.key,
            receiver=channel.receiver,
            group_key=self.key,
            group_labels=self.labels,
            alerts=alerts,
            created_at_ms=entry.notified_at_ms,
            trace_parent=self.trace_parent,
            reason=reason.value,
            route_labels=Labels(self.route.labels),
            believed=tuple(alert.fingerprint for alert in before.firing) if before else (),
        )


def group_labels(route: Route, labels: Labels) -> Labels:
    """Return the labels of the group an alert belongs to."""
    if ALL_LABELS in route.group_by:
        return labels
    return labels.keep(route.group_by)


def merge(known: Alert, news: Alert) -> Alert:
    """Return what is known of an alert after news of it.

    News of an alert that has not ended yet keep its beginning, so that one that is raised anew,
    as after a restart of its rule, does not seem to have begun just then.
    """
    overlaps = known.ends_at_ms is None or known.ends_at_ms >= news.starts_at_ms
    if overlaps and known.starts_at_ms < news.starts_at_ms:
        return replace(news, starts_at_ms=known.starts_at_ms)
    return news


def sort_alerts(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """Return alerts by job, by instance, then by all labels, as Alertmanager sorts them."""

    def key(alert: Alert) -> tuple[Sequence[str], Labels]:
        return [alert.labels.get(name, "") for name in _SORT_FIRST], alert.labels

    return tuple(sorted(alerts, key=key))
