"""From a figure to the trace behind it: exemplars, wherever metrics are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.exposition import parse_exposition
from tests.support.gateway import RawClient
from tests.support.otlp import OTLPReceiver
from tests.support.process import GatewatchProcess, eventually, serving

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
FIGURES = {
    "gateway.message.latency": "gateway_message_latency_seconds",
    "gateway.batch.wait": "gateway_batch_wait_seconds",
    "gateway.batch.size": "gateway_batch_size",
    "http.server.request.duration": "http_server_request_duration_seconds",
}


async def deliver_one(process: GatewatchProcess) -> None:
    """Publish a traced message to a subscriber."""
    async with process.http.ws_connect(process.websocket_url) as socket:
        client = RawClient(socket)
        await client.call(connect={})
        await client.subscribe("chat:a")
        await process.publish("chat:a", {"n": 1}, traceparent=TRACEPARENT)
        await client.published()


async def found_by_query(process: GatewatchProcess, metric: str) -> list[dict[str, Any]]:
    """Return the series of a metric that have exemplars, once there are some."""

    async def find() -> list[dict[str, Any]]:
        text = await process.operations(f"/api/v1/query_exemplars?query={metric}_bucket")
        series: list[dict[str, Any]] = json.loads(text)["data"]
        return series

    return await eventually(find, what=f"exemplars of {metric}")


async def found_on_page(process: GatewatchProcess) -> dict[str, set[str]]:
    """Return the traces that the OpenMetrics page names, by family, once it has the message."""

    async def find() -> dict[str, set[str]]:
        text = await process.operations("/metrics", Accept="application/openmetrics-text")
        families = parse_exposition(text, openmetrics=True)
        if not families.keys() >= set(FIGURES.values()):
            return {}
        return {
            name: {sample[3]["trace_id"] for sample in family.samples if sample[3]}
            for name, family in families.items()
        }

    return await eventually(find, what="the message on the page")


async def exemplar_arrives(collector: OTLPReceiver, metric: str) -> None:
    """Wait until a point of a metric names the trace."""

    def find() -> list[bytes]:
        return [
            exemplar.trace_id
            for received in collector.metrics
            if received.name == metric
            for point in received.metric.histogram.data_points
            for exemplar in point.exemplars
            if exemplar.trace_id.hex() == TRACE_ID
        ]

    await collector.wait_for(find, 10, f"exemplar of {metric}")


async def test_a_traced_message_is_found_from_each_figure_it_is_in(tmp_path: Path) -> None:
    """Its trace is in query_exemplars, on the OpenMetrics page and at the collector.

    A scrape in between takes nothing away from the others.
    """
    async with OTLPReceiver() as collector:
        settings = {
            "gateway": {"namespaces": [{"name": "chat"}]},
            "telemetry": {
                "otlp": {"endpoint": collector.url},
                "collect_interval": "200ms",
                "export_interval": "200ms",
            },
        }
        async with serving(tmp_path, settings) as process:
            await deliver_one(process)
            page = await found_on_page(process)
            queried = {name: await found_by_query(process, name) for name in FIGURES.values()}
            for name in FIGURES:
                await exemplar_arrives(collector, name)

    for name, series in queried.items():
        assert TRACE_ID in page[name], name
        exemplars = [each for one in series for each in one["exemplars"]]
        assert TRACE_ID in {each["labels"]["trace_id"] for each in exemplars}, name
    (latency,) = queried["gateway_message_latency_seconds"]
    assert latency["seriesLabels"]["messaging_destination_template"] == "chat:*"


async def test_what_is_not_traced_leaves_no_exemplars(tmp_path: Path) -> None:
    """Without a trace there is nothing to point to."""
    async with OTLPReceiver() as collector:
        settings = {
            "gateway": {"namespaces": [{"name": "chat"}]},
            "telemetry": {"otlp": {"endpoint": collector.url}, "sampling": 0},
        }
        async with serving(tmp_path, settings) as process:
            await deliver_one(process)
            page = await found_on_page(process)

    assert page["gateway_message_latency_seconds"] == set()
    assert not any(page.values())
