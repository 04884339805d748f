"""Writes down what checks find, and answers how they were: state after a restart, history, uptime.

What happens is gathered in memory and written a few seconds later, all of it in one transaction,
so that no check waits for the disk. After ``kill -9`` those seconds are missing: nobody knows how
they were, and they are counted nowhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from alerts.clock import Clock
from alerts.storage.check_history import (
    CheckHistory,
    CheckNews,
    SavedChange,
    SavedResult,
    SavedState,
)
from alerts.storage.check_periods import DAY_MS, HOUR_MS, CheckPeriod, StateTimes
from alerts.storage.errors import StorageError
from alerts.storage.statements import in_batches
from service.health.snapshot import CheckSnapshot
from service.health.state import CheckState, CheckStatus
from service.health.timeline import MISSED_RUNS, Timeline

WRITE_INTERVAL_S: Final = 10.0
"""How often what happened is written."""

WINDOWS_S: Final[Mapping[str, float]] = {
    "1h": 3_600.0,
    "24h": 86_400.0,
    "7d": 7 * 86_400.0,
    "30d": 30 * 86_400.0,
    "90d": 90 * 86_400.0,
}
"""The windows of uptime, by the names answers and metrics give them."""

MEASURED_WINDOWS: Final = ("24h", "30d")
"""The windows whose uptime is a metric as well."""

MOST_WAITING: Final = 100_000
"""Results, and changes, that wait for a database that fails; the oldest go first."""

SHARES: Final[Mapping[str, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
"""The percentiles of latency, by the names answers and badges give them."""

_GATHERED_AT_ONCE: Final = 200
"""Timelines that are asked for news before the event loop gets its turn."""

_HOURS_AFTER_MS: Final = 2 * DAY_MS
_DAYS_AFTER_MS: Final = 15 * DAY_MS
_ROLLED_UP_BEFORE_MS: Final = 7 * DAY_MS
"""How far back the roll-up looks once it has been through everything."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class RecorderStats:
    """Plain counts, read when metrics are collected.

    Attributes:
        failures: Times the database failed; what was to be written waits for the next time.
        dropped: Results and changes that were given up as too many waited.
    """

    failures: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept, in seconds.

    Attributes:
        results_s: Single results.
        history_s: Changes, and how long checks were in which state.
    """

    results_s: float = 86_400.0
    history_s: float = 100 * 86_400.0


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the runs of a check took in a window.

    Attributes:
        runs: How many runs this is known of.
        percentiles_s: Seconds, by the names of ``SHARES``; empty without runs.
        is_exact: Whether it was told from the runs one by one, and not from counts in buckets.
    """

    runs: int
    percentiles_s: Mapping[str, float]
    is_exact: bool


