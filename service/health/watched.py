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
        changes_at_ms: When a maintenance window opens or closes next; None: never.
    """

    __slots__ = (
        "_held_by",
        "_maintenance",
        "_since_s",
        "_snapshot",
        "_state",
        "_status",
        "changes_at_ms",
        "check",
    )

    def __init__(self, check: Check, status: CheckStatus, now_s: float) -> None:
        self.check = check
        self._status = status
        self._snapshot: CheckSnapshot | None = None
        self.changes_at_ms: int | None = None
        self._maintenance: Period | None = None
        self._held_by: tuple[str, ...] = ()
        self._state = status.state
        self._since_s = status.since_s
        self.look_at_windows(int(now_s * 1000))

    @property
    def status(self) -> CheckStatus:
        """Where its results lead."""
        return self._status

    def lead_to(self, status: CheckStatus) -> None:
        """Have a result lead to another status."""
        self._status = status
        self._snapshot = None

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
        self._snapshot = None
        self._maintenance = self.check.maintenance.open_at(at_ms)
        self.changes_at_ms = self.check.maintenance.next_change(at_ms)

    def report(self, at_s: float, failing_above: Sequence[str], *, has_run: bool = False) -> bool:
        """Work out the state to report and return whether it is another.

        What is held back stays so until its next result, also when what it depends on works again:
        the result there is says nothing about it any more.

        Args:
            at_s: Since when it would be, in Unix seconds.
            failing_above: Which of the checks it depends on fail.
            has_run: Whether this is for a new result.
        """
        stays_held = self._state is CheckState.HELD and not has_run
        state = reported_state(
            self._status.state,
            in_maintenance=self._maintenance is not None,
            dependency_fails=bool(failing_above) or stays_held,
        )
        self._snapshot = None
        if state is not CheckState.HELD:
            self._held_by = ()
        elif failing_above:
            self._held_by = tuple(failing_above)
        if state is self._state:
            return False
        self._state = state
        self._since_s = at_s
        return True

    def snapshot(self) -> CheckSnapshot:
        """Return it as it is now; the same object until something changes."""
        if self._snapshot is None:
            self._snapshot = self._taken()
        return self._snapshot

    def _taken(self) -> CheckSnapshot:
        check = self.check
        return CheckSnapshot(
            name=check.name,
            target=check.probe.target,
            interval_s=check.interval_s,
            timeout_s=check.timeout_s,
            status=self._status,
            state=self._state,
            since_s=self._since_s,
            group=check.group,
            depends_on=check.depends_on,
            held_by=self._held_by,
            maintenance=self._maintenance,
        )
