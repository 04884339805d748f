"""What things that report by themselves have said last."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from alerts.clock import Clock
from service.config.health_settings import HealthSettings

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

    def expect(self, tokens: Mapping[str, str]) -> None:
        """Take reports for these checks, and for no others, that bring the token of the check.

        Reports that came already stay, unless their check waits for none any more.
        """
        now_s = self._clock.monotonic()
        self._digests = {check: _digest(token) for check, token in tokens.items()}
        self._since_s = {check: self._since_s.get(check, now_s) for check in tokens}
        self._last = {check: push for check, push in self._last.items() if check in tokens}

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


def push_tokens(health: HealthSettings) -> dict[str, str]:
    """Return the tokens of the checks that wait for reports, by check."""
    return {
        check.name: check.push.token.get_secret_value()
        for check in health.checks
        if check.push is not None
    }


def _digest(token: str) -> bytes:
    # Of one length, so that comparing tells nothing about the length of the token.
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
