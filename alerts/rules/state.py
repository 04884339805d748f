"""What of the rules' state must survive, and where it goes: the words group and storage share.

A pass of a group ends in this order: the states that changed are committed; then the alerts that
are due are handed to routing, which commits what it tells in its own time. So a process may die
with a state committed whose alert routing never heard of, or heard of and had not told yet, as it
waits for its group. That loses nothing: at a restart every alert that fires is handed on at once,
and in the first pass a rule hands on every alert it was restored with, firing or ended, whatever
``last_sent_at_ms`` says. Routing compares
them with the notification log, which is committed together with the notifications, and drops what
was told. At least once, and seldom twice.

When the commit fails the alerts are handed on all the same: telling people comes first. The states
are committed with the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from alerts.rules.alerting import AlertInstance
from alerts.series.labels import Labels

OUTAGE_TOLERANCE_MS: Final = 60 * 60 * 1000
"""How long nobody may have watched before the wait of a pending alert starts over."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """How a pass changed the alerts of a group.

    Attributes:
        group_key: The group.
        evaluated_at_ms: The pass.
        put: Alerts that are new or changed, each with the identity of its rule.
        gone: Alerts that are known no more.
    """

    group_key: str
    evaluated_at_ms: int
    put: tuple[tuple[str, AlertInstance], ...] = ()
    gone: tuple[tuple[str, Labels], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.gone)


@dataclass(slots=True)
class SavedGroup:
    """The alerts of a group as an earlier process left them.

    Attributes:
        evaluated_at_ms: The last pass that is known of.
        rules: The alerts by the identity of their rule.
    """

    evaluated_at_ms: int
    rules: dict[str, list[AlertInstance]] = field(default_factory=dict)


class StateSink(Protocol):
    """Keeps the alerts of the groups. ``alerts.storage.alert_states.AlertStates`` is one."""

    async def save(self, change: StateChange, /) -> None:
        """Commit a change; raises AlertsError, and has done nothing then."""
