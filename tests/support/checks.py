"""Health checks on a clock turned by hand, with a database to write down what they find."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from alerts.clock import ManualClock
from alerts.storage.check_history import CheckHistory
from alerts.storage.database import Database
from service.health.checks import Check
from service.health.monitor import HealthMonitor
from service.health.recorder import HealthRecorder, Retention
from service.health.state import ProbeResult, Thresholds
from service.scheduler import Scheduler
from service.telemetry.instruments import Instruments
from tests.support.alerts import database_url

NOON: Final = 1_700_049_600.0
"""When the clocks of these tests begin: 12:00 in UTC."""


class SwitchedProbe:
    """Succeeds or fails as it is told."""

    def __init__(self, target: str = "a switch") -> None:
        self.target = target
        self.works = True
        self.attributes: dict[str, str | int | float] = {}

    async def run(self, timeout_s: float) -> ProbeResult:
        """Say so."""
        if self.works:
            return ProbeResult(True, "fine", attributes=self.attributes)
        return ProbeResult.failed("broken", "status", self.attributes)


class WatchedHouse:
    """Checks, their scheduler, and what writes down what they find.

    No run comes by itself: ``run`` has them run.
    """

    def __init__(self, database: Database, clock: ManualClock, retention: Retention) -> None:
        self.clock = clock
        instruments = Instruments.disabled()
        self.scheduler = Scheduler(clock=clock, instruments=instruments)
        self.monitor = HealthMonitor(scheduler=self.scheduler, clock=clock, instruments=instruments)
        self.history = CheckHistory(database)
        self.recorder = HealthRecorder(self.history, clock=clock, retention=retention)
        self.monitor.add_listener(self.recorder.listen)
        self.probes: dict[str, SwitchedProbe] = {}

    def add(self, name: str = "web", **options: Any) -> SwitchedProbe:
        """Watch one more check, which is down after its first failure."""
        probe = self.probes[name] = SwitchedProbe()
        settings: Mapping[str, Any] = {
            "interval_s": 60.0,
            "timeout_s": 10.0,
            "thresholds": Thresholds(1, 1),
            **options,
        }
        self.monitor.add(Check(name, probe, **settings))
        return probe

    async def run(self, *states: bool, name: str = "web", every_s: float = 60.0) -> None:
        """Run a check once for each state, and let time pass after each run."""
        for works in states:
            self.probes[name].works = works
            await self.monitor.run(name)
            await self.clock.advance(every_s)


@asynccontextmanager
async def watched_house(
    directory: Path, *, clock: ManualClock | None = None, retention: Retention | None = None
) -> AsyncIterator[WatchedHouse]:
    """Watch nothing yet, over a database in a directory; what is found is written at the end."""
    clock = ManualClock(NOON) if clock is None else clock
    async with Database(database_url(directory)) as database:
        house = WatchedHouse(database, clock, retention or Retention())
        async with house.recorder:
            yield house
