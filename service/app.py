"""The composition root: builds every part once, starts them in order, stops them in reverse.

Reading ``App`` from top to bottom is reading the product: what exists, what it is handed, and in
which order it comes up and goes down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self, TextIO

from opentelemetry.sdk.trace import SpanProcessor

from alerts.alerting import Alerting, AlertingOptions
from alerts.clock import Clock, SystemClock
from alerts.errors import DocumentError, Problem
from alerts.promql.engine import Engine
from alerts.routing.config import RoutingConfig, load_routing, log_routing
from alerts.rules.file import find_rule_files, load_rules
from alerts.rules.group import RuleGroup
from alerts.rules.model import GroupDefinition
from alerts.series.store import SeriesStore
from alerts.storage.database import Database
from service.codec import encode
from service.config.settings import AlertsSettings, Settings
from service.errors import ConfigurationError, StopError
from service.gateway.gateway import Gateway
from service.gateway.observation import GatewayObservation
from service.health.checks import Check, configured_checks
from service.health.monitor import HealthMonitor
from service.health.probes.connections import ConnectionsProbe
from service.health.probes.http_pool import HTTPPoolProbe
from service.lifecycle import Parts
from service.listener import Listener
from service.observation import (
    AlertObservation,
    CheckObservation,
    JobObservation,
    PoolObservation,
)
from service.operations import OperationsParts, create_operations_app
from service.pools.http import HTTPConnectionPool
from service.pools.transport import PoolTransport
from service.scheduler import Scheduler
from service.telemetry.http_server import HTTPServerTelemetry
from service.telemetry.providers import Telemetry

_LOG: Final = logging.getLogger(__name__)

CONNECTIONS_CHECK: Final = "gateway-connections"
HTTP_POOL_CHECK: Final = "http-pool"
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
    ) -> None:
        """Build the parts; nothing runs yet.

        Args:
            settings: All settings.
            environment: The process's environment, for the ``OTEL_*`` variables.
            clock: Time; the machine's by default.
            random: Jitter.
            span_processors: More consumers of finished spans.
            log_stream: Where log lines go; standard error by default.

        Raises:
            ConfigurationError: Settings, rules or routes that cannot be used.
        """
        self.settings = settings
        self._clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._parts = Parts()
        self._started = False
        # What can be refused comes before telemetry, whose exporters have threads from the start.
        self.store = SeriesStore(clock=self._clock, retention_s=settings.alerts.retention)
        self.engine = Engine(self.store)
        _check_names(settings)
        with _as_configuration():
            self._rules = _load_rules(settings.alerts, self.engine)
            self._routing = _load_routing(settings.alerts)
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
        self.gateway = Gateway(
            settings.gateway,
            settings.batching,
            node=self.telemetry.instance,
            clock=self._clock,
            random=self._random,
            instruments=instruments,
            sampling=self.telemetry.sampling,
        )
        self.scheduler = Scheduler(clock=self._clock, instruments=instruments)
        self.monitor = HealthMonitor(
            scheduler=self.scheduler, clock=self._clock, instruments=instruments
        )
        self._requests = HTTPServerTelemetry(instruments, self.telemetry.sampling, self._clock)
        self._operations = self._operations_listener()
        self._gateway_listener = self._listener_for_clients()
        self.alerting: Alerting

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
            StorageError: The database cannot be used.
        """
        try:
            await self._start()
        except BaseException:
            await self.aclose()
            raise
        self._started = True
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

    def readiness(self) -> tuple[str, ...]:
        """Return why the process should get no traffic, one reason each."""
        if self.gateway.connections.draining:
            return ("shutting down",)
        return () if self._started else ("starting",)

    async def _start(self) -> None:
        """Bring the parts up. What is started last is stopped first."""
        settings, parts = self.settings, self._parts
        # The last to go, so that it can report how the others went.
        await parts.start(
            "telemetry", self.telemetry, stop_timeout_s=settings.telemetry.shutdown_timeout + 2
        )
        await parts.start("HTTP pool", self._pool, stop_timeout_s=5)
        await parts.start("operations listener", self._operations, stop_timeout_s=5)
        self.alerting = self._alerting()
        await parts.start("alerting", self.alerting, stop_timeout_s=10)
        self._add_jobs()
        self._observe()
        await parts.start("scheduler", self.scheduler, stop_timeout_s=10)
        # The last to come up and the first to drain: clients find everything else running.
        await parts.start(
            "gateway", self._serving(), stop_timeout_s=settings.gateway.drain_timeout + 5
        )

    def _alerting(self) -> Alerting:
        settings = self.settings.alerts
        database = self.settings.service.data_dir / "gatewatch.db"
        return Alerting(
            engine=self.engine,
            store=self.store,
            groups=self._rules,
            routing=self._routing,
            database=Database(settings.storage_url or f"sqlite:///{database.absolute()}"),
            transport=PoolTransport(self._pool),
            clock=self._clock,
            random=self._random,
            telemetry=self.telemetry.alerts,
            options=AlertingOptions(
                external_url=settings.external_url or self.operations_url, encode=encode
            ),
        )

    def _add_jobs(self) -> None:
        interval_s = self.settings.health.interval
        self.monitor.add(
            Check(CONNECTIONS_CHECK, ConnectionsProbe(self.gateway.connections), interval_s)
        )
        self.monitor.add(
            Check(
                HTTP_POOL_CHECK,
                HTTPPoolProbe(self._pool, exhausted_after_s=interval_s),
                interval_s,
            )
        )
        for check in configured_checks(self.settings.health, self._pool):
            self.monitor.add(check)
        for group in self.alerting.groups:

            async def evaluate(slot_s: float, group: RuleGroup = group) -> None:
                await self.alerting.evaluate(group, round(slot_s * 1000))

            self.scheduler.add_job(
                f"rules {_label(group, self.alerting.groups)}",
                evaluate,
                interval_s=group.interval_s,
                kind="rules",
                offset_s=group.offset_s,
            )
        self.scheduler.add_job(
            "housekeeping", self._keep_house, interval_s=_HOUSEKEEPING_INTERVAL_S
        )
        self.scheduler.add_job(
            "queue depths", self._measure, interval_s=self.settings.telemetry.collect_interval
        )

    async def _keep_house(self, _slot_s: float) -> None:
        await asyncio.to_thread(self.store.expire)

    async def _measure(self, _slot_s: float) -> None:
        self.gateway.connections.measure_queues()

    def _observe(self) -> None:
        observers = self.telemetry.observers
        GatewayObservation(self.gateway).register(observers)
        self._requests.observe(observers)
        PoolObservation(self._pool).register(observers)
        JobObservation(self.scheduler).register(observers)
        CheckObservation(self.monitor).register(observers)
        AlertObservation(self.alerting, self.store).register(observers)
        self.telemetry.feed_series(self.store.source("self"))

    def _operations_listener(self) -> Listener:
        settings = self.settings.operations
        application = create_operations_app(
            OperationsParts(
                monitor=self.monitor,
                scheduler=self.scheduler,
                readiness=self.readiness,
                render_metrics=self.telemetry.render_metrics,
                clock=self._clock,
            ),
            auth=settings.auth,
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
        self._requests.install(application)
        return Listener(
            "gateway",
            application,
            host=settings.host,
            port=settings.port,
            setting="gateway.port",
        )

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        """Take connections; on leaving, stop taking them and drain those that are open."""
        async with self._gateway_listener as listener:
            try:
                yield
            finally:
                await listener.stop_accepting()
                # Half of the time is for clients, at most; the other parts must end as well.
                report = await self.gateway.drain(self.settings.service.shutdown_timeout / 2)
                if report.closed or report.aborted:
                    _LOG.info("%d connections closed, %d cut off", report.closed, report.aborted)


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT and return the exit code; a second signal does not wait."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = App(settings, environment=os.environ)
    async with app:
        await stop.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        _LOG.info("stopping")
    return 0


def _load_rules(alerts: AlertsSettings, engine: Engine) -> tuple[GroupDefinition, ...]:
    """Read the configured rule files and the rules gatewatch ships."""
    with ExitStack() as stack:
        rule_files = list(find_rule_files(alerts.rule_files, base_dir=Path()))
        if alerts.default_rules:
            shipped = files("alerts.rules") / "packs" / "gatewatch.yaml"
            rule_files.insert(0, stack.enter_context(as_file(shipped)))
        return load_rules(rule_files, engine=engine, default_interval_s=alerts.evaluation_interval)


def _load_routing(alerts: AlertsSettings) -> RoutingConfig:
    """Read the routes; without a file alerts go to the log."""
    if alerts.alertmanager_config is None:
        return log_routing()
    return load_routing(alerts.alertmanager_config)


def _label(group: RuleGroup, groups: Sequence[RuleGroup]) -> str:
    """Return a group's name, with its file where another file has a group of that name."""
    alike = [other for other in groups if other.name == group.name]
    return group.name if len(alike) == 1 else f"{group.name} ({group.definition.key})"


def _check_names(settings: Settings) -> None:
    """Refuse configured checks that are called like the built-in ones."""
    taken = {CONNECTIONS_CHECK, HTTP_POOL_CHECK} & {check.name for check in settings.health.checks}
    if taken:
        message = f"health.checks: {', '.join(sorted(taken))} is a built-in check; rename yours"
        raise ConfigurationError([Problem("settings", 0, 0, message)])


@contextmanager
def _as_configuration() -> Iterator[None]:
    """Report what is wrong in rule and routing files as configuration errors."""
    try:
        yield
    except DocumentError as error:
        raise ConfigurationError(list(error.problems)) from error
