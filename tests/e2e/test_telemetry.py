"""What the process exports to a collector, and what a bad collector costs: nothing."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.gateway import RawClient
from tests.support.otlp import OTLPReceiver, ReceivedSpan
from tests.support.process import GatewatchProcess, serving, unused_port

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PUBLISHER_SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PUBLISHER_SPAN}-01"
CHAIN = ["POST /api/publish", "publish chat:*", "deliver chat:*"]


async def delivered(process: GatewatchProcess, channel: str, **headers: str) -> dict[str, Any]:
    """Publish one message and return the publication a subscriber received."""
    async with process.http.ws_connect(process.websocket_url) as socket:
        client = RawClient(socket)
        await client.call(connect={})
        await client.subscribe(channel)
        await process.publish(channel, {"n": 1}, **headers)
        publication: dict[str, Any] = (await client.reply())["push"]["pub"]
        return publication


async def test_one_message_is_one_trace(tmp_path: Path) -> None:
    """From the publisher's span to the last write, linked both ways with the batch it was in.

    The endpoint comes from the standard variable.
    """
    settings = {"gateway": {"namespaces": [{"name": "chat"}]}}
    async with OTLPReceiver() as collector:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with serving(tmp_path, settings, environ=environ) as process:
            publication = await delivered(process, "chat:a", traceparent=TRACEPARENT)
            ended = await process.end(signal.SIGTERM)
        spans = {span.name: span for span in await collector.trace(TRACE_ID, CHAIN)}
        send = await collector.span("send chat:*")

    server, publish, deliver = (spans[name] for name in CHAIN)
    assert len(spans) == 3
    assert (server.span.kind, server.parent_span_id) == (Span.SPAN_KIND_SERVER, PUBLISHER_SPAN)
    assert (publish.span.kind, publish.parent_span_id) == (
        Span.SPAN_KIND_PRODUCER,
        server.span_id,
    )
    assert (deliver.span.kind, deliver.parent_span_id) == (
        Span.SPAN_KIND_INTERNAL,
        publish.span_id,
    )
    assert (send.parent_span_id, send.trace_id == TRACE_ID) == ("", False)
    assert (send.links, deliver.links) == ([publish.span_id], [send.span_id])
    assert publication["tags"] == {"traceparent": f"00-{TRACE_ID}-{publish.span_id}-01"}
    assert server.resource["service.instance.id"] == "under-test"
    assert server.attributes["http.response.status_code"] == 200
    assert ended.code == 0
    assert in_order(server, publish, deliver)


def in_order(server: ReceivedSpan, publish: ReceivedSpan, deliver: ReceivedSpan) -> bool:
    """Whether each span starts after its parent, and the message was written before it ended.

    The publisher may have its answer earlier: what comes in the same moment is one batch.
    """
    starts = [span.span.start_time_unix_nano for span in (server, publish, deliver)]
    return starts == sorted(starts) and (
        deliver.span.end_time_unix_nano >= publish.span.end_time_unix_nano
    )


async def test_metrics_and_logs_arrive_as_well(tmp_path: Path) -> None:
    """Counts of the gateway are exported, and log records carry the trace they belong to."""
    # A check that fails says so in the log, inside the span of its run.
    web = {"name": "web", "interval": "1s", "http": {"url": f"http://127.0.0.1:{unused_port()}"}}
    async with OTLPReceiver() as collector:
        settings = {
            "telemetry": {"otlp": {"endpoint": collector.url}},
            "health": {"checks": [web]},
        }
        async with serving(tmp_path, settings) as process:
            await delivered(process, "news")
            (log, *_) = await collector.wait_for(
                lambda: [log for log in collector.logs if log.body.startswith("check web is")],
                10,
                "log record of the check",
            )
            (count, *_) = await collector.wait_for(
                lambda: [
                    point.as_int
                    for metric in collector.metrics
                    if metric.name == "gateway.message.delivered"
                    for point in metric.metric.sum.data_points
                    if point.as_int
                ],
                10,
                "delivered message",
            )
            await process.end(signal.SIGTERM)
            stopping = await collector.log("stopping")
            check = await collector.span("check web")

    assert count == 1
    assert (log.trace_id, log.span_id) == (check.trace_id, check.span_id)
    assert (stopping.logger, stopping.trace_id) == ("service.serving", "")
    assert stopping.resource == check.resource


@pytest.mark.usefixtures("installed")
async def test_a_collector_that_is_away_or_hangs_costs_nothing(tmp_path: Path) -> None:
    """Start, delivery and stop go on; the stop waits for telemetry.shutdown_timeout, not longer."""

    async def use(directory: Path, endpoint: str) -> int:
        # Long enough that a busy machine is not taken for one that waits for the collector.
        telemetry = {"otlp": {"endpoint": endpoint, "timeout": "10m"}, "shutdown_timeout": "500ms"}
        async with serving(directory, {"telemetry": telemetry}) as process:
            for _ in range(3):
                await delivered(process, "news", traceparent=TRACEPARENT)
            ended = await process.end(signal.SIGTERM)
            return ended.code

    for name in ("away", "hung"):
        (tmp_path / name).mkdir()
    async with OTLPReceiver(mode="hang") as hanging:
        away, hung = await asyncio.gather(
            use(tmp_path / "away", f"http://127.0.0.1:{unused_port()}"),
            use(tmp_path / "hung", hanging.url),
        )
        assert hanging.requests

    assert (away, hung) == (0, 0)
