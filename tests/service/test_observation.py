"""Counts of real parts, read as metrics after something happened to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import ManualClock, SystemClock
from alerts.telemetry import DEFINITIONS as ALERTS_DEFINITIONS
from alerts.telemetry import InstrumentDefinition
from service.app import App
from service.config.settings import HTTPPoolSettings
from service.health.checks import Check
from service.health.monitor import HealthMonitor, job_name
from service.health.observation import CheckObservation
from service.health.state import ProbeResult
from service.observation import JobObservation, PoolObservation
from service.pools.errors import HTTPRequestError
from service.pools.http import HTTPConnectionPool
from service.scheduler import Scheduler
from service.telemetry.definitions import DEFINITIONS
from service.telemetry.instruments import Instruments
from service.telemetry.observers import Observers
from service.telemetry.probe_instruments import PROBE_DEFINITIONS
from service.telemetry.prometheus import metric_name
from tests.support.app import Readings, api_headers, labels, readings, running_app
from tests.support.exposition import ParsedFamily, parse_exposition
from tests.support.gateway import OPEN, RawClient, lose_a_slow_client, until
from tests.support.http import loopback_server
from tests.support.process import eventually, unused_port
from tests.support.redis import RedisServer
from tests.support.redis_gateways import redis_settings
from tests.support.tokens import jwk, key_set_server, private_key
from tests.support.webhook import Answer, WebhookReceiver, webhook_receiver

RULES = """\
groups:
  - name: same
    interval: 1h
    rules:
      - {alert: Always, expr: 'gateway_connection_limit > 0', labels: {severity: page}}
      - alert: Ambiguous
        expr: process_cpu_time_seconds_total * on () process_cpu_time_seconds_total
"""
ROUTES = """\
route: {receiver: on-call, group_wait: 0s, group_interval: 1h}
receivers: [{name: on-call, webhook_configs: [{url: %s}]}]
"""
ATTRIBUTES = {item.name: set(item.attributes) for item in (*DEFINITIONS, *ALERTS_DEFINITIONS)}
"""Every metric there is, with the attributes its definition names."""


IN_MEMORY_ALONE = {name for name in ATTRIBUTES if name.startswith("gateway.history.")}
"""What is absent with Redis."""


def families(definitions: Iterable[InstrumentDefinition]) -> set[str]:
    """Return the names of the families that metrics are shown as."""
    return {
        metric_name(item.name, item.unit, counter=item.kind == "counter").removesuffix("_total")
        for item in definitions
    }


PROMETHEUS_NAMES = families((*DEFINITIONS, *ALERTS_DEFINITIONS))
"""The families a page has, besides what it says of the process (``target``)."""


class Page:
    """Where observations are registered, and what they say when they are read."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.observers = Observers(provider.get_meter("tests"))

    def read(self) -> Readings:
        """Collect now."""
        data = self._reader.get_metrics_data()
        return {} if data is None else readings(data)


class ScriptedProbe:
    """Succeeds once, then fails."""

    target = "a script"

    def __init__(self) -> None:
        self._results: Iterator[ProbeResult] = iter(
            (
                ProbeResult.passed("fine", **{"http.response.status_code": 200}),
                ProbeResult.failed("status 500", "status", {"http.response.status_code": 500}),
            )
        )

    async def run(self, timeout_s: float) -> ProbeResult:
        return next(self._results)


async def test_an_http_pool_is_read() -> None:
    """Connections by state and host, requests that found one, and those without an answer."""
    page = Page()
    settings = HTTPPoolSettings.model_validate({"max_connections": 7})
    async with (
        loopback_server() as server,
        HTTPConnectionPool(
            settings,
            instruments=Instruments.disabled(),
            tracer_provider=NoOpTracerProvider(),
            clock=SystemClock(),
        ) as pool,
    ):
        PoolObservation(pool).register(page.observers)
        for _ in range(2):
            async with pool.request("GET", server.url("/ok")) as response:
                await response.read_up_to(100)
        with pytest.raises(HTTPRequestError):
            async with pool.request("GET", f"http://127.0.0.1:{unused_port()}/"):
                pass
        found = page.read()

    mine, where = (
        {"gateway__pool__name": pool.name},
        {
            "server__address": "127.0.0.1",
            "server__port": str(server.port),
        },
    )
    assert found["gateway.pool.limit"] == {labels(**mine): 7}
    assert found["gateway.pool.waiting"] == {labels(**mine): 0}
    assert found["gateway.pool.connections.created"] == {labels(**mine): 1}
    assert found["gateway.pool.connections.reused"] == {labels(**mine): 1}
    assert found["gateway.pool.errors"][labels(**mine, error__type="connect")] == 1
    open_connections = found["http.client.open_connections"]
    assert open_connections[labels(**where, http__connection__state="idle")] == 1
    assert open_connections[labels(**where, http__connection__state="active")] == 0
    assert found["http.client.active_requests"][labels(**where)] == 0


