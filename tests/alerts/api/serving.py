"""The Prometheus API on a real socket, over a store, rules and a clock that tests hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from alerts.alerting import Alerting
from alerts.api.pool import QueryPool
from alerts.api.prometheus import PrometheusParts, ServerInfo, prometheus_routes
from alerts.api.series import MetricMetadata
from alerts.clock import Clock, ManualClock, SystemClock
from alerts.documents import parse_document
from alerts.promql.engine import Engine
from alerts.routing.model import log_routing
from alerts.rules.file import read_groups
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from alerts.storage.database import Database
from alerts.telemetry import AlertsTelemetry
from tests.support.alerts import FakeTransport, database_url

NOW_S = 1_700_000_000
MAX_BODY_BYTES = 65_536
RULES = """\
groups:
- name: second
  interval: 15s
  limit: 7
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
    labels: {tier: db}
  - alert: Down
    expr: up == 0
    for: 30s
    keep_firing_for: 1m
    labels: {severity: page, where: "{{ $labels.instance }}"}
    annotations: {summary: "{{ $labels.instance }} is down"}
- name: first
  rules:
  - {alert: Never, expr: up > 1}
"""
METADATA = (
    MetricMetadata("up", "gauge", "Whether it answers."),
    MetricMetadata("up", "gauge", "Whether it is there."),
    MetricMetadata("requests_total", "counter", "Requests.", "requests"),
)


@dataclass
class Server:
    """A running API.

    Attributes:
        store: Where the series are.
        alerting: The rules, never evaluated unless a test does so.
        has_rules: Whether the rules can be had already.
        pool: The threads.
        url: Where it listens.
    """

    store: SeriesStore
    alerting: Alerting
    clock: ManualClock
    pool: QueryPool
    http: aiohttp.ClientSession
    has_rules: bool = True
    metadata: Sequence[MetricMetadata] = METADATA
    url: str = ""

    async def get(self, path: str, *parameters: tuple[str, str]) -> tuple[int, Any]:
        """GET and return status and body."""
        async with self.http.get(f"{self.url}/api/v1/{path}", params=parameters) as answer:
            assert answer.content_type == "application/json"
            return answer.status, await answer.json()

    async def post(self, path: str, *parameters: tuple[str, str]) -> tuple[int, Any]:
        """POST a form and return status and body."""
        async with self.http.post(f"{self.url}/api/v1/{path}", data=parameters) as answer:
            return answer.status, await answer.json()

    async def data(self, path: str, *parameters: tuple[str, str]) -> Any:
        """GET and return the data of a success."""
        status, body = await self.get(path, *parameters)
        assert (status, body["status"]) == (200, "success"), body
        return body["data"]

    async def refusal(self, path: str, *parameters: tuple[str, str]) -> tuple[int, str, str]:
        """GET and return status, type and text of an error."""
        status, body = await self.get(path, *parameters)
        assert set(body) == {"status", "errorType", "error"}
        assert body["status"] == "error"
        return status, body["errorType"], body["error"]

    def append(self, at_s: float, samples: dict[str, float], source: str = "test") -> None:
        """Append samples of series such as ``up;job=db``."""
        self.store.source(source).append(
            round((NOW_S + at_s) * 1000),
            [(labels(text), value) for text, value in samples.items()],
        )


def labels(text: str) -> Labels:
    """Return the labels of ``up;job=db;instance=a``."""
    name, *pairs = text.split(";")
    return Labels([("__name__", name), *(tuple(pair.split("=", 1)) for pair in pairs)])  # type: ignore[list-item]  # split gives two


@asynccontextmanager
async def serving(
    directory: Path, *, pool: QueryPool | None = None, pool_clock: Clock | None = None
) -> AsyncIterator[Server]:
    """Serve the API until the end of the block."""
    clock = ManualClock(NOW_S)
    store = SeriesStore(clock=clock, retention_s=86_400)
    engine = Engine(store)
    alerting = Alerting(
        engine=engine,
        store=store,
        groups=read_groups(parse_document(RULES, "r.yaml"), engine=engine, default_interval_s=60),
        routing=log_routing(),
        database=Database(database_url(directory)),
        transport=FakeTransport(clock),
        clock=clock,
        random=Random(1),
        telemetry=AlertsTelemetry.create(NoOpTracer(), NoOpMeter("tests")),
    )
    async with (
        QueryPool(clock=pool_clock or SystemClock()) as threads,
        aiohttp.ClientSession() as http,
    ):
        server = Server(store, alerting, clock, pool or threads, http)
        parts = PrometheusParts(
            engine=engine,
            store=store,
            find_rules=lambda: alerting if server.has_rules else None,
            metadata=lambda: server.metadata,
            pool=server.pool,
            clock=clock,
            info=ServerInfo(
                application="tests",
                version="1.2",
                started_at_s=NOW_S,
                retention_s=86_400,
                flags={"query.timeout": "2m"},
                hostname="here",
                directory="/",
            ),
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_routes(prometheus_routes(parts))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield server
        finally:
            await runner.cleanup()
