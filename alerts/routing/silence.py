"""A silence: alerts its matchers fit are not told while it lasts. A value, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from alerts.routing.model import matches_all
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher


class SilenceState(StrEnum):
    """Where a silence is in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence. Times are integer milliseconds of Unix time.

    Attributes:
        id: A UUID.
        matchers: All must fit; at least one does not fit the empty value.
        starts_at_ms: From when.
        ends_at_ms: Until when, exclusive.
        updated_at_ms: When it was last written.
        created_by: Who wrote it.
        comment: Why.
        annotations: Texts by name.
    """

    id: str
    matchers: tuple[Matcher, ...]
    starts_at_ms: int
    ends_at_ms: int
    updated_at_ms: int
    created_by: str
    comment: str
    annotations: Labels = field(default_factory=Labels)

    def state(self, now_ms: int) -> SilenceState:
        """Return where it is at a moment."""
        if now_ms < self.starts_at_ms:
            return SilenceState.PENDING
        return SilenceState.ACTIVE if now_ms < self.ends_at_ms else SilenceState.EXPIRED

    def fits(self, labels: Labels) -> bool:
        """Whether an alert's labels satisfy all matchers."""
        return matches_all(self.matchers, labels)
