"""Traces as a person reads them: gatewatch, the collector with our file, and a real Jaeger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from tests.external.backends import (
    Collector,
    Jaeger,
    Trace,
    running_collector,
    running_jaeger,
)
from tests.support.back_end import back_end
from tests.support.gateway import RawClient
from tests.support.process import serving, unused_port
from tests.support.webhook import webhook_receiver

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
ROUTES = """\
route: {receiver: on-call, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers:
  - name: on-call
    webhook_configs:
      - url: %s
"""
RULES = """\
groups:
  - name: web
    interval: 1s
    rules:
      - alert: WebDown
        expr: probe_success{check="web"} == 0
"""


@dataclass(frozen=True)
class BackEnds:
    """Where traces go through, and where they end."""

    collector: Collector
    jaeger: Jaeger


@pytest.fixture
async def behind(program: Callable[[str], Path], tmp_path: Path) -> AsyncIterator[BackEnds]:
    """Run a collector and a Jaeger."""
    jaeger, otelcol = program("jaeger"), program("collector")
    async with running_jaeger(jaeger, tmp_path) as traces:
        async with running_collector(otelcol, tmp_path, jaeger=traces.otlp) as collector:
            yield BackEnds(collector, traces)


async def subscribed(client: RawClient, channel: str) -> None:
    """Connect and subscribe."""
    await client.call(connect={})
    await client.subscribe(channel)


def trace_of(traceparent: str) -> str:
    """Return the trace a ``traceparent`` belongs to."""
    return traceparent.split("-")[1]


async def test_a_message_is_one_trace_from_the_producer_to_the_consumer(
    behind: BackEnds, tmp_path: Path
):
    """Both trace themselves; gatewatch's request, publication and delivery lie between them."""
    settings = {"gateway": {"namespaces": [{"name": "chat"}]}, **behind.collector.settings()}
    async with serving(tmp_path, settings) as process:
        async with process.http.ws_connect(process.websocket_url) as socket:
            client = RawClient(socket)
            await subscribed(client, "chat:a")
            async with tracing(behind.collector, "shop") as shop:
                with shop.get_tracer("shop").start_as_current_span(
                    "place order", context=Context(), kind=SpanKind.PRODUCER
                ) as span:
                    headers: dict[str, str] = {}
                    propagate.inject(headers)
                    await process.publish("chat:a", {"order": 1}, **headers)
                trace_id = f"{span.get_span_context().trace_id:032x}"
            publication = (await client.reply())["push"]["pub"]
            async with tracing(behind.collector, "kitchen") as kitchen:
                with kitchen.get_tracer("kitchen").start_as_current_span(
                    "cook order",
                    context=propagate.extract(publication["tags"]),
                    kind=SpanKind.CONSUMER,
                ):
                    pass
        chain = ("place order", "POST /api/publish", "publish chat:*", "deliver chat:*")
        trace = await behind.jaeger.trace(trace_id, *chain, "cook order")
        deliver = trace["deliver chat:*"]
        batch = await batch_of(behind.jaeger, trace)

    assert [(trace[name].service, trace[name].kind) for name in (*chain[:3], "cook order")] == [
        ("shop", PRODUCER),
        ("gatewatch", SERVER),
        ("gatewatch", PRODUCER),
        ("kitchen", CONSUMER),
    ]
    assert trace.ancestors(deliver) == ["publish chat:*", "POST /api/publish", "place order"]
    assert trace.ancestors(trace["cook order"])[0] == "publish chat:*"
    assert trace["POST /api/publish"].attributes["http.response.status_code"] == 200
    assert trace["publish chat:*"].attributes["messaging.destination.template"] == "chat:*"
    assert deliver.attributes["gateway.fanout.count"] == 1
    send = batch["send chat:*"]
    assert (send.parent_id, send.span_id in deliver.links) == ("", True)
    assert send.links == (trace["publish chat:*"].span_id,)
    assert send.attributes["messaging.batch.message_count"] == 1


async def batch_of(jaeger: Jaeger, trace: Trace) -> Trace:
    """Return the trace of the batch a message was delivered in, by the link that leads to it."""
    (link,) = trace["deliver chat:*"].link_traces
    return await jaeger.trace(link, "send chat:*")


async def test_a_call_of_a_back_end_belongs_to_the_command_that_made_it(
    behind: BackEnds, tmp_path: Path
):
    """An rpc is a trace down to the request, whose headers carry it on."""
    async with back_end() as shop:
        shop.says({"result": {"data": {"price": 3}}})
        proxy = {"rpc": {"endpoint": shop.url("/rpc")}}
        settings = {"gateway": {"proxy": proxy}, **behind.collector.settings()}
        async with serving(tmp_path, settings) as process:
            async with process.http.ws_connect(process.websocket_url) as socket:
                client = RawClient(socket)
                await client.call(connect={})
                reply = await client.call(rpc={"method": "price", "data": {}})
            assert reply["rpc"] == {"data": {"price": 3}}
            trace = await behind.jaeger.trace(trace_of(shop.headers[0]["traceparent"]), "POST")

    request = trace["POST"]
    assert (request.kind, request.attributes["http.response.status_code"]) == (CLIENT, 200)
    assert request.span_id == shop.headers[0]["traceparent"].split("-")[2]
    assert trace.ancestors(request)[-1].startswith("rpc")


async def test_an_alert_is_a_trace_from_the_notification_to_the_webhook(
    behind: BackEnds, tmp_path: Path
):
    """The notification links to the evaluation that made the alert fire."""
    async with webhook_receiver() as hook:
        (tmp_path / "rules.yaml").write_text(RULES)
        (tmp_path / "alertmanager.yaml").write_text(ROUTES % hook.url)
        web = {
            "name": "web",
            "interval": "1s",
            "http": {"url": f"http://127.0.0.1:{unused_port()}"},
        }
        settings = {
            "health": {"checks": [web]},
            "alerts": {
                "rule_files": ["rules.yaml"],
                "default_rules": False,
                "alertmanager_config": "alertmanager.yaml",
            },
            **behind.collector.settings("grpc"),
        }
        async with serving(tmp_path, settings):
            received = (await hook.wait_for(1))[0]
            trace_id = trace_of(received.headers["traceparent"])
            trace = await behind.jaeger.trace(trace_id, "notify on-call", "POST")
            (link,) = trace["notify on-call"].link_traces
            evaluation = await behind.jaeger.trace(link, "evaluate web")

    notify, request = trace["notify on-call"], trace["POST"]
    assert (notify.kind, notify.parent_id) == (PRODUCER, "")
    assert notify.attributes["gateway.receiver"] == "on-call"
    assert (request.kind, request.parent_id) == (CLIENT, notify.span_id)
    assert request.attributes["http.response.status_code"] == 200
    assert notify.links == (evaluation["evaluate web"].span_id,)
    assert evaluation["evaluate web"].attributes["gateway.rule.group"] == "web"


async def test_credentials_in_attributes_do_not_reach_jaeger(behind: BackEnds, tmp_path: Path):
    """What a service's own instrumentation put into its spans is removed on the way."""
    secrets = {
        "http.request.header.authorization": "Bearer abc",
        "http.request.header.set-cookie": "abc",
        "db.password": "abc",
        "x-api-key": "abc",
        "user.access_token": "abc",
    }
    harmless: dict[str, str | int] = {
        "http.route": "/abc",
        "gen_ai.usage.tokens": 3,
        "cookie.count": 1,
    }
    async with tracing(behind.collector, "shop") as shop:
        span = shop.get_tracer("shop").start_span(
            "sign in", context=Context(), attributes={**secrets, **harmless}
        )
        span.end()
        trace_id = f"{span.get_span_context().trace_id:032x}"

    trace = await behind.jaeger.trace(trace_id, "sign in")
    kept = trace["sign in"].attributes
    assert {name: kept[name] for name in harmless} == harmless
    assert not kept.keys() & secrets.keys()
    assert "abc" not in json.dumps({**kept, "http.route": ""})


@asynccontextmanager
async def tracing(collector: Collector, service: str) -> AsyncIterator[TracerProvider]:
    """Give a service that traces itself; its spans are sent at the end of the block."""
    provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{collector.url()}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider
    finally:
        await asyncio.to_thread(provider.shutdown)
