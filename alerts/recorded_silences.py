"""Silences in the database, each change with what the history says of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from alerts.routing.silence import Silence, SilenceState
from alerts.series.labels import Labels
from alerts.storage.history import EventKind, HistoryEvent
from alerts.storage.silences import SilenceStore


@dataclass(slots=True)
class RecordedSilences:
    """A ``SilenceSink`` that has the history tell what became of a silence.

    Attributes:
        store: Where silences are kept.
    """

    store: SilenceStore
    _known: set[str] = field(default_factory=set)

    async def load(self) -> tuple[Silence, ...]:
        """Return all silences; raises StorageError."""
        silences = await self.store.load()
        self._known = {silence.id for silence in silences}
        return silences

    async def put(self, silence: Silence) -> None:
        """Commit a silence and its place in the history; raises StorageError."""
        kind = _change(silence, is_new=silence.id not in self._known)
        await self.store.put(silence, events=(_event(silence, kind),))
        self._known.add(silence.id)

    async def forget(self, ids: Collection[str]) -> None:
        """Delete silences that have long ended; raises StorageError."""
        await self.store.forget(ids)
        self._known.difference_update(ids)


def _change(silence: Silence, *, is_new: bool) -> EventKind:
    if is_new:
        return EventKind.SILENCE_CREATED
    if silence.state(silence.updated_at_ms) is SilenceState.EXPIRED:
        return EventKind.SILENCE_EXPIRED
    return EventKind.SILENCE_CHANGED


def _event(silence: Silence, kind: EventKind) -> HistoryEvent:
    detail = {
        "silence": silence.id,
        "matchers": ",".join(map(str, silence.matchers)),
        "created_by": silence.created_by,
        "comment": silence.comment,
    }
    return HistoryEvent(silence.updated_at_ms, kind, "", Labels(), detail=detail)
