"""All alerts that were raised and have not ended, where each goes, and what holds it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alerts.model import Alert
from alerts.routing.groups import merge
from alerts.routing.inhibition import Inhibitor
from alerts.routing.model import Route, RoutingConfig
from alerts.series.labels import Labels


@dataclass(slots=True)
class HeldAlert:
    """An alert and what follows from its labels alone, worked out once.

    Attributes:
        alert: The newest that is known of it.
        updated_at_ms: When it was heard of last.
        routes: The routes it takes.
        targeting: The inhibition rules that may hold it back.
    """

    alert: Alert
    updated_at_ms: int
    routes: tuple[Route, ...]
    targeting: tuple[int, ...]

    @property
    def receivers(self) -> tuple[str, ...]:
        """Who is told about it, each once, in the order of the routes."""
        return tuple(dict.fromkeys(route.receiver for route in self.routes))


class ActiveAlerts:
    """The alerts of a routing configuration; belongs to one event loop and never awaits."""

    def __init__(self, routing: RoutingConfig) -> None:
        """Start without alerts."""
        self._root = routing.route
        self._inhibitor = Inhibitor(routing.inhibit_rules)
        self._held: dict[Labels, HeldAlert] = {}
        self._by_fingerprint: dict[str, HeldAlert] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[HeldAlert]:
        return iter(tuple(self._held.values()))

    def get(self, fingerprint: str) -> HeldAlert | None:
        """Return an alert by its fingerprint."""
        return self._by_fingerprint.get(fingerprint)

    def put(self, alert: Alert, now_ms: int) -> HeldAlert:
        """Take an alert, or news of one that is known; return what is known of it then."""
        labels = alert.labels
        held = self._held.get(labels)
        if held is None:
            held = HeldAlert(
                alert, now_ms, self._root.matching(labels), self._inhibitor.targeting(labels)
            )
            self._held[labels] = self._by_fingerprint[alert.fingerprint] = held
        else:
            held.alert = merge(held.alert, alert)
            held.updated_at_ms = now_ms
        self._inhibitor.put(held.alert)
        return held

    def inhibiting(self, labels: Labels, now_ms: int) -> tuple[str, ...]:
        """Return the fingerprint of an alert that inhibits this one, or nothing."""
        held = self._held.get(labels)
        targeting = None if held is None else held.targeting
        return self._inhibitor.inhibiting(labels, now_ms, targeting=targeting)

    def prune(self, now_ms: int) -> tuple[Alert, ...]:
        """Forget the alerts that have ended and return them."""
        ended = tuple(held.alert for held in self._held.values() if held.alert.is_resolved(now_ms))
        for alert in ended:
            del self._held[alert.labels]
            self._by_fingerprint.pop(alert.fingerprint, None)
            self._inhibitor.remove(alert.labels)
        return ended
