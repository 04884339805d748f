"""A producer and a consumer that trace themselves see one trace, with gatewatch in its middle."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.support.back_end import back_end
from tests.support.gateway import RawClient
from tests.support.otlp import OTLPReceiver, ReceivedSpan
from tests.support.process import API_KEY, GatewatchProcess, serving
from tests.support.webhook import webhook_receiver

PROPAGATOR = TraceContextTextMapPropagator()
CHAT = {"namespaces": [{"name": "chat", "allow_publish_for_subscriber": True}]}


@asynccontextmanager
async def traced_service(name: str, collector: OTLPReceiver) -> AsyncIterator[Tracer]:
    """Have a service that traces itself as any does, and sends to the same collector."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": name}), shutdown_on_exit=False
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces"), schedule_delay_millis=50)
    )
    try:
        yield provider.get_tracer(name)
    finally:
        await asyncio.to_thread(provider.shutdown)


@asynccontextmanager
async def subscriber(process: GatewatchProcess, channel: str) -> AsyncIterator[RawClient]:
    """Have a client that is subscribed."""
    async with process.http.ws_connect(process.websocket_url) as socket:
        client = RawClient(socket)
        await client.call(connect={})
        await client.subscribe(channel)
        yield client


@contextmanager
def produced(tracer: Tracer) -> Iterator[dict[str, str]]:
    """Produce something in a span, and yield what carries its trace."""
    with tracer.start_as_current_span("order accepted", kind=SpanKind.PRODUCER):
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        yield carrier


def consume(tracer: Tracer, publication: dict[str, Any]) -> None:
    """Handle a publication in a span of the trace it brings."""
    context = PROPAGATOR.extract(publication.get("tags", {}), Context())
    tracer.start_span("order seen", context, kind=SpanKind.CONSUMER).end()


def chain(spans: list[ReceivedSpan], last: str) -> list[tuple[str, str]]:
    """Return services and names from the top of a trace down to a span."""
    by_id = {span.span_id: span for span in spans}
    (span,) = [span for span in spans if span.name == last]
    found = []
    while True:
        found.append((span.resource["service.name"], span.name))
        if not span.parent_span_id:
            return found[::-1]
        span = by_id[span.parent_span_id]


async def one_trace(collector: OTLPReceiver) -> list[ReceivedSpan]:
    """Return the spans of the trace that a consumer went on with, when all are there."""
    seen = await collector.span("order seen")
    names = ["order accepted", "order seen", "publish chat:*", "deliver chat:*"]
    return await collector.trace(seen.trace_id, names)


@pytest.mark.parametrize("method", ["publish", "batch", "publish_stream"])
async def test_from_a_back_end_to_a_client(tmp_path: Path, method: str) -> None:
    """Whichever way it comes in, the message's trace is the producer's, and the consumer's too."""
    async with (
        OTLPReceiver() as collector,
        traced_service("orders", collector) as producer,
        traced_service("screen", collector) as consumer,
        serving(tmp_path, {**settings(collector), "gateway": CHAT}) as process,
    ):
        async with subscriber(process, "chat:a") as client:
            with produced(producer) as carrier:
                message: dict[str, Any] = {"channel": "chat:a", "data": 1}
                headers = {"X-API-Key": API_KEY}
                # In a stream each message has a trace of its own.
                if method == "publish_stream":
                    message["tags"] = carrier
                else:
                    headers |= carrier
                body = {"commands": [{"publish": message}]} if method == "batch" else message
                url = f"{process.api_url}/{method}"
                async with process.http.post(url, json=body, headers=headers) as answer:
                    assert answer.status == 200
                    # A stream is answered line by line, and ends with who does not read on.
                    assert "error" not in await answer.text()
            consume(consumer, (await client.reply())["push"]["pub"])
        spans = await one_trace(collector)
        await process.end(signal.SIGTERM)

    request = [] if method == "publish_stream" else [("gatewatch", f"POST /api/{method}")]
    assert chain(spans, "order seen") == [
        ("orders", "order accepted"),
        *request,
        ("gatewatch", "publish chat:*"),
        ("screen", "order seen"),
    ]


async def test_from_a_client_to_a_client(tmp_path: Path) -> None:
    """A client that publishes begins the trace in its command, and a back end sees it."""
    async with (
        back_end() as upstream,
        OTLPReceiver() as collector,
        traced_service("orders", collector) as producer,
        traced_service("screen", collector) as consumer,
    ):
        gateway = {
            "namespaces": [{"name": "chat", "publish_proxy_enabled": True}],
            "proxy": {"publish": {"endpoint": upstream.url()}},
        }
        async with (
            serving(tmp_path, {**settings(collector), "gateway": gateway}) as process,
            subscriber(process, "chat:a") as client,
        ):
            with produced(producer) as carrier:
                await client.call(publish={"channel": "chat:a", "data": 1}, meta=carrier)
            consume(consumer, (await client.reply())["push"]["pub"])
            spans = await one_trace(collector)

    (asked,) = upstream.headers
    (post,) = [span for span in spans if span.name == "POST"]
    assert asked["traceparent"] == f"00-{post.trace_id}-{post.span_id}-01"
    assert [name for _, name in chain(spans, "POST")] == [
        "order accepted",
        "publish chat:*",
        "ask publish",
        "POST",
    ]
    assert chain(spans, "order seen")[0] == ("orders", "order accepted")


async def test_checks_and_webhooks_carry_their_traces_and_no_baggage(tmp_path: Path) -> None:
    """The target of a check and the receiver of an alert can go on with the trace."""
    rules = "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: vector(1)}]}]"
    (tmp_path / "rules.yml").write_text(rules)
    async with back_end() as target, OTLPReceiver() as collector, webhook_receiver() as receiver:
        routes = "route: {receiver: r, group_wait: 0s}\nreceivers: [{name: r, webhook_configs: "
        (tmp_path / "alertmanager.yml").write_text(f'{routes}[{{url: "{receiver.url}"}}]}}]')
        check = {"url": target.url(), "method": "POST", "body": "{}"}
        silent = {**check, "url": target.url("/silent"), "send_traceparent": False}
        checks = [
            {"name": name, "interval": "1s", "http": http}
            for name, http in (("web", check), ("silent", silent))
        ]
        alerts = {"rule_files": ["rules.yml"], "alertmanager_config": "alertmanager.yml"}
        options = {**settings(collector), "health": {"checks": checks}, "alerts": alerts}
        async with serving(tmp_path, options):
            (received, *_) = await receiver.wait_for(1)
            notified = await collector.span("notify r")
            await collector.span("check web")
            await collector.span("check silent")

    ids = received.headers["traceparent"].split("-")
    assert ids[1] == notified.trace_id
    assert {"traceparent" in headers for headers in target.headers} == {True, False}
    assert not any("baggage" in headers for headers in [*target.headers, received.headers])


def settings(collector: OTLPReceiver) -> dict[str, Any]:
    """Return where spans go."""
    return {"telemetry": {"otlp": {"endpoint": collector.url}}}
