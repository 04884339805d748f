"""One gatewatch alerts for its neighbours: their SDK sends metrics, and a webhook is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tests.support.app import running_app
from tests.support.otlp_sending import gauge, post, request_of
from tests.support.process import GatewatchProcess, eventually, serving
from tests.support.webhook import webhook_receiver

RULES = """\
groups:
  - name: neighbours
    interval: 1s
    rules:
      - alert: OrdersWait
        expr: orders_waiting{job="market/shop"} > 5
        labels: {severity: critical}
        annotations:
          summary: "{{ $labels.instance }}: {{ $value }} from {{ $labels.region }}"
"""
ROUTES = """\
route: {receiver: on-call, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers:
  - name: on-call
    webhook_configs:
      - url: %s
"""
NAMES = '/api/v1/label/__name__/values?match[]={job="market/shop"}'


@asynccontextmanager
async def neighbour(operations_url: str) -> AsyncIterator[MeterProvider]:
    """Run a service's own SDK, with the exporter everybody uses."""
    exporter = OTLPMetricExporter(endpoint=f"{operations_url}/v1/metrics", timeout=5)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    identity = {
        "service.namespace": "market",
        "service.name": "shop",
        "service.instance.id": "shop-1",
    }
    provider = MeterProvider([reader], resource=Resource(identity), shutdown_on_exit=False)
    try:
        yield provider
    finally:
        await asyncio.to_thread(provider.shutdown)


def alerting(directory: Path, hook_url: str) -> dict[str, Any]:
    """Write rules and routes and return settings that use them."""
    (directory / "rules.yaml").write_text(RULES)
    (directory / "alertmanager.yaml").write_text(ROUTES % hook_url)
    return {
        "alerts": {
            "rule_files": ["rules.yaml"],
            "default_rules": False,
            "alertmanager_config": "alertmanager.yaml",
        }
    }


async def test_a_rule_fires_on_the_metrics_of_another_service(tmp_path: Path) -> None:
    """What the neighbour recorded is in the alert; its types and names are those of a scrape."""
    async with webhook_receiver() as hook:
        settings = alerting(tmp_path, hook.url)
        async with serving(tmp_path, settings) as process:
            async with neighbour(process.operations_url) as provider:
                meter = provider.get_meter("shop")
                meter.create_gauge("orders.waiting", "{order}").set(9, {"region": "eu"})
                meter.create_counter("orders.placed").add(3)
                meter.create_histogram("answer.duration", "s", "How long.").record(0.2)
                assert await asyncio.to_thread(provider.force_flush, 5000)

                (alert,) = (await hook.wait_for(1))[0].body["alerts"]

            names = await process.operations(NAMES)
            about = await process.operations("/api/v1/metadata?metric=answer_duration_seconds")
            await eventually(lambda: is_counted(process), what="the count of services")

    assert alert["annotations"]["summary"] == "shop-1: 9 from eu"
    for name in ("orders_placed_total", "answer_duration_seconds_bucket", "target_info"):
        assert f'"{name}"' in names
    known = json.loads(about)["data"]["answer_duration_seconds"]
    assert known == [{"type": "histogram", "help": "How long.", "unit": "seconds"}]


async def is_counted(process: GatewatchProcess) -> bool:
    """Whether the metrics tell of the neighbour."""
    return "gateway_otlp_services 1" in await process.operations("/metrics")


async def test_only_metrics_are_taken_and_only_with_credentials(tmp_path: Path) -> None:
    """Who sends traces here learns what there is; who has no token is not let in."""
    auth = {"bearer_token": "secret"}
    async with running_app(tmp_path, operations={"port": 0, "auth": auth}) as app:
        token = {"Authorization": "Bearer secret"}
        async with aiohttp.ClientSession(app.operations_url, headers=token) as http:
            async with http.post("/v1/traces") as answer:
                assert answer.status == 404
                assert "/v1/metrics" in (await answer.json())["paths"]
        body = request_of(gauge("a", 1, 1))

        status, headers, _ = await post(f"{app.operations_url}/v1/metrics", body)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="gatewatch"')
        accepted, _, _ = await post(f"{app.operations_url}/v1/metrics", body, **token)
        assert accepted == 200
