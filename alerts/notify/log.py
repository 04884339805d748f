"""The notification log: what each channel was last told about each aggregation group.

Held in memory, where every flush looks; the outbox writes it to the database together with the
notifications it speaks of. Source: Alertmanager, nflog and notify.DedupStage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from alerts.model import Alert
from alerts.notify.notification import Notification
from alerts.series.labels import Labels


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What a channel was last told about a group.

    Attributes:
        group_key: Identity of the group.
        channel: Key of the channel.
        notification_id: The notification it was told by.
        notified_at_ms: When, in milliseconds of Unix time.
        expires_at_ms: When the entry is forgotten.
        group_labels: The labels of the group.
        firing: The alerts it knows to fire; enough of them to take the group up again.
        resolved: Fingerprints of the alerts it knows to have ended.
    """

    group_key: str
    channel: str
    notification_id: str
    notified_at_ms: int
    expires_at_ms: int
    group_labels: Labels
    firing: tuple[Alert, ...]
    resolved: frozenset[str]

    @property
    def firing_fingerprints(self) -> frozenset[str]:
        """Fingerprints of the alerts it knows to fire."""
        return frozenset(alert.fingerprint for alert in self.firing)


class NotificationLog:
    """All entries, by group and channel."""

    def __init__(self, entries: Iterable[LogEntry] = ()) -> None:
        self._entries = {(entry.group_key, entry.channel): entry for entry in entries}

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(tuple(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, group_key: str, channel: str) -> LogEntry | None:
        """Return what a channel was last told about a group."""
        return self._entries.get((group_key, channel))

    def put(self, entry: LogEntry) -> None:
        """Remember what a channel was told."""
        self._entries[entry.group_key, entry.channel] = entry

    def refuse(self, notification: Notification) -> None:
        """Take back what a refused notification said, unless something newer was said since."""
        key = (notification.group_key, notification.channel)
        entry = self._entries.get(key)
        if entry is None or entry.notification_id != notification.id:
            return
        left = after_refusal(entry, notification)
        if left is None:
            del self._entries[key]
        else:
            self._entries[key] = left

    def expire(self, now_ms: int) -> None:
        """Forget what is too old."""
        self._entries = {
            key: entry for key, entry in self._entries.items() if entry.expires_at_ms > now_ms
        }


def after_refusal(entry: LogEntry, notification: Notification) -> LogEntry | None:
    """Return what a channel knows when the notification of an entry was refused for good.

    It still believes what it was told before, so that its end is told; as long ago as can be, so
    that what is new is told with the next flush. None: it knows nothing.
    """
    alerts = {alert.fingerprint: alert for alert in (*entry.firing, *notification.alerts)}
    firing = tuple(
        replace(alerts[mark], ends_at_ms=None) for mark in notification.believed if mark in alerts
    )
    if not firing:
        return None
    return replace(entry, firing=firing, resolved=frozenset(), notified_at_ms=0)
