"""Acknowledgements: people who look after alerts, so that those are not told again meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from alerts.clock import Clock
from alerts.model import Alert
from alerts.routing.views import Acknowledgement
from alerts.storage.history import EventKind, HistoryEvent


class AcknowledgementSink(Protocol):
    """Keeps acknowledgements over restarts; raises StorageError, and has done nothing then."""

    async def put(
        self, acknowledgement: Acknowledgement, /, *, events: Sequence[HistoryEvent]
    ) -> None:
        """Commit one, in place of an earlier one of the same alert."""

    async def load(self) -> tuple[Acknowledgement, ...]:
        """Return all there are."""

    async def forget(
        self, fingerprints: Collection[str], /, *, events: Sequence[HistoryEvent] = ()
    ) -> None:
        """Delete those of alerts."""


class Acknowledgements:
    """Who looks after which alert. An acknowledgement ends with the alert it is about."""

    def __init__(self, sink: AcknowledgementSink, clock: Clock) -> None:
        """Start without any; ``load`` reads those of earlier processes."""
        self._sink = sink
        self._clock = clock
        self._known: dict[str, Acknowledgement] = {}
        # One change at a time, so that what is forgotten is not what was just written.
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Take up what earlier processes left.

        Raises:
            StorageError: Nothing can be read.
        """
        self._known = {each.fingerprint: each for each in await self._sink.load()}

    def of(self, alert: Alert) -> Acknowledgement | None:
        """Return who looks after an alert."""
        known = self._known.get(alert.fingerprint)
        # One that began anew is another alert, which nobody has seen yet.
        return known if known and known.starts_at_ms == alert.starts_at_ms else None

    async def put(self, alert: Alert, by: str, note: str) -> Acknowledgement:
        """Have somebody look after an alert.

        Raises:
            StorageError: Nothing was changed.
        """
        new = Acknowledgement(
            alert.fingerprint, alert.starts_at_ms, by, int(self._clock.time() * 1000), note
        )
        event = _event(alert, EventKind.ACKNOWLEDGED, new.at_ms, {"by": by, "note": note})
        async with self._changing:
            await self._sink.put(new, events=(event,))
            self._known[new.fingerprint] = new
        return new

    async def withdraw(self, alert: Alert) -> None:
        """Have nobody look after an alert any more.

        Raises:
            StorageError: Nothing was changed.
        """
        async with self._changing:
            known = self._known.get(alert.fingerprint)
            if known is None:
                return
            at_ms = int(self._clock.time() * 1000)
            event = _event(alert, EventKind.ACKNOWLEDGEMENT_WITHDRAWN, at_ms, {"by": known.by})
            await self._sink.forget((alert.fingerprint,), events=(event,))
            del self._known[alert.fingerprint]

    async def prune(self, is_alive: Callable[[str], bool]) -> None:
        """Forget the acknowledgements of alerts that are not there any more.

        Args:
            is_alive: Whether there is an alert with a fingerprint.

        Raises:
            StorageError: Nothing was changed.
        """
        async with self._changing:
            gone = [fingerprint for fingerprint in self._known if not is_alive(fingerprint)]
            if gone:
                await self._sink.forget(gone)
                for fingerprint in gone:
                    del self._known[fingerprint]


def _event(alert: Alert, kind: EventKind, at_ms: int, detail: Mapping[str, str]) -> HistoryEvent:
    return HistoryEvent(
        at_ms, kind, alert.fingerprint, alert.labels, alert.annotations, dict(detail)
    )
