"""The composition root: builds every part once, starts them in order, stops them in reverse.

Reading ``App`` from top to bottom is reading the product: what exists, what it is handed, and in
which order it comes up and goes down.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Final, Self, TextIO

from aiohttp import web
from opentelemetry.sdk.trace import SpanProcessor

from alerts.alerting import Alerting, AlertingOptions
from alerts.alertmanager import Alertmanager, AlertmanagerOptions
from alerts.api.pool import QueryPool
from alerts.clock import Clock, SystemClock
from alerts.errors import Problem
from alerts.promql.engine import Engine
from alerts.rules.evidence import TraceEvidence
from alerts.series.labels import Labels
from alerts.series.limits import Limits
from alerts.series.store import SeriesStore
from alerts.storage.database import Database
from service.alertmanager_api import alertmanager_api_routes
from service.checking import doubts, read_configured, read_reloaded
from service.client_listener import ClientListener
from service.codec import encode
from service.config.settings import Settings
from service.data_directory import DataDirectory
from service.documents import Documents
from service.errors import ConfigurationError, StopError
from service.gateway.gateway import Gateway
from service.gateway.observation import GatewayObservation
from service.health.health import Health
from service.health.own_checks import OwnParts
from service.kept_series import KeptSeries
from service.lifecycle import Parts
from service.listener import Listener
from service.log_api import log_routes
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
        self._series = KeptSeries(
            self._data.path, self.store, was_started=lambda: self._was_started
        )
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
        self._health = Health(
            settings.health,
            scheduler=self.scheduler,
            pool=self._check_pool,
            environment=environment,
            clock=self._clock,
            instruments=instruments,
            is_ready=lambda: self._started,
        )
        self.monitor = self._health.monitor
        self._requests = HTTPServerTelemetry(instruments, self.telemetry.sampling, self._clock)
        self._queries = QueryPool(clock=self._clock)
        self._receiver = Receiver(
            settings.telemetry.receiver,
            store=self.store,
            retention_s=settings.alerts.retention,
            clock=self._clock,
            own=Labels({"job": self.telemetry.service_name, "instance": self.telemetry.instance}),
            is_ready=lambda: self._started,
        )
        self._operations = self._operations_listener()
        self._gateway_listener = ClientListener(
            self.gateway,
            settings,
            requests=self._requests,
            was_started=lambda: self._was_started,
        )
        self._reread = reread or (lambda: settings)
        self._locate = locate
        self.alerting: Alerting
        self._database: Database
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
        await parts.start("series snapshot", self._series, stop_timeout_s=10)
        self.alerting = self._alerting()
        await parts.start("alerting", self.alerting, stop_timeout_s=10)
        # In the database that alerting has opened, and closes after this.
        await parts.start(
            "check history",
            self._health.keeping_history(self._database, self._own_parts()),
            stop_timeout_s=5,
        )
        self._rule_jobs = RuleJobs(self.scheduler, self.alerting)
        self._reloader = Reloader(
            settings,
            reread=self._reread,
            load=self._load_documents,
            parts=ReloadedParts(
                gateway=self.gateway,
                alerting=self.alerting,
                jobs=self._rule_jobs,
                checks=self._health.checks,
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
            "gateway",
            self._gateway_listener.draining(),
            stop_timeout_s=settings.gateway.drain_timeout + 5,
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
                # By then every check has run, and its result was collected.
                hold_absent_s=self._health.first_results_within_s
                + 2 * self.settings.telemetry.collect_interval,
                evidence=TraceEvidence(
                    self.store.exemplars, self.settings.telemetry.trace_url_template
                ),
            ),
        )

    def _alertmanager(self) -> Alertmanager:
        if not self._started:
            raise web.HTTPServiceUnavailable(text='"starting"', content_type="application/json")
        return self.alerting.alertmanager

    def _load_documents(self, settings: Settings) -> Documents:
        try:
            return read_reloaded(settings, engine=self.engine)
        except ConfigurationError as error:
            raise error.located(self._locate) from error

    def _add_jobs(self) -> None:
        self._health.add_jobs()
        self._rule_jobs.sync()
        self.scheduler.add_job(
            "housekeeping", self._keep_house, interval_s=_HOUSEKEEPING_INTERVAL_S
        )
        self.scheduler.add_job(
            "series snapshot",
            self._save_series,
            interval_s=self.settings.alerts.snapshot_interval,
        )
        self.scheduler.add_job(
            "queue depths", self._measure, interval_s=self.settings.telemetry.collect_interval
        )

    def _own_parts(self) -> OwnParts:
        return OwnParts(
            connections=self.gateway.connections,
            pool=self._pool,
            database=self._database,
            queues=self.telemetry.queues,
            take_worst_lag=self.telemetry.take_worst_lag,
            data_directory=self._data.path,
            clock=self._clock,
            broker=self.gateway.redis_broker,
        )

    async def _keep_house(self, _slot_s: float) -> None:
        await asyncio.to_thread(self.store.expire)
        await self.alerting.keep_house()

    async def _save_series(self, _slot_s: float) -> None:
        await self._series.save()

    async def _measure(self, _slot_s: float) -> None:
        await self.gateway.connections.measure_queues()

    def _observe(self) -> None:
        observers = self.telemetry.observers
        GatewayObservation(self.gateway).register(observers)
        self._requests.observe(observers)
        PoolObservation(self._pool).register(observers)
        PoolObservation(self._check_pool).register_pool(observers)
        JobObservation(self.scheduler).register(observers)
        self._health.observe(observers)
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
                *self._receiver.routes(),
                *self._health.routes(),
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
