"""The probe of things that report by themselves: it looks at what they said last, and when."""

from __future__ import annotations

from alerts.durations import format_duration
from service.health.probes import attributes as names
from service.health.pushes import PushInbox
from service.health.state import AttributeValue, ProbeResult


class PushProbe:
    """Fails when the last report says so, or there was none for too long.

    Before the first report there is as much time for it as between two.
    """

    def __init__(self, check: str, inbox: PushInbox, *, max_silence_s: float) -> None:
        self._check = check
        self._inbox = inbox
        self._max_silence_s = max_silence_s

    @property
    def target(self) -> str:
        """Return what is waited for."""
        return f"a push every {format_duration(self._max_silence_s)}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Look at the last report."""
        silent_s = self._inbox.silent_for_s(self._check)
        last = self._inbox.last(self._check)
        found: dict[str, AttributeValue] = {names.PUSH_AGE_S: silent_s}
        if last is not None and last.duration_s is not None:
            found[names.PUSHED_DURATION_S] = last.duration_s
        if silent_s > self._max_silence_s:
            reason = f"no push for {format_duration(round(silent_s))}"
            return ProbeResult.failed(reason, "silence", found)
        if last is None:
            return ProbeResult(True, "waiting for the first push", attributes=found)
        if not last.success:
            return ProbeResult.failed(last.reason or "the push reports a failure", "pushed", found)
        return ProbeResult(True, last.reason, attributes=found)
