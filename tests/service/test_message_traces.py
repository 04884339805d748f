"""Traces of messages that back ends publish, through a whole process."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from service.app import App
from service.telemetry.spans import FinishedSpans
from tests.support.app import api_headers, app_settings

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{'a' * 32}-{'b' * 16}-01"
CHAT = {"namespaces": [{"name": "chat"}]}


class Traced:
    """A running app, its spans, and a back end that calls it."""

    def __init__(self, app: App, http: aiohttp.ClientSession, finished: FinishedSpans) -> None:
        self.app = app
        self._http = http
        self._finished = finished

    async def publish(self, channel: str, *, tags: Any = None, **headers: str) -> None:
        """Publish one message."""
        body = {"channel": channel, "data": 1, **({"tags": tags} if tags else {})}
        url = f"{self.app.gateway_url}/api/publish"
        async with self._http.post(url, json=body, headers=headers) as answer:
            assert "result" in await answer.json()

    async def stream(self, *messages: dict[str, Any], **headers: str) -> list[ReadableSpan]:
        """Publish several in one stream, and return the spans there were before its end."""

        async def lines() -> AsyncIterator[bytes]:
            for message in messages:
                yield json.dumps(message).encode() + b"\n"

        url = f"{self.app.gateway_url}/api/publish_stream"
        async with self._http.post(url, data=lines(), headers=headers) as answer:
            for _ in messages:
                assert b"result" in await answer.content.readline()
        return self.published()

    def requests(self) -> list[ReadableSpan]:
        """Return the spans of requests."""
        return [span for span in self._finished.spans() if span.kind is SpanKind.SERVER]

    def published(self) -> list[ReadableSpan]:
        """Return the spans of messages."""
        return [span for span in self._finished.spans() if span.kind is SpanKind.PRODUCER]


@asynccontextmanager
async def traced(directory: Path, **telemetry: Any) -> AsyncIterator[Traced]:
    """Run an app with settings of telemetry."""
    finished = FinishedSpans()
    settings = app_settings(directory, gateway=CHAT, telemetry=telemetry)
    app = App(settings, environment={}, span_processors=[finished], log_stream=io.StringIO())
    async with app, aiohttp.ClientSession(headers=api_headers()) as http:
        yield Traced(app, http, finished)


def trace_of(span: ReadableSpan) -> str:
    """Return the id of a span's trace."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


async def test_what_a_publisher_wrote_into_a_message_is_linked_to(tmp_path: Path) -> None:
    """The request is the parent, the message's own trace a link; nonsense is neither."""
    async with traced(tmp_path) as running:
        await running.publish("chat:a", tags={"traceparent": OTHER}, traceparent=TRACEPARENT)
        await running.publish("chat:a", tags={"traceparent": "nonsense"})
        first, second = running.published()

    assert trace_of(first) == TRACE
    assert [f"{link.context.trace_id:032x}" for link in first.links] == ["a" * 32]
    assert not second.links


async def test_messages_of_a_stream_are_traces_of_their_own(tmp_path: Path) -> None:
    """The request's span ends when the stream begins; no message is below it, all link to it."""
    message = {"channel": "chat:a", "data": 1}
    async with traced(tmp_path) as running:
        first, second = await running.stream(
            message, {**message, "tags": {"traceparent": OTHER}}, traceparent=TRACEPARENT
        )
        (request,) = running.requests()

    assert trace_of(request) == TRACE
    assert (request.attributes or {})["http.response.status_code"] == 200
    assert (first.parent, trace_of(second)) == (None, "a" * 32)
    assert trace_of(first) != TRACE
    for span in (first, second):
        assert [link.context for link in span.links] == [request.context]
        assert (request.end_time or 0) <= (span.start_time or 0)


async def test_a_stream_leaves_nothing_behind_on_its_connection(tmp_path: Path) -> None:
    """The next request on the same connection is traced as any."""
    async with traced(tmp_path) as running:
        await running.stream({"channel": "chat:a", "data": 1})
        await running.publish("chat:a", traceparent=TRACEPARENT)
        last = running.published()[-1]

    assert trace_of(last) == TRACE
    assert not last.links


RULES = {"sampling_rules": [{"namespace": "chat", "ratio": 1.0}, {"name": "POST *", "ratio": 0}]}


@pytest.mark.parametrize(
    ("rules", "channel", "traceparent", "trace"),
    [
        pytest.param(RULES, "chat:a", TRACEPARENT, TRACE, id="more than its request"),
        pytest.param(RULES, "chat:a", f"00-{TRACE}-{SPAN}-00", None, id="the caller says no"),
        pytest.param(RULES, "news", TRACEPARENT, None, id="as its request"),
        pytest.param(
            {"sampling_rules": [{"namespace": "chat", "ratio": 0}]},
            "chat:a",
            TRACEPARENT,
            None,
            id="less than its request",
        ),
        pytest.param(
            {"sampling_rules": [{"namespace": "", "ratio": 0}]},
            "news",
            TRACEPARENT,
            None,
            id="no namespace",
        ),
    ],
)
async def test_the_share_of_a_namespace_is_that_of_its_messages(
    tmp_path: Path, rules: dict[str, Any], channel: str, traceparent: str, trace: str | None
) -> None:
    """Whatever becomes of the request a message came with."""
    async with traced(tmp_path, **rules) as running:
        await running.publish(channel, traceparent=traceparent)
        spans = running.published()

    assert [trace_of(span) for span in spans] == ([trace] if trace else [])


async def test_a_message_is_drawn_though_its_request_is_not(tmp_path: Path) -> None:
    """Without a caller's trace the message begins one."""
    async with traced(tmp_path, **RULES) as running:
        await running.publish("chat:a")
        (span,) = running.published()
        requests = running.requests()

    assert span.parent is None
    assert requests == []
