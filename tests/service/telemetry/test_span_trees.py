"""Traces as people see them on a terminal."""

from __future__ import annotations

import io

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from rich.console import Console

from service.telemetry.span_trees import draw, linked_to
from service.telemetry.spans import FinishedSpans

PUBLISHER = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))


def one_message(memory: FinishedSpans) -> None:
    """Record a request, what it published, and the batch that carried it; one ms for each."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(memory)
    tracer = provider.get_tracer("tests")
    remote = set_span_in_context(NonRecordingSpan(PUBLISHER), Context())
    request = tracer.start_span("POST /api/publish", remote, SpanKind.SERVER, start_time=1_000_000)
    below = set_span_in_context(request, Context())
    publish = tracer.start_span(
        "publish [chat]",
        below,
        SpanKind.PRODUCER,
        start_time=2_000_000,
        attributes={"messaging.message.body.size": 35, "messaging.system": "gatewatch"},
    )
    send = tracer.start_span(
        "send", Context(), links=[Link(publish.get_span_context())], start_time=3_000_000
    )
    tracer.start_span("other", Context(), start_time=0).end(1)
    for number, span in enumerate((send, publish, request)):
        span.end(4_000_000 + number * 1_000_000)


def test_a_trace_is_in_order_of_start_and_knows_its_batch() -> None:
    """Spans end inside out, and are told from the outside in."""
    memory = FinishedSpans()
    one_message(memory)

    assert [span.name for span in memory.trace(1)] == ["POST /api/publish", "publish [chat]"]
    assert [span.name for span in linked_to(1, memory.spans())] == ["send"]
    assert memory.trace(3) == []


def test_a_trace_is_drawn_as_a_tree() -> None:
    """Children are below their parents, with times since the first and a few attributes."""
    memory = FinishedSpans()
    one_message(memory)
    output = io.StringIO()
    Console(file=output, width=200).print(draw(memory.trace(1), linked_to(1, memory.spans())))

    assert [line.rstrip() for line in output.getvalue().splitlines()] == [
        "trace 00000000000000000000000000000001",
        "├── POST /api/publish  SERVER  +0.00 ms, 5.00 ms",
        "│   └── publish [chat]  PRODUCER  +1.00 ms, 3.00 ms  size=35",
        "└── linked batch: send  INTERNAL  +2.00 ms, 1.00 ms",
    ]


def test_details_are_drawn_on_request() -> None:
    """All attributes by their whole names, errors, events and links, and nothing twice."""
    memory = FinishedSpans()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(memory)
    span = provider.get_tracer("tests").start_span(
        "GET /a",
        Context(),
        links=[Link(PUBLISHER)],
        start_time=0,
        attributes={"http.request.method": "GET", "url.path": "/[b]"},
    )
    span.add_event("exception", timestamp=2_000_000)
    span.set_status(StatusCode.ERROR, "[no] luck")
    span.end(3_000_000)
    output = io.StringIO()
    Console(file=output, width=200).print(draw(memory.spans(), is_detailed=True))

    assert [line.rstrip() for line in output.getvalue().splitlines()][1:] == [
        "└── GET /a  INTERNAL  +0.00 ms, 3.00 ms  url.path=/[b]",
        "    ├── error: [no] luck",
        "    ├── event exception  +2.00 ms",
        f"    └── link to {1:032x} {2:016x}",
    ]


def test_a_deep_trace_is_drawn() -> None:
    """However deep spans are nested, drawing them does not fail."""
    memory = FinishedSpans()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(memory)
    tracer = provider.get_tracer("tests")
    parent = tracer.start_span("top", Context(), start_time=0)
    for depth in range(1, 3000):
        child = tracer.start_span("below", set_span_in_context(parent, Context()), start_time=depth)
        parent.end(5000)
        parent = child
    parent.end(5000)

    assert draw(sorted(memory.spans(), key=lambda span: span.start_time or 0)).children
