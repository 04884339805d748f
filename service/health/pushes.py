"""What things that report by themselves have said last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alerts.clock import Clock

MAX_REASON = 200
"""Characters that are kept of a reason."""


@dataclass(frozen=True, slots=True)
class Push:
    """One report.

    Attributes:
        success: Whether the thing works, as it says itself.
        reason: Why it does not, or a remark; one line.
        duration_s: How long its work took, in seconds; None: not said.
        at_s: When it came, in monotonic seconds.
    """

    success: bool
    reason: str
    duration_s: float | None
    at_s: float


class PushInbox:
    """Keeps the last report for each check that waits for reports."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_s: dict[str, float] = {}
        self._last: dict[str, Push] = {}

    def expect(self, checks: Iterable[str]) -> None:
        """Take reports for these checks from now on, and for no others."""
        now_s = self._clock.monotonic()
        self._since_s = {name: self._since_s.get(name, now_s) for name in checks}
        self._last = {name: push for name, push in self._last.items() if name in self._since_s}

    def put(
        self, check: str, *, success: bool, reason: str = "", duration_s: float | None = None
    ) -> None:
        """Keep a report; one for a check that waits for none is forgotten."""
        if check in self._since_s:
            line = " ".join(reason.split())[:MAX_REASON]
            self._last[check] = Push(success, line, duration_s, self._clock.monotonic())

    def last(self, check: str) -> Push | None:
        """Return the last report for a check; None before the first."""
        return self._last.get(check)

    def silent_for_s(self, check: str) -> float:
        """Return for how long nothing came for a check, at most since it waits."""
        last = self._last.get(check)
        now_s = self._clock.monotonic()
        return now_s - (last.at_s if last is not None else self._since_s.get(check, now_s))
