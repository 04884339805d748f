"""What people see of the alerts: each with its receivers and what holds it back, and the groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alerts.model import Alert
from alerts.routing.active import HeldAlert
from alerts.routing.dispatcher import Dispatcher
from alerts.routing.views import Acknowledgement, AlertStatus, AlertView, GroupView
from alerts.series.labels import Labels


@dataclass(frozen=True, slots=True)
class Viewer:
    """Looks at a dispatcher at one moment.

    Attributes:
        dispatcher: Holds the alerts.
        silencing: Returns the ids of the silences that fit labels at a moment.
        acknowledgement: Returns who looks after an alert.
        now_ms: The moment.
    """

    dispatcher: Dispatcher
    silencing: Callable[[Labels, int], tuple[str, ...]]
    acknowledgement: Callable[[Alert], Acknowledgement | None]
    now_ms: int

    def alerts(self) -> tuple[AlertView, ...]:
        """Return the alerts that have not ended, in the order of their fingerprints."""
        views = [
            self._alert(held, self._muted_everywhere(held))
            for held in self.dispatcher.active
            if not held.alert.is_resolved(self.now_ms)
        ]
        return tuple(sorted(views, key=lambda view: view.alert.fingerprint))

    def groups(self) -> tuple[GroupView, ...]:
        """Return the groups, in the order of their labels and receivers."""
        found: list[GroupView] = []
        for group in self.dispatcher.groups:
            muted_by = self.dispatcher.muting(group.route)
            held = (self.dispatcher.active.get(alert.fingerprint) for alert in group.alerts)
            alerts = [
                self._alert(each, muted_by)
                for each in held
                if each is not None and not each.alert.is_resolved(self.now_ms)
            ]
            if alerts:
                alerts.sort(key=lambda view: view.alert.fingerprint)
                route = group.route
                found.append(
                    GroupView(group.labels, Labels(route.labels), route.receiver, tuple(alerts))
                )
        return tuple(sorted(found, key=lambda group: (group.labels.pairs, group.receiver)))

    def _muted_everywhere(self, held: HeldAlert) -> tuple[str, ...]:
        """Return the intervals that mute an alert on every route it takes."""
        muting = [self.dispatcher.muting(route) for route in held.routes]
        return (
            tuple(dict.fromkeys(name for names in muting for name in names)) if all(muting) else ()
        )

    def _alert(self, held: HeldAlert, muted_by: tuple[str, ...]) -> AlertView:
        labels = held.alert.labels
        silenced_by = self.silencing(labels, self.now_ms)
        inhibited_by = self.dispatcher.active.inhibiting(labels, self.now_ms)
        is_suppressed = bool(silenced_by or inhibited_by or muted_by)
        return AlertView(
            held.alert,
            held.updated_at_ms,
            held.receivers,
            AlertStatus(
                "suppressed" if is_suppressed else "active", silenced_by, inhibited_by, muted_by
            ),
            self.acknowledgement(held.alert),
        )
