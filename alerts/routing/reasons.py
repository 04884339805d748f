"""Whether a channel has to be told about a group, and why.

Source: Alertmanager, notify.DedupStage.
"""

from __future__ import annotations

from enum import StrEnum

from alerts.notify.log import LogEntry


class NotifyReason(StrEnum):
    """Why a channel is told; the texts are Alertmanager's, as receivers see them."""

    FIRST = "first notification"
    NEW_ALERTS = "new alerts added"
    SOME_RESOLVED = "some alerts resolved"
    ALL_RESOLVED = "all alerts resolved"
    REPEAT = "repeat interval elapsed"


def reason_to_notify(
    entry: LogEntry | None,
    *,
    firing: frozenset[str],
    resolved: frozenset[str],
    sends_resolved: bool,
    repeat_due: bool,
) -> NotifyReason | None:
    """Return why a channel has to be told about a group; None when it need not be.

    Args:
        entry: What it was last told.
        firing: Fingerprints of the alerts that fire now.
        resolved: Fingerprints of the alerts of the group that have ended.
        sends_resolved: Whether the channel is told about ended alerts.
        repeat_due: Whether the repeat interval has passed since.
    """
    if entry is None:
        return NotifyReason.FIRST if firing else None
    known = entry.firing_fingerprints
    if not firing <= known:
        return NotifyReason.NEW_ALERTS
    if not firing:
        # Told irrespective of sends_resolved, so that the log forgets what has ended.
        return NotifyReason.ALL_RESOLVED if known else None
    if sends_resolved and not resolved <= entry.resolved:
        return NotifyReason.SOME_RESOLVED
    return NotifyReason.REPEAT if repeat_due else None
