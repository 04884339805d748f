"""The page /metrics of a process everything has happened to."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from alerts.clock import SystemClock
from alerts.promql.engine import Engine
from alerts.rules.file import DEFAULT_RULES, load_rules
from alerts.rules.model import AlertingDefinition
from alerts.series.store import SeriesStore
from tests.support.exposition import ParsedFamily, parse_exposition
from tests.support.gateway import RawClient, lose_a_slow_client
from tests.support.process import GatewatchProcess, eventually, serving, unused_port
from tests.support.webhook import Answer, webhook_receiver

RULES = """\
groups:
  - name: always
    interval: 1s
    rules: [{alert: Always, expr: process_uptime_seconds > 0}]
"""
ROUTES = """\
route: {receiver: on-call, group_wait: 0s}
receivers: [{name: on-call, webhook_configs: [{url: %s}]}]
"""
PARTS = {
    "gateway": "gateway_connection_count gateway_message_received gateway_commands",
    "batcher": "gateway_batch_items gateway_batch_size gateway_batch_wait_seconds",
    "pools": "gateway_pool_limit http_client_request_duration_seconds gateway_pool_wait_seconds",
    "jobs": "gateway_job_duration_seconds gateway_job_missed gateway_job_schedule_delay_seconds",
    "checks": "probe_success probe_duration_seconds gateway_health_state",
    "rules": "gateway_rule_evaluation_duration_seconds gateway_alert_count gateway_series_count",
    "notifications": "gateway_notification_duration_seconds gateway_notification_queue_size",
    "process": "process_cpu_time_seconds gateway_event_loop_lag_seconds target",
}
ADDED_BY_THE_STORE = {"job", "instance"}


def needs_of_the_shipped_rules() -> dict[str, set[str]]:
    """Return the metrics that the shipped rules read, each with the labels they use on it."""
    store = SeriesStore(clock=SystemClock(), retention_s=60)
    needs: dict[str, set[str]] = {}
    for group in load_rules([DEFAULT_RULES], engine=Engine(store), default_interval_s=15):
        for rule in group.rules:
            assert isinstance(rule, AlertingDefinition)
            texts = " ".join(template.source for _, template in rule.annotations)
            labels = set(re.findall(r"\$labels\.(\w+)", texts))
            for names in re.findall(r"\b(?:by|on) ?\(([^()]*)\)", rule.expression):
                labels |= {name.strip() for name in names.split(",")}
            labels |= set(re.findall(r'(\w+)\s*(?:=|!=|=~|!~)\s*"', rule.expression))
            for metric in rule.query.metric_names:
                needs.setdefault(metric, set()).update(labels - ADDED_BY_THE_STORE)
    return needs


async def make_everything_happen(process: GatewatchProcess) -> None:
    """Deliver a message, and lose a client that does not read."""

    async def is_lost() -> bool:
        return "gateway_connection_closed_total{" in await process.operations("/metrics")

    async with process.http.ws_connect(process.websocket_url) as socket:
        client = RawClient(socket)
        await client.call(connect={})
        await client.subscribe("news")
        await process.publish("news", {"n": 1})
        await client.published()
        await lose_a_slow_client(client, process.publish, is_lost)


async def page(process: GatewatchProcess, *awaited: str) -> dict[str, ParsedFamily]:
    """Return the families once those that come late are there."""

    async def complete() -> dict[str, ParsedFamily]:
        text = await process.operations("/metrics", Accept="application/openmetrics-text")
        families = parse_exposition(text, openmetrics=True)
        return families if set(awaited) <= families.keys() else {}

    return await eventually(complete, what=", ".join(awaited))


async def test_every_part_is_measured_and_the_shipped_rules_find_what_they_read(
    tmp_path: Path,
) -> None:
    """Families of all parts are there, under the very names and labels that the rules use."""
    needs = needs_of_the_shipped_rules()
    del needs["gateway_broker_away"]  # there with Redis alone, where tests of the broker see it
    async with webhook_receiver() as hook:
        hook.always = Answer(400)
        (tmp_path / "rules.yaml").write_text(RULES)
        (tmp_path / "alertmanager.yaml").write_text(ROUTES % hook.url)
        settings: dict[str, Any] = {
            "gateway": {"max_queue_size": "64KiB"},
            "health": {"checks": [{"name": "web", "interval": "1s", "http": {"url": hook.url}}]},
            "telemetry": {"otlp": {"endpoint": f"http://127.0.0.1:{unused_port()}"}},
            "alerts": {
                "rule_files": ["rules.yaml"],
                "evaluation_interval": "1s",
                "alertmanager_config": "alertmanager.yaml",
            },
        }
        async with serving(tmp_path, settings) as process:
            await make_everything_happen(process)
            await hook.wait_for(1)
            families = await page(
                process,
                *("gateway_notification_failed", "gateway_connection_closed", "probe_success"),
                *("http_client_request_duration_seconds", "gateway_telemetry_export_success"),
            )
            plain = parse_exposition(await process.operations("/metrics"))

    missing = {part: set(names.split()) - families.keys() for part, names in PARTS.items()}
    assert missing == {part: set() for part in PARTS}
    assert len(needs) == 14
    samples = [sample for family in plain.values() for sample in family.samples]
    for metric, labels in needs.items():
        found = [set(sample[1]) for sample in samples if sample[0] == metric]
        assert found, f"the rules read {metric}, which is not there"
        assert all(labels <= has for has in found), f"{metric} has {found}, not {labels}"


async def test_both_formats_are_served(tmp_path: Path) -> None:
    """OpenMetrics for who asks, the older text format for everybody else."""
    async with serving(tmp_path) as process:

        async def fetch(accept: str) -> tuple[str, str]:
            url, headers = f"{process.operations_url}/metrics", {"Accept": accept}
            async with process.http.get(url, headers=headers) as answer:
                return answer.headers["Content-Type"], await answer.text()

        plain, openmetrics = await asyncio.gather(
            fetch("*/*"), fetch("application/openmetrics-text; version=1.0.0")
        )

    assert plain[0].startswith("text/plain; version=0.0.4")
    assert openmetrics[0].startswith("application/openmetrics-text; version=1.0.0")
    assert "gateway_connection_limit" in parse_exposition(plain[1])
    assert "gateway_connection_limit" in parse_exposition(openmetrics[1], openmetrics=True)