async def test_jobs_are_read_by_kind() -> None:
    """Jobs of one kind are one series, however many there are."""

    async def fail(_slot_s: float) -> None:
        raise ValueError("broken")

    page = Page()
    async with Scheduler(clock=ManualClock(), instruments=Instruments.disabled()) as scheduler:
        JobObservation(scheduler).register(page.observers)
        for name in ("one", "two"):
            scheduler.add_job(name, fail, interval_s=3600, kind="check")
            await scheduler.run_now(name)
        found = page.read()

    assert found["gateway.job.failed"] == {labels(gateway__job__kind="check"): 2}
    assert found["gateway.job.missed"] == {labels(gateway__job__kind="check"): 0}


async def test_checks_are_read_once_they_ran() -> None:
    """Before there is a result only the state is known; then all follows the last run."""
    page = Page()
    clock, instruments = ManualClock(), Instruments.disabled()
    async with Scheduler(clock=clock, instruments=instruments) as scheduler:
        monitor = HealthMonitor(scheduler=scheduler, clock=clock, instruments=instruments)
        CheckObservation(monitor).register(page.observers)
        monitor.add(Check("web", ScriptedProbe(), interval_s=3600))
        seen = [page.read()]
        for _ in range(2):
            await scheduler.run_now(job_name("web"))
            seen.append(page.read())

    web = labels(check="web")
    assert [found["gateway.health.state"][web] for found in seen] == [0, 1, 2]
    assert seen[0].keys() == {"gateway.health.state"}
    assert seen[2]["gateway.health.last_run.time"] == {web: clock.time()}
    assert [found["probe_success"][web] for found in seen[1:]] == [1, 0]
    assert [found["probe_http_status_code"][web] for found in seen[1:]] == [200, 500]
    assert seen[2]["probe_duration"] == {web: 0}


def alerting_files(directory: Path, hook: WebhookReceiver) -> dict[str, Any]:
    """Write two rule files with groups of one name, and a webhook; return their settings."""
    for name in ("one", "two"):
        (directory / f"{name}.yaml").write_text(RULES)
    (directory / "routes.yaml").write_text(ROUTES % hook.url)
    return {
        "rule_files": [str(directory / "one.yaml"), str(directory / "two.yaml")],
        "default_rules": False,
        "alertmanager_config": directory / "routes.yaml",
    }


async def test_alerts_rules_and_notifications_are_read(tmp_path: Path) -> None:
    """Groups of one name in two files add up; a refused notification is counted by its reason."""
    async with webhook_receiver() as hook:
        hook.always = Answer(400)
        alerts = alerting_files(tmp_path, hook)
        async with running_app(tmp_path, alerts=alerts) as app:
            await app.telemetry.collection.collect_now()
            for group in app.alerting.groups:
                await app.alerting.evaluate(group, round(SystemClock().time() * 1000))
            await until(lambda: app.alerting.receiver_stats["on-call"].failed)
            found = readings((await app.telemetry.collection.collect_now()).metrics)

    same = labels(gateway__rule__group="same")
    firing = labels(gateway__alert__state="firing", gateway__alert__severity="page")
    on_call = {"gateway__receiver": "on-call"}
    refused = labels(**on_call, error__type="refused")
    assert found["gateway.rule.evaluation.failed"] == {same: 2}
    assert found["gateway.rule.evaluation.missed"] == {same: 0}
    assert found["gateway.alert.count"] == {firing: 2}
    assert found["gateway.notification.delivered"] == {labels(**on_call): 0}
    assert found["gateway.notification.retries"] == {labels(**on_call): 0}
    assert found["gateway.notification.failed"] == {refused: 1}
    assert found["gateway.notification.queue.size"] == {labels(): 0}
    assert found["gateway.series.count"][labels()] > 50


