"""The list of spans is true: what real traffic leaves behind is on it, and all of it is left."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind

from alerts.spans import SpanDefinition
from service.app import App
from service.health.monitor import job_name
from service.telemetry.span_definitions import (
    ASK,
    COMMAND,
    HTTP_CLIENT,
    HTTP_REQUEST,
    JOB,
    SPAN_DEFINITIONS,
)
from service.telemetry.spans import FinishedSpans
from tests.support.app import api_headers, app_settings
from tests.support.back_end import back_end
from tests.support.gateway import RawClient, until
from tests.support.webhook import webhook_receiver

RULES = """\
groups:
  - name: always
    interval: 1s
    rules:
      - {alert: Always, expr: vector(1)}
"""
ROUTES = """\
route: {receiver: ops, group_wait: 0s, group_interval: 1s}
receivers: [{name: ops, webhook_configs: [{url: "%s"}]}]
"""
SECRET = "channel-of-somebody"


@asynccontextmanager
async def traced_app(directory: Path) -> AsyncIterator[tuple[App, FinishedSpans]]:
    """Run an app that asks back ends, checks something, and has an alert that fires."""
    (directory / "rules.yml").write_text(RULES)
    async with back_end() as upstream, webhook_receiver() as receiver:
        (directory / "alertmanager.yml").write_text(ROUTES % receiver.url)
        finished = FinishedSpans()
        settings = app_settings(
            directory,
            gateway={
                "namespaces": [
                    {
                        "name": "chat",
                        "publish_proxy_enabled": True,
                        "subscribe_proxy_enabled": True,
                    }
                ],
                "proxy": {
                    event: {"endpoint": upstream.url()} for event in ("rpc", "publish", "subscribe")
                },
            },
            health={"checks": [{"name": "web", "http": {"url": upstream.url(), "method": "POST"}}]},
            alerts={
                "rule_files": [str(directory / "rules.yml")],
                "alertmanager_config": str(directory / "alertmanager.yml"),
                "private_addresses": True,
            },
        )
        app = App(settings, environment={}, span_processors=[finished], log_stream=io.StringIO())
        async with app:
            yield app, finished


async def use_everything(app: App) -> None:
    """Send what clients, back ends and operators send."""
    channel = f"chat:{SECRET}"
    publish = {"channel": channel, "data": 1}
    async with aiohttp.ClientSession(headers=api_headers()) as http:
        url = app.gateway_url.replace("http", "ws", 1) + "/connection/websocket"
        async with http.ws_connect(url) as socket:
            client = RawClient(socket)
            await client.call(connect={})
            await client.subscribe(channel)
            await client.call(publish=publish)
            await client.call(rpc={"method": SECRET, "data": {}})
            await client.call(history={"channel": SECRET})
            await http.post(f"{app.gateway_url}/api/publish", json=publish)
            commands = [{"publish": publish}, {"broadcast": {"channels": [channel], "data": 2}}]
            await http.post(f"{app.gateway_url}/api/batch", json={"commands": commands})
            for _ in range(3):
                await client.published()
    await http_get(f"{app.operations_url}/jobs")
    await http_get(f"{app.operations_url}/api/v1/query?query=up")
    await http_get(f"{app.operations_url}/nowhere")
    await app.scheduler.run_now(job_name("web"))


async def http_get(url: str) -> None:
    """Get a page."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        await answer.read()


def definitions_of(span: ReadableSpan) -> list[SpanDefinition]:
    """Return the definitions that a span may be of."""
    found = span.attributes or {}
    return [each for each in SPAN_DEFINITIONS if each.matches(span.name, span.kind, found)]


async def test_all_spans_are_defined_and_all_definitions_are_seen(tmp_path: Path) -> None:
    """Every span has a definition that knows its attributes, and every definition has a span."""
    async with traced_app(tmp_path) as (app, finished):
        await use_everything(app)

        def missing() -> set[str]:
            seen = {each.name for span in finished.spans() for each in definitions_of(span)}
            return {definition.name for definition in SPAN_DEFINITIONS} - seen

        await until(lambda: not missing(), what="spans of all definitions")
    spans = finished.spans()

    for span in spans:
        (definition,) = definitions_of(span)
        known = {attribute.name for attribute in definition.attributes}
        assert "*" in known or set(span.attributes or {}) <= known, span.to_json()


async def test_names_are_few(tmp_path: Path) -> None:
    """Neither a channel nor a method of a client's choice is in the name of a span."""
    async with traced_app(tmp_path) as (app, finished):
        await use_everything(app)
        await until(lambda: any(span.name == "job check web" for span in finished.spans()))
    names = {span.name for span in finished.spans()}

    assert not [name for name in names if SECRET in name]
    assert {"subscribe chat:*", "publish chat:*", "rpc *", "history *", "connect"} <= names
    assert {"ask rpc", "ask publish", "ask subscribe", "GET", "POST"} <= names


@pytest.mark.parametrize(
    ("definition", "name", "kind", "matches"),
    [
        pytest.param(HTTP_REQUEST, "GET /ok/{id}", SpanKind.SERVER, True, id="a route"),
        pytest.param(HTTP_REQUEST, "GET", SpanKind.SERVER, True, id="no route"),
        pytest.param(COMMAND, "subscribe", SpanKind.SERVER, True, id="no channel"),
        pytest.param(HTTP_CLIENT, "GET", SpanKind.CLIENT, True, id="a method"),
        pytest.param(HTTP_CLIENT, "GET", SpanKind.SERVER, False, id="another kind"),
        pytest.param(ASK, "ask", SpanKind.INTERNAL, False, id="a part is missing"),
        pytest.param(JOB, "a job web", SpanKind.INTERNAL, False, id="more than the name"),
    ],
)
def test_a_span_is_known_by_name_and_kind(
    definition: SpanDefinition, name: str, kind: SpanKind, matches: bool
) -> None:
    """With all attributes it always has, a span is one of a definition."""
    attributes = {attribute.name for attribute in definition.attributes}

    assert definition.matches(name, kind, attributes) is matches
    assert not definition.matches(name, kind, ())


def test_a_span_without_a_parent_ignores_the_current_one() -> None:
    """What is started in an empty context has no parent, even where another span is current."""
    finished = FinishedSpans()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(finished)
    tracer = provider.get_tracer("test")

    with tracer.start_as_current_span("request"):
        JOB.start(tracer, {"job": "a"}, context=Context(), attributes={}).end()

    job = finished.spans()[0]
    assert (job.name, job.kind, job.parent) == ("job a", SpanKind.INTERNAL, None)


def test_an_attribute_is_defined_once() -> None:
    """No definition has an attribute twice."""
    for definition in SPAN_DEFINITIONS:
        names = [attribute.name for attribute in definition.attributes]
        assert len(names) == len(set(names)), definition.name
