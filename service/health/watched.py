"""One check while it is watched: what its results say, and what is reported of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from service.health.checks import Check
from service.health.maintenance import Period
from service.health.snapshot import CheckSnapshot
from service.health.state import CheckState, CheckStatus, reported_state

_MOST_CHANGES: Final = 100
"""Changes of windows that are gone through one by one after a standstill."""


class WatchedCheck:
    """A check with its state. Changes nothing by itself, and tells nobody.

    Attributes:
        check: What is run.
        status: Where its results lead.
        changes_at_ms: When a maintenance window opens or closes next; None: never.
    """

    __slots__ = (
        "_held_by",
        "_maintenance",
        "_since_s",
        "_state",
        "changes_at_ms",
        "check",
        "status",
    )

    def __init__(self, check: Check, status: CheckStatus, now_s: float) -> None:
        self.check = check
        self.status = status
        self.changes_at_ms: int | None = None
        self._maintenance: Period | None = None
        self._held_by: tuple[str, ...] = ()
        self._state = status.state
        self._since_s = status.since_s
        self.look_at_windows(int(now_s * 1000))

    def take(self, check: Check, now_ms: int) -> None:
        """Be another check with the same state."""
        self.check = check
        self.look_at_windows(now_ms)

    def due_changes(self, now_ms: int) -> Iterator[int]:
        """Yield the moments up to now at which windows opened or closed; each is to be looked at.

        After a long standstill the last one stands for the others.
        """
        for _ in range(_MOST_CHANGES):
            if self.changes_at_ms is None or self.changes_at_ms > now_ms:
                return
            yield self.changes_at_ms
        yield now_ms

    def look_at_windows(self, at_ms: int) -> None:
        """Find out which maintenance window is open at a moment, and until when that is so."""
        self._maintenance = self.check.maintenance.open_at(at_ms)
        self.changes_at_ms = self.check.maintenance.next_change(at_ms)

    def report(self, at_s: float, failing_above: Sequence[str]) -> bool:
        """Work out the state to report and return whether it is another.

        Args:
            at_s: Since when it would be, in Unix seconds.
            failing_above: Which of the checks it depends on fail.
        """
        state = reported_state(
            self.status.state,
            in_maintenance=self._maintenance is not None,
            dependency_fails=bool(failing_above),
        )
        self._held_by = tuple(failing_above) if state is CheckState.HELD else ()
        if state is self._state:
            return False
        self._state = state
        self._since_s = at_s
        return True

    def snapshot(self) -> CheckSnapshot:
        """Return it as it is now."""
        check = self.check
        return CheckSnapshot(
            name=check.name,
            target=check.probe.target,
            interval_s=check.interval_s,
            timeout_s=check.timeout_s,
            status=self.status,
            state=self._state,
            since_s=self._since_s,
            group=check.group,
            depends_on=check.depends_on,
            held_by=self._held_by,
            maintenance=self._maintenance,
        )
