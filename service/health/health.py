"""Health checks as one part: built from settings, with routes, jobs and counts of their own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from alerts.clock import Clock
from alerts.storage.check_history import CheckHistory
from alerts.storage.database import Database
from service.config.health_settings import HealthSettings
from service.health.api import health_routes
from service.health.checks import configured_checks
from service.health.configuring import ConfiguredChecks
from service.health.monitor import FIRST_RUNS_WITHIN_S, HealthMonitor, job_name
from service.health.observation import CheckObservation, UptimeObservation
from service.health.own_checks import OwnParts, own_checks
from service.health.probes.factory import ProbeParts
from service.health.push_api import push_routes
from service.health.pushes import PushInbox, push_tokens
from service.health.recorder import WRITE_INTERVAL_S, HealthRecorder, Retention
from service.jobs import JobError
from service.pools.http import HTTPConnectionPool
from service.scheduler import Scheduler
from service.telemetry.instruments import Instruments
from service.telemetry.observers import Observers

_UPTIME_INTERVAL_S: Final = 60.0
_ROLL_UP_INTERVAL_S: Final = 3600.0


class Health:
    """The checks of a process.

    Attributes:
        monitor: Runs them; a part of its own, which starts once there are checks.
        checks: Those the settings ask for; there while the history is kept.
    """

    def __init__(
        self,
        settings: HealthSettings,
        *,
        scheduler: Scheduler,
        pool: HTTPConnectionPool,
        environment: Mapping[str, str],
        clock: Clock,
        instruments: Instruments,
        is_ready: Callable[[], bool],
    ) -> None:
        """Build what there is before the database; nothing runs yet.

        Args:
            settings: What is checked.
            scheduler: Gets the jobs.
            pool: The HTTP of probes.
            environment: The process's environment, of which commands get a little.
            clock: Time.
            instruments: Spans and durations of runs.
            is_ready: Whether the process has started, and answers from the history.
        """
        self._settings = settings
        self._scheduler = scheduler
        self._clock = clock
        self._is_ready = is_ready
        self._inbox = PushInbox(clock)
        self._probe_parts = ProbeParts(pool, clock, self._inbox, environment)
        self.monitor = HealthMonitor(
            scheduler=scheduler,
            clock=clock,
            instruments=instruments,
            max_concurrent=settings.max_concurrent,
        )
        self.checks: ConfiguredChecks
        self._recorder: HealthRecorder

    @property
    def first_results_within_s(self) -> float:
        """Within how many seconds of the start every check has run."""
        slowest_s = max((check.timeout for check in self._settings.checks), default=0.0)
        return FIRST_RUNS_WITHIN_S + slowest_s

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for operators and for things that report by themselves."""
        return [
            *push_routes(self._inbox, self._look_at_push),
            *health_routes(
                self.monitor, lambda: self._recorder if self._is_ready() else None, self._clock
            ),
        ]

    @asynccontextmanager
    async def keeping_history(self, database: Database, own: OwnParts) -> AsyncIterator[None]:
        """Know what an earlier process found out, and write down what this one does.

        Args:
            database: Where it is written.
            own: What the built-in checks look at.

        Raises:
            StorageError: The database cannot be used.
        """
        settings = self._settings
        self._recorder = HealthRecorder(
            CheckHistory(database),
            clock=self._clock,
            retention=Retention(settings.keep_results, settings.keep_history),
        )
        async with self._recorder:
            self.monitor.add_listener(self._recorder.listen)
            self.checks = ConfiguredChecks(
                self.monitor,
                settings,
                built_in=own_checks(settings, own, interval_s=lambda: self.checks.interval_s),
                build=lambda changed: configured_checks(changed, self._probe_parts),
                expect=lambda changed: self._inbox.expect(push_tokens(changed)),
                forget=self._recorder.forget,
                known=await self._recorder.load(),
            )
            yield

    def add_jobs(self) -> None:
        """Add the checks, and what keeps their history, to the scheduler."""
        self.checks.start()
        add = self._scheduler.add_job
        add("check history", self._write, interval_s=WRITE_INTERVAL_S)
        add("check uptime", self._measure, interval_s=_UPTIME_INTERVAL_S)
        add("check roll-up", self._roll_up, interval_s=_ROLL_UP_INTERVAL_S)

    def observe(self, observers: Observers) -> None:
        """Have states and uptimes read at each collection."""
        CheckObservation(self.monitor).register(observers)
        UptimeObservation(self.monitor, self._recorder).register(observers)

    async def _look_at_push(self, check: str) -> None:
        with contextlib.suppress(JobError):  # it runs just now, or not yet: the next run will see
            await self._scheduler.run_now(job_name(check))

    async def _write(self, _slot_s: float) -> None:
        await self._recorder.write()

    async def _measure(self, _slot_s: float) -> None:
        await self._recorder.measure()

    async def _roll_up(self, _slot_s: float) -> None:
        await self._recorder.keep_house()
