"""The composition root: builds every part once, starts them in order, stops them in reverse.

Reading ``App`` from top to bottom is reading the product: what exists, what it is handed, and in
which order it comes up and goes down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from types import TracebackType
from typing import Final, Self, TextIO

from aiohttp import web
from aiohttp.typedefs import Handler
from opentelemetry.sdk.trace import SpanProcessor

from alerts.alerting import Alerting, AlertingOptions
from alerts.alertmanager import Alertmanager, AlertmanagerOptions
from alerts.api.pool import QueryPool
from alerts.clock import Clock, SystemClock
from alerts.errors import AlertsError, Problem
from alerts.promql.engine import Engine
from alerts.rules.evidence import TraceEvidence
from alerts.series.limits import Limits
from alerts.series.snapshot import SNAPSHOT_FILE, SnapshotFile
from alerts.series.store import SeriesStore
from alerts.storage.check_history import CheckHistory
from alerts.storage.database import Database
from service.alertmanager_api import alertmanager_api_routes
from service.checking import doubts, read_configured, read_reloaded
from service.codec import encode
from service.config.settings import Settings
from service.data_directory import DataDirectory
from service.documents import Documents
from service.errors import ConfigurationError, GatewatchError, StopError
from service.gateway.gateway import Gateway
from service.gateway.observation import GatewayObservation
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
from service.health.state import CheckStatus
from service.jobs import JobError
from service.lifecycle import Parts
from service.listener import Listener
from service.log_api import log_routes
from service.memory import set_aside_what_stays
from service.observation import (
    AlertObservation,
    JobObservation,
    PoolObservation,
    ReloadObservation,
)
from service.operations import OperationsParts, create_operations_app
from service.pools.http import HTTPConnectionPool
from service.pools.transport import PoolTransport
from service.query_api import query_routes
from service.receiving.observation import ReceiverObservation
from service.receiving.receiver import Receiver
from service.reloading import ReloadedParts, Reloader
from service.rule_jobs import RuleJobs
from service.scheduler import Scheduler
from service.telemetry.http_server import HTTPServerTelemetry
from service.telemetry.providers import Telemetry

_LOG: Final = logging.getLogger(__name__)

_HOUSEKEEPING_INTERVAL_S: Final = 60.0
_ROLL_UP_INTERVAL_S: Final = 3600.0
_SETTLED_AFTER_S: Final = 30.0
"""By then every check has run and its metrics were collected."""


class App:
    """One gatewatch process; an async context manager.

    Attributes:
        settings: What it was built from.
        telemetry: Traces, metrics and logs.
        store: The series that rules are evaluated over.
        engine: PromQL over the store.
        gateway: Connections, channels, batching.
        scheduler: Every periodic job.
        monitor: The health checks.
        alerting: Rules, routes and notifications; there once the app has started.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        environment: Mapping[str, str],
        clock: Clock | None = None,
        random: Random | None = None,
        span_processors: Sequence[SpanProcessor] = (),
        log_stream: TextIO | None = None,
        reread: Callable[[], Settings] | None = None,
        locate: Callable[[Problem], Problem] = lambda problem: problem,
    ) -> None:
        """Build the parts; nothing runs yet.

        Args:
            settings: All settings.
            environment: The process's environment, for the ``OTEL_*`` variables.
            clock: Time; the machine's by default.
            random: Jitter.
            span_processors: More consumers of finished spans.
            log_stream: Where log lines go; standard error by default.
            reread: Reads the settings again for ``reload``; they stay as they are by default.
            locate: Finds the place of what a reload finds wrong with settings that were reread.

        Raises:
            ConfigurationError: Settings, rules or routes that cannot be used.
        """
        self.settings = settings
        self._clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._parts = Parts()
        self._started = False
        self._was_started = False
        # What can be refused comes before telemetry, whose exporters have threads from the start.
        self.store = SeriesStore(
            clock=self._clock,
            retention_s=settings.alerts.retention,
            limits=Limits(
                settings.alerts.max_series,
                settings.alerts.max_series_per_metric,
                settings.alerts.max_memory,
            ),
        )
        self._data = DataDirectory(settings.service.data_dir)
        self._snapshot = SnapshotFile(self._data.path / SNAPSHOT_FILE, self.store)
        self.engine = Engine(self.store, features=settings.alerts.promql_features)
        self._rules, self._routing = read_configured(
            settings, engine=self.engine, environment=environment
        )
        self.telemetry = Telemetry(
            settings,
            environment=environment,
            clock=self._clock,
            span_processors=span_processors,
            log_stream=log_stream,
        )
        instruments = self.telemetry.instruments
        self._pool = HTTPConnectionPool(
            settings.pools.http,
            instruments=instruments,
            tracer_provider=self.telemetry.tracer_provider,
            clock=self._clock,
        )
        # Checks of their own: a thousand that hang keep no notification waiting.
        self._check_pool = HTTPConnectionPool(
            settings.pools.http.model_copy(
                update={
                    "max_connections": settings.health.max_concurrent,
                    "max_connections_per_host": settings.health.max_concurrent,
                }
            ),
            instruments=instruments,
            tracer_provider=self.telemetry.tracer_provider,
            clock=self._clock,
            name="checks",
        )
        self.gateway = Gateway(
            settings.gateway,
            settings.batching,
            node=self.telemetry.instance,
            clock=self._clock,
            random=self._random,
            instruments=instruments,
            sampling=self.telemetry.sampling,
            pool=self._pool,
        )
        self.scheduler = Scheduler(clock=self._clock, instruments=instruments)
        self.monitor = HealthMonitor(
            scheduler=self.scheduler,
            clock=self._clock,
            instruments=instruments,
            max_concurrent=settings.health.max_concurrent,
        )
        self._probe_parts = ProbeParts(
            self._check_pool, self._clock, PushInbox(self._clock), environment
        )
        self._requests = HTTPServerTelemetry(instruments, self.telemetry.sampling, self._clock)
        self._queries = QueryPool(clock=self._clock)
        self._receiver = Receiver(
            settings.telemetry.receiver,
            store=self.store,
            retention_s=settings.alerts.retention,
            clock=self._clock,
            is_ready=lambda: self._started,
        )
        self._operations = self._operations_listener()
        self._gateway_listener = self._listener_for_clients()
        self._reread = reread or (lambda: settings)
        self._locate = locate
        self.alerting: Alerting
        self._database: Database
        self._recorder: HealthRecorder
        self._checks: ConfiguredChecks
        self._rule_jobs: RuleJobs
        self._reloader: Reloader

    @property
    def gateway_url(self) -> str:
        """Where clients and back ends reach the gateway."""
        return self._gateway_listener.url

    @property
    def operations_url(self) -> str:
        """Where operators reach the process."""
        return self._operations.url

    async def __aenter__(self) -> Self:
        """Start every part; if one cannot start, those before it are stopped again.

        Raises:
            StartError: A port cannot be had.
            ConfigurationError: The data directory cannot be used, or another process has it.
            StorageError: The database cannot be used.
        """
        try:
            await self._start()
        except BaseException:
            await self.aclose()
            raise
        self._started = self._was_started = True
        for doubt in doubts(self.settings):
            _LOG.warning("%s", self._locate(doubt))
        _LOG.info("gateway on %s, operations on %s", self.gateway_url, self.operations_url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drain and stop everything within ``service.shutdown_timeout``.

        Raises:
            StopError: Some parts did not stop, or not in time; says which.
        """
        self._started = False
        try:
            await self._parts.stop(timeout_s=self.settings.service.shutdown_timeout)
        except ExceptionGroup as failures:
            _LOG.exception("stopping failed")
            reasons = [
                ": ".join(filter(None, (*error.__notes__, str(error))))
                for error in failures.exceptions
            ]
            raise StopError(f"did not stop properly: {'; '.join(reasons)}") from failures

    async def reload(self) -> str:
        """Read settings, rules and routes again and return what changed, for people.

        Rules, routes and keys take effect, see ``service.reloading.RELOADABLE``; of other settings
        the log says that they wait for a restart.

        Raises:
            ConfigurationError: Something in the files is wrong; nothing was changed.
            AlertsError: The database failed; nothing was changed.
        """
        return await self._reloader.reload()

    def readiness(self) -> tuple[str, ...]:
        """Return why the process should get no traffic, one reason each."""
        if self.gateway.connections.draining:
            return ("shutting down",)
        if not self._started:
            return ("starting",)
        away = self.gateway.broker.away
        return (away,) if away else ()

    async def _start(self) -> None:
        """Bring the parts up. What is started last is stopped first."""
        settings, parts = self.settings, self._parts
        # The last to go, so that it can report how the others went.
        await parts.start(
            "telemetry", self.telemetry, stop_timeout_s=settings.telemetry.shutdown_timeout + 2
        )
        await parts.start("HTTP pool", self._pool, stop_timeout_s=5)
        await parts.start("HTTP pool of checks", self._check_pool, stop_timeout_s=5)
        await parts.start("queries", self._queries, stop_timeout_s=5)
        await parts.start("metrics receiver", self._receiver, stop_timeout_s=5)
        # Ports and the data directory are had before anything is read, sent or written: what fails
        # later is rare, and a start that fails must not touch the state of a process that runs.
        await parts.start("operations listener", self._operations, stop_timeout_s=5)
        await parts.start("gateway listener", self._gateway_listener, stop_timeout_s=5)
        await parts.start("data directory", self._data, stop_timeout_s=5)
        await parts.start("series snapshot", self._keeping_series(), stop_timeout_s=10)
        self.alerting = self._alerting()
        await parts.start("alerting", self.alerting, stop_timeout_s=10)
        # In the database that alerting has opened, and closes after this.
        self._recorder = HealthRecorder(
            CheckHistory(self._database),
            clock=self._clock,
            retention=Retention(settings.health.keep_results, settings.health.keep_history),
        )
        await parts.start("check history", self._recorder, stop_timeout_s=5)
        self.monitor.add_listener(self._recorder.listen)
        self._checks = self._configured_checks(await self._recorder.load())
        self._rule_jobs = RuleJobs(self.scheduler, self.alerting)
        self._reloader = Reloader(
            settings,
            reread=self._reread,
            load=self._load_documents,
            parts=ReloadedParts(
                gateway=self.gateway,
                alerting=self.alerting,
                jobs=self._rule_jobs,
                checks=self._checks,
                log_levels=self.telemetry.log_levels,
            ),
            clock=self._clock,
        )
        self._add_jobs()
        self._observe()
        await parts.start("health checks", self.monitor, stop_timeout_s=5)
        await parts.start("scheduler", self.scheduler, stop_timeout_s=10)
        # The first to go: clients are drained while everything else is still running.
        await parts.start(
            "gateway", self._draining(), stop_timeout_s=settings.gateway.drain_timeout + 5
        )

    def _alerting(self) -> Alerting:
        settings = self.settings.alerts
        url = settings.storage_url
        if not url:
            url = f"sqlite:///{self._data.private_file('gatewatch.db').absolute()}"
        self._database = Database(url)
        return Alerting(
            engine=self.engine,
            store=self.store,
            groups=self._rules,
            routing=self._routing,
            database=self._database,
            transport=PoolTransport(self._pool),
            clock=self._clock,
            random=self._random,
            telemetry=self.telemetry.alerts,
            options=AlertingOptions(
                alertmanager=AlertmanagerOptions(
                    external_url=settings.external_url or self.operations_url,
                    history_retention_s=settings.history_retention,
                    allow_private=settings.private_addresses,
                    encode=encode,
                ),
                hold_absent_s=self._seconds_until_all_is_seen(),
                evidence=TraceEvidence(
                    self.store.exemplars, self.settings.telemetry.trace_url_template
                ),
            ),
        )

    def _alertmanager(self) -> Alertmanager:
        if not self._started:
            raise web.HTTPServiceUnavailable(text='"starting"', content_type="application/json")
        return self.alerting.alertmanager

    def _seconds_until_all_is_seen(self) -> float:
        """Return how long after the start every check has run and its result was collected."""
        slowest_s = max((check.timeout for check in self.settings.health.checks), default=0.0)
        return FIRST_RUNS_WITHIN_S + slowest_s + 2 * self.settings.telemetry.collect_interval

    def _load_documents(self, settings: Settings) -> Documents:
        try:
            return read_reloaded(settings, engine=self.engine)
        except ConfigurationError as error:
            raise error.located(self._locate) from error

    def _add_jobs(self) -> None:
        self._checks.start()
        self._rule_jobs.sync()
        self.scheduler.add_job(
            "housekeeping", self._keep_house, interval_s=_HOUSEKEEPING_INTERVAL_S
        )
        self.scheduler.add_job("check history", self._write_checks, interval_s=WRITE_INTERVAL_S)
        self.scheduler.add_job("check uptime", self._measure_checks, interval_s=60.0)
        self.scheduler.add_job(
            "check roll-up", self._roll_up_checks, interval_s=_ROLL_UP_INTERVAL_S
        )
        self.scheduler.add_job(
            "series snapshot",
            self._save_series,
            interval_s=self.settings.alerts.snapshot_interval,
        )
        self.scheduler.add_job(
            "queue depths", self._measure, interval_s=self.settings.telemetry.collect_interval
        )

    def _configured_checks(self, known: Mapping[str, CheckStatus]) -> ConfiguredChecks:
        health = self.settings.health
        return ConfiguredChecks(
            self.monitor,
            health,
            built_in=own_checks(
                health,
                OwnParts(
                    connections=self.gateway.connections,
                    pool=self._pool,
                    database=self._database,
                    queues=self.telemetry.queues,
                    take_worst_lag=self.telemetry.take_worst_lag,
                    data_directory=self._data.path,
                    clock=self._clock,
                    broker=self.gateway.redis_broker,
                ),
            ),
            build=lambda settings: configured_checks(settings, self._probe_parts),
            expect=lambda settings: self._probe_parts.inbox.expect(push_tokens(settings)),
            forget=self._recorder.forget,
            known=known,
        )

    async def _look_at_push(self, check: str) -> None:
        with contextlib.suppress(JobError):  # it runs just now, or not yet: the next run will see
            await self.scheduler.run_now(job_name(check))

    async def _keep_house(self, _slot_s: float) -> None:
        await asyncio.to_thread(self.store.expire)
        await self.alerting.keep_house()

    async def _write_checks(self, _slot_s: float) -> None:
        await self._recorder.write()

    async def _measure_checks(self, _slot_s: float) -> None:
        await self._recorder.measure()

    async def _roll_up_checks(self, _slot_s: float) -> None:
        await self._recorder.keep_house()

    async def _save_series(self, _slot_s: float) -> None:
        await asyncio.to_thread(self._snapshot.save)

    @asynccontextmanager
    async def _keeping_series(self) -> AsyncIterator[None]:
        """Have the series of the process before, and leave them to the next.

        A process that never came up leaves what it found.
        """
        size = await asyncio.to_thread(self._snapshot.load)
        if size is not None:
            _LOG.info("%d series restored, %d bytes", size.series, size.bytes)
        try:
            yield
        finally:
            try:
                if self._was_started:
                    await asyncio.to_thread(self._snapshot.save)
            except OSError as error:
                _LOG.error("the series were not written, the next start has older ones: %s", error)

    async def _measure(self, _slot_s: float) -> None:
        self.gateway.connections.measure_queues()

    def _observe(self) -> None:
        observers = self.telemetry.observers
        GatewayObservation(self.gateway).register(observers)
        self._requests.observe(observers)
        PoolObservation(self._pool).register(observers)
        PoolObservation(self._check_pool).register_pool(observers)
        JobObservation(self.scheduler).register(observers)
        CheckObservation(self.monitor).register(observers)
        UptimeObservation(self.monitor, self._recorder).register(observers)
        AlertObservation(self.alerting, self.store).register(observers)
        ReloadObservation(self._reloader.stats).register(observers)
        ReceiverObservation(self._receiver).register(observers)
        self.telemetry.feed_series(self.store.source("self"), self.store.exemplars)

    def _operations_listener(self) -> Listener:
        settings = self.settings.operations
        application = create_operations_app(
            OperationsParts(
                scheduler=self.scheduler,
                readiness=self.readiness,
                render_metrics=self.telemetry.render_metrics,
                clock=self._clock,
                reload=self.reload,
            ),
            auth=settings.auth,
            routes=[
                *query_routes(
                    self.settings,
                    engine=self.engine,
                    store=self.store,
                    find_rules=lambda: self.alerting if self._started else None,
                    collection=self.telemetry.collection,
                    received=lambda: self._receiver.metadata,
                    pool=self._queries,
                    clock=self._clock,
                ),
                *log_routes(self.telemetry.log_levels),
                *alertmanager_api_routes(self._alertmanager, clock=self._clock),
                *push_routes(self._probe_parts.inbox, self._look_at_push),
                *self._receiver.routes(),
                *health_routes(
                    self.monitor, lambda: self._recorder if self._started else None, self._clock
                ),
            ],
        )
        self._requests.install(application)
        return Listener(
            "operations listener",
            application,
            host=settings.host,
            port=settings.port,
            setting="operations.port",
        )

    def _listener_for_clients(self) -> Listener:
        settings = self.settings.gateway
        application = self.gateway.application()
        application.middlewares.append(self._when_started)
        self._requests.install(application)
        return Listener(
            "gateway",
            application,
            host=settings.host,
            port=settings.port,
            setting="gateway.port",
        )

    @web.middleware
    async def _when_started(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Send clients away that come while the other parts are still starting."""
        if self._was_started:
            return await handler(request)
        body = encode({"status": "starting"})
        return web.Response(status=503, body=body, content_type="application/json")

    @asynccontextmanager
    async def _draining(self) -> AsyncIterator[None]:
        """On leaving, take no more connections and drain those that are open."""
        listener = self._gateway_listener
        try:
            yield
        finally:
            await listener.stop_accepting()
            # Half of the time is for clients, at most; the other parts must end as well.
            report = await self.gateway.drain(self.settings.service.shutdown_timeout / 2)
            await listener.aclose()
            if report.closed or report.aborted:
                _LOG.info("%d connections closed, %d cut off", report.closed, report.aborted)


async def serve(
    settings: Settings,
    reread: Callable[[], Settings] | None = None,
    locate: Callable[[Problem], Problem] = lambda problem: problem,
) -> int:
    """Run until SIGTERM or SIGINT and return the exit code; a second signal does not wait.

    SIGHUP has the configuration read again, for which ``reread`` reads the settings and ``locate``
    finds the places of problems in them.
    """
    stop = asyncio.Event()
    hang_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Also before the parts are up, as it would end the process otherwise.
    loop.add_signal_handler(signal.SIGHUP, hang_up.set)
    app = App(settings, environment=os.environ, reread=reread, locate=locate)
    async with app, asyncio.TaskGroup() as tasks:
        reloading = tasks.create_task(_reload_on(hang_up, app), name="reload on SIGHUP")
        settling = tasks.create_task(
            set_aside_what_stays(SystemClock(), _SETTLED_AFTER_S), name="set aside what stays"
        )
        await stop.wait()
        reloading.cancel()
        settling.cancel()
        # Before the log says so, for who reads it and insists. Left to the kernel: an exception at
        # any place of the code that stops the parts would be one more reason to stop them in order.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        _LOG.info("stopping")
    return 0


async def _reload_on(event: asyncio.Event, app: App) -> None:
    while True:
        await event.wait()
        event.clear()
        try:
            await app.reload()
        except (GatewatchError, AlertsError):
            continue  # logged and counted where it happened
        except Exception:  # noqa: BLE001 - supervisor: a defect here must not end the process
            _LOG.exception("the configuration could not be reloaded")