class HealthRecorder:
    """The history of the checks; an async context manager, which leaves nothing unwritten.

    ``listen`` is a listener of the monitor. Whoever runs it calls ``write`` every few seconds and
    ``keep_house`` about once an hour.

    Args:
        history: The database; open while this is entered.
        clock: The time of day.
        retention: How long what is kept.

    Attributes:
        stats: Counts.
        uptimes: Uptime by check and window, as of the last ``measure``.
    """

    def __init__(
        self, history: CheckHistory, *, clock: Clock, retention: Retention | None = None
    ) -> None:
        self.stats: Final = RecorderStats()
        self.uptimes: Mapping[str, Mapping[str, StateTimes]] = {}
        self._history = history
        self._clock = clock
        self._retention = retention or Retention()
        self._timelines: dict[str, Timeline] = {}
        self._states: dict[str, SavedState] = {}
        self._results: list[SavedResult] = []
        self._changes: list[SavedChange] = []
        self._periods: list[CheckPeriod] = []
        self._writing = asyncio.Lock()
        self._rolled_up = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.write()

    async def load(self) -> dict[str, CheckStatus]:
        """Return where the results of each check led in an earlier process.

        A database that fails is logged: the checks then begin anew.
        """
        try:
            saved = await self._history.states()
        except StorageError as error:
            self._failed("what checks found before this start is not known", error)
            return {}
        return {name: _status(state) for name, state in saved.items()}

    def listen(self, before: CheckSnapshot, after: CheckSnapshot) -> None:
        """Take in a run, or a change of state without one."""
        timeline = self._timelines.get(after.name)
        if timeline is None:
            timeline = self._timelines[after.name] = Timeline(after.name)
        if after.status is not before.status:
            self._take_run(timeline, after)
        else:
            timeline.change(_ms(after.since_s), after.state)
        if after.state is not before.state:
            self._changes.append(
                SavedChange(
                    after.name,
                    _ms(after.since_s),
                    before.state.label,
                    after.state.label,
                    after.reason,
                )
            )

    def forget(self, name: str) -> None:
        """Take in that a check is no more; what is known of it stays until it is old."""
        timeline = self._timelines.pop(name, None)
        if timeline is not None:
            self._periods += timeline.news(self._now_ms())

    async def write(self) -> None:
        """Write what happened since the last time; on a failure all of it waits for the next."""
        async with self._writing:
            await self._gather_periods()
            news = self._take_news()
            try:
                await self._history.save(news)
            except asyncio.CancelledError:
                self._put_back(news)
                raise
            except StorageError as error:
                self._put_back(news)
                self._failed("what checks found is not written yet", error)

    async def keep_house(self) -> None:
        """Merge old periods to hours and days, and forget what is too old; failures are logged."""
        now_ms = self._now_ms()
        # Everything once, as nobody knows how long the process was away.
        span_ms = _ROLLED_UP_BEFORE_MS if self._rolled_up else now_ms
        try:
            for size_ms, after_ms in ((HOUR_MS, _HOURS_AFTER_MS), (DAY_MS, _DAYS_AFTER_MS)):
                before_ms = now_ms - after_ms
                await self._history.periods.merge(
                    size_ms, since_ms=before_ms - span_ms, before_ms=before_ms
                )
            await self._history.prune(
                results_before_ms=now_ms - _ms(self._retention.results_s),
                before_ms=now_ms - _ms(self._retention.history_s),
            )
        except StorageError as error:
            self._failed("the history of checks was not tidied up", error)
        else:
            self._rolled_up = True

    async def measure(self) -> None:
        """Work out the uptime of all checks for the metrics; failures are logged."""
        try:
            self.uptimes = await self.uptime(windows=MEASURED_WINDOWS)
        except StorageError as error:
            self._failed("the uptime of checks is not known", error)

    async def uptime(
        self, name: str | None = None, *, windows: Iterable[str] = tuple(WINDOWS_S)
    ) -> dict[str, dict[str, StateTimes]]:
        """Return how long checks were in which state up to now, by check and window.

        Args:
            name: Only of this check; None: of all.
            windows: Only these.

        Raises:
            StorageError: It cannot be read.
        """
        await self.write()
        now_ms = self._now_ms()
        found: dict[str, dict[str, StateTimes]] = {}
        for window in windows:
            totals = await self._history.periods.totals(
                now_ms - _ms(WINDOWS_S[window]), now_ms, check_name=name
            )
            for check_name, times in totals.items():
                found.setdefault(check_name, {})[window] = times
        return found

    async def latency(self, name: str, window: str) -> Latency:
        """Return percentiles of how long the runs of a check took in a window up to now.

        They are exact as far back as single results are kept, and told from buckets otherwise.

        Raises:
            StorageError: They cannot be read.
        """
        await self.write()
        return await self._latency(name, window)

    async def latencies(self, name: str) -> dict[str, Latency]:
        """Return the percentiles of all windows, as ``latency`` does.

        Raises:
            StorageError: They cannot be read.
        """
        await self.write()
        return {window: await self._latency(name, window) for window in WINDOWS_S}

    async def _latency(self, name: str, window: str) -> Latency:
        now_ms, window_s = self._now_ms(), WINDOWS_S[window]
        since_ms = now_ms - _ms(window_s)
        if window_s <= self._retention.results_s:
            runs, found = await self._history.quantiles(name, since_ms, tuple(SHARES.values()))
            return Latency(runs, dict(zip(SHARES, found, strict=False)), is_exact=True)
        periods = self._history.periods
        counts = await periods.durations(since_ms, now_ms, name)
        times = (await periods.totals(since_ms, now_ms, check_name=name)).get(name, StateTimes())
        told = {each: counts.quantile(share) for each, share in SHARES.items()}
        return Latency(
            counts.total,
            {
                each: min(max(seconds, times.duration_min_s), times.duration_max_s)
                for each, seconds in told.items()
                if seconds is not None
            },
            is_exact=False,
        )

    async def results(self, name: str, limit: int) -> tuple[SavedResult, ...]:
        """Return the newest results of a check, newest first.

        Raises:
            StorageError: They cannot be read.
        """
        await self.write()
        return await self._history.results(name, limit)

    async def changes(self, name: str, limit: int) -> tuple[SavedChange, ...]:
        """Return the newest changes of a check's state, newest first.

        Raises:
            StorageError: They cannot be read.
        """
        await self.write()
        return await self._history.changes(name, limit)

    def _take_run(self, timeline: Timeline, after: CheckSnapshot) -> None:
        status, result = after.status, after.status.last
        if result is None or status.last_at_s is None:
            return
        at_ms = _ms(status.last_at_s)
        timeline.run(
            at_ms,
            after.state,
            success=result.success,
            duration_s=result.duration_s,
            believed_for_ms=_ms(MISSED_RUNS * after.interval_s + after.timeout_s),
        )
        self._states[after.name] = SavedState(
            after.name,
            status.state.label,
            _ms(status.since_s),
            status.failures,
            status.successes,
            at_ms,
        )
        self._results.append(
            SavedResult(
                after.name,
                at_ms,
                result.success,
                after.state.label,
                result.duration_s,
                result.error_type,
                result.reason,
            )
        )

    async def _gather_periods(self) -> None:
        """Have every timeline say what is new; the event loop gets its turn in between."""
        now_ms = self._now_ms()
        for timelines in in_batches(tuple(self._timelines.values()), _GATHERED_AT_ONCE):
            for timeline in timelines:
                self._periods += timeline.news(now_ms)
            await asyncio.sleep(0)

    def _take_news(self) -> CheckNews:
        news = CheckNews(
            tuple(self._states.values()),
            # Of two runs in one millisecond the later one stands for both.
            tuple({(each.check_name, each.at_ms): each for each in self._results}.values()),
            tuple(self._changes),
            tuple({(each.check_name, each.start_ms): each for each in self._periods}.values()),
        )
        self._states, self._results, self._changes, self._periods = {}, [], [], []
        return news

    def _put_back(self, news: CheckNews) -> None:
        """Keep what was not written, before what came meanwhile."""
        self._states = {state.check_name: state for state in news.states} | self._states
        self._results = [*news.results, *self._results]
        self._changes = [*news.changes, *self._changes]
        self._periods = [*news.periods, *self._periods]
        waiting: list[list[SavedResult] | list[SavedChange] | list[CheckPeriod]] = [
            self._results,
            self._changes,
            self._periods,
        ]
        for rows in waiting:
            excess = max(0, len(rows) - MOST_WAITING)
            del rows[:excess]
            self.stats.dropped += excess

    def _failed(self, what: str, error: StorageError) -> None:
        self.stats.failures += 1
        _LOG.error("%s: %s", what, error)

    def _now_ms(self) -> int:
        return _ms(self._clock.time())


def _status(saved: SavedState) -> CheckStatus:
    known = {state.label: state for state in CheckState}
    return CheckStatus(
        state=known.get(saved.state, CheckState.UNKNOWN),
        since_s=saved.since_ms / 1000,
        failures=saved.failures,
        successes=saved.successes,
        last_at_s=saved.last_at_ms / 1000,
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
