"""What things that report by themselves have said last."""

from __future__ import annotations

import hashlib
import hmac
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
    """Keeps the last report for each check that waits for reports, and who may send them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._digests: dict[str, bytes] = {}
        self._since_s: dict[str, float] = {}
        self._last: dict[str, Push] = {}

    def expect(self, check: str, token: str) -> None:
        """Take reports for a check that bring a token; those that came already stay."""
        self._digests[check] = _digest(token)
        self._since_s.setdefault(check, self._clock.monotonic())

    def forget(self, check: str) -> None:
        """Take no more reports for a check."""
        for known in (self._digests, self._since_s, self._last):
            known.pop(check, None)

    def accepts(self, check: str, token: str) -> bool:
        """Whether a token is that of a check; takes as long whether the check is there or not."""
        expected = self._digests.get(check)
        given = _digest(token)
        matches = hmac.compare_digest(given, expected or bytes(len(given)))
        return matches and expected is not None

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


def _digest(token: str) -> bytes:
    # Of one length, so that comparing tells nothing about the length of the token.
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
