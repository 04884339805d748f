"""How long one check is in which state, added up as it goes. Pure; time comes as an argument.

A state is known from a result on for as long as the next result is not overdue. What comes after
that, and what came before the process was there, is known to nobody and counted nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from alerts.storage.check_periods import HOUR_MS, CheckPeriod, StateTimes
from alerts.storage.duration_counts import DurationCounts, bucket_of
from service.health.state import CheckState

MISSED_RUNS: Final = 2
"""A result is believed for so many intervals, and the time a run may take."""


@dataclass(slots=True)
class _OpenPeriod:
    """The period that goes on. Times in Unix milliseconds."""

    state: CheckState
    start_ms: int
    end_ms: int
    runs: int = 0
    failures: int = 0
    duration_sum_s: float = 0.0
    duration_min_s: float = 0.0
    duration_max_s: float = 0.0
    durations: dict[int, int] = field(default_factory=dict)
    is_changed: bool = True

    def add_run(self, duration_s: float, *, success: bool) -> None:
        self.duration_min_s = min(self.duration_min_s, duration_s) if self.runs else duration_s
        self.duration_max_s = max(self.duration_max_s, duration_s)
        self.duration_sum_s += duration_s
        bucket = bucket_of(duration_s)
        self.durations[bucket] = self.durations.get(bucket, 0) + 1
        self.runs += 1
        self.failures += not success
        self.is_changed = True

    def extend(self, end_ms: int) -> None:
        if end_ms > self.end_ms:
            self.end_ms = end_ms
            self.is_changed = True

    def finished(self, check_name: str) -> CheckPeriod:
        time_ms = {self.state: self.end_ms - self.start_ms}
        return CheckPeriod(
            check_name,
            self.start_ms,
            self.end_ms,
            StateTimes(
                up_ms=time_ms.get(CheckState.UP, 0),
                degraded_ms=time_ms.get(CheckState.DEGRADED, 0),
                down_ms=time_ms.get(CheckState.DOWN, 0),
                maintenance_ms=time_ms.get(CheckState.MAINTENANCE, 0),
                held_ms=time_ms.get(CheckState.HELD, 0),
                runs=self.runs,
                failures=self.failures,
                duration_sum_s=self.duration_sum_s,
                duration_min_s=self.duration_min_s,
                duration_max_s=self.duration_max_s,
            ),
            DurationCounts(self.durations.copy()),
        )


class Timeline:
    """The states of one check over time.

    Moments come in order; one that is earlier than another before it counts as that one.
    """

    __slots__ = ("_believed_until_ms", "_done", "_name", "_now_ms", "_open", "_state")

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = CheckState.UNKNOWN
        self._now_ms = 0
        self._believed_until_ms = 0
        self._open: _OpenPeriod | None = None
        self._done: list[CheckPeriod] = []

    def run(
        self,
        at_ms: int,
        state: CheckState,
        *,
        success: bool,
        duration_s: float,
        believed_for_ms: int,
    ) -> None:
        """Take in what a run found.

        Args:
            at_ms: When it ended, in Unix milliseconds.
            state: The state reported since.
            success: Whether the thing worked.
            duration_s: How long the run took, in seconds.
            believed_for_ms: How long the state is known without a further run.
        """
        self._pass_time(at_ms)
        self._believed_until_ms = self._now_ms + believed_for_ms
        self._be(state)
        if self._open is not None:
            self._open.add_run(duration_s, success=success)

    def change(self, at_ms: int, state: CheckState) -> None:
        """Take in that another state is reported although there was no run."""
        self._pass_time(at_ms)
        self._be(state)

    def news(self, now_ms: int) -> list[CheckPeriod]:
        """Return the periods up to now that are new or longer than when this was last asked."""
        self._pass_time(now_ms)
        news, self._done = self._done, []
        if self._open is not None and self._open.is_changed and not self._is_empty(self._open):
            self._open.is_changed = False
            news.append(self._open.finished(self._name))
        return news

    def _pass_time(self, to_ms: int) -> None:
        """Go on to a moment: the open period grows, hour by hour, while it is believed."""
        self._now_ms = max(self._now_ms, to_ms)
        known_until_ms = min(self._now_ms, self._believed_until_ms)
        while self._open is not None:
            hour_ends_ms = (self._open.start_ms // HOUR_MS + 1) * HOUR_MS
            self._open.extend(min(known_until_ms, hour_ends_ms))
            if known_until_ms < hour_ends_ms:
                break
            self._close()
            if known_until_ms > hour_ends_ms or self._now_ms == known_until_ms:
                self._open = _OpenPeriod(self._state, hour_ends_ms, hour_ends_ms)
        if self._open is not None and known_until_ms < self._now_ms:
            self._close()

    def _be(self, state: CheckState) -> None:
        """Have a state from now on."""
        if self._open is not None and state is not self._state:
            self._close()
        self._state = state
        is_known = self._believed_until_ms > self._now_ms and state is not CheckState.UNKNOWN
        if self._open is None and is_known:
            self._open = _OpenPeriod(state, self._now_ms, self._now_ms)

    def _close(self) -> None:
        period, self._open = self._open, None
        if period is not None and period.is_changed and not self._is_empty(period):
            self._done.append(period.finished(self._name))

    @staticmethod
    def _is_empty(period: _OpenPeriod) -> bool:
        return period.end_ms == period.start_ms