async def test_every_metric_there_is_has_values_after_some_traffic(tmp_path: Path) -> None:
    """No definition is a name that nothing ever fills, and no metric has no definition."""
    with RedisServer(keep_data=False) as redis:
        await fill_every_metric(tmp_path, redis)


async def fill_every_metric(tmp_path: Path, redis: RedisServer) -> None:
    """Run an app on a Redis, and compare its metrics with the definitions."""
    async with webhook_receiver() as hook, key_set_server() as provider:
        hook.always = Answer(400)
        provider.keys = [jwk(private_key("ES256"), kid="a")]
        alerts = alerting_files(tmp_path, hook)
        async with running_app(
            tmp_path,
            gateway={
                **OPEN,
                "port": 0,
                "token": {"jwks_url": provider.url},
                "max_queue_size": "64KiB",
                "proxy": {"rpc": {"endpoint": hook.url}},
                "broker": redis_settings(redis.url),
            },
            telemetry={
                "otlp": {"endpoint": f"http://127.0.0.1:{unused_port()}"},
                "collect_interval": "100ms",
                "shutdown_timeout": "100ms",
            },
            health={"checks": [{"name": "web", "http": {"url": hook.url}}]},
            alerts=alerts,
        ) as app:
            await app.telemetry.collection.collect_now()
            async with aiohttp.ClientSession() as session:
                await make_everything_happen(app, session)
            for group in app.alerting.groups:
                await app.alerting.evaluate(group, round(SystemClock().time() * 1000))
            await app.scheduler.run_now(job_name("web"))
            with pytest.raises(HTTPRequestError):
                async with app._pool.request("GET", f"http://127.0.0.1:{unused_port()}/"):
                    pass
            await until(lambda: app.alerting.receiver_stats["on-call"].failed)
            # Last of all: a check that has run in this very millisecond has no uptime yet.
            await app.scheduler.run_now("check uptime")
            found = await everything(app)

            page = await read_page(app)

    of_probes = {item.name for item in PROBE_DEFINITIONS}
    assert found.keys() - of_probes == ATTRIBUTES.keys() - IN_MEMORY_ALONE
    of_memory = families(item for item in DEFINITIONS if item.name in IN_MEMORY_ALONE)
    there = page.keys() - {"target"} - families(PROBE_DEFINITIONS)
    assert there == PROMETHEUS_NAMES - of_memory
    for name, values in found.items():
        used = {key for each in values for key, _ in each}
        known = ATTRIBUTES.get(name, {"check", "group", "phase", "version"})
        assert used <= known, f"{name} has attributes its definition does not name"


async def read_page(app: App) -> dict[str, ParsedFamily]:
    """Return the families of the page that scrapers get."""
    _, page = await app.telemetry.render_metrics("application/openmetrics-text")
    return parse_exposition(page.decode(), openmetrics=True)


async def everything(app: App) -> Readings:
    """Return all there is, once what needs time (a timer, a slot of a job) is there as well."""

    missing = set(ATTRIBUTES) - IN_MEMORY_ALONE

    async def complete() -> Readings:
        found = readings((await app.telemetry.collection.collect_now()).metrics)
        missing.intersection_update(ATTRIBUTES.keys() - found.keys())
        return {} if missing else found

    try:
        return await eventually(complete, what="every metric")
    except AssertionError as error:
        raise AssertionError(f"nothing ever filled {sorted(missing)}") from error


async def make_everything_happen(app: App, session: aiohttp.ClientSession) -> None:
    """Deliver a message, and lose a client that does not read."""

    async def publish(channel: str, data: Any) -> None:
        body = {"channel": channel, "data": data}
        async with session.post(
            f"{app.gateway_url}/api/publish", json=body, headers=api_headers()
        ) as answer:
            assert await answer.json() == {"result": {}}

    async def is_lost() -> bool:
        return bool(app.gateway.connections.stats.closed)

    url = app.gateway_url.replace("http", "ws", 1) + "/connection/websocket"
    async with session.ws_connect(url) as socket:
        client = RawClient(socket)
        await client.call(connect={})
        await client.subscribe("news")
        await publish("news", "small")
        assert await client.published() == "small"
        assert (await client.call(rpc={"method": "any"}))["error"]["code"] == 100
        await lose_a_slow_client(client, publish, is_lost)
    assert app.gateway.connections.stats.closed == {3008: 1}
