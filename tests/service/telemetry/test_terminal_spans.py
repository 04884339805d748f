"""Traces on the terminal: printed when they are complete, by a thread that holds up nobody."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer, set_span_in_context

from service.app import App
from service.telemetry.sampling import create_sampler
from service.telemetry.terminal_spans import TerminalSpans
from tests.support.app import app_settings


@contextmanager
def printing(
    stream: io.TextIOBase, *, ratio: float = 1.0, quiet_s: float = 0.0
) -> Iterator[tuple[Tracer, TerminalSpans]]:
    """Have a tracer whose spans are printed."""
    terminal = TerminalSpans(stream, quiet_s=quiet_s)  # type: ignore[arg-type]  # has what it uses
    provider = TracerProvider(sampler=create_sampler(ratio), shutdown_on_exit=False)
    provider.add_span_processor(terminal)
    try:
        yield provider.get_tracer("tests"), terminal
    finally:
        terminal.shutdown()


def test_a_trace_is_one_tree() -> None:
    """Spans that end one after the other are printed together, the first one on top."""
    output = io.StringIO()
    with printing(output, quiet_s=60.0) as (tracer, _):
        parent = tracer.start_span("request", Context())
        tracer.start_span("publish", set_span_in_context(parent, Context())).end()
        parent.end()

    _, first, second = output.getvalue().splitlines()
    assert first.startswith("└── request  ")
    assert second.startswith("    └── publish  ")


def test_a_trace_is_printed_when_nothing_is_added() -> None:
    """Without waiting for the stop, and what is not sampled is not printed."""
    output = io.StringIO()
    with printing(output) as (tracer, terminal):
        tracer.start_span("request", Context()).end()
        printed = terminal.force_flush()
        shown = output.getvalue()
    with printing(output, ratio=0.0) as (tracer, _):
        tracer.start_span("other", Context()).end()

    assert printed
    assert "request" in shown
    assert "other" not in output.getvalue()


@pytest.mark.parametrize("spans", [200, 203])
def test_a_trace_has_a_bound(spans: int) -> None:
    """A trace of very many spans says how many are not shown."""
    output = io.StringIO()
    with printing(output, quiet_s=60.0) as (tracer, _):
        parent = tracer.start_span("request", Context())
        for _ in range(spans - 1):
            tracer.start_span("publish", set_span_in_context(parent, Context())).end()
        parent.end()

    assert ("and 3 more spans" in output.getvalue()) is (spans == 203)


def test_a_terminal_that_is_stopped_holds_up_nobody() -> None:
    """Spans end, and closing gives up, while a write to the terminal does not return."""
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    terminal = TerminalSpans(stream, quiet_s=0.0)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(terminal)
    tracer = provider.get_tracer("tests")
    for _ in range(2000):  # more than a pipe holds
        tracer.start_span("request " + "x" * 100, Context()).end()
    terminal.shutdown()

    os.close(reading)  # the write fails now, and the thread ends
    threads = [each for each in threading.enumerate() if each.name == "print-traces"]
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert terminal.left_out > 0
    with pytest.raises(BrokenPipeError):  # what is still in its buffer
        stream.close()


async def test_the_setting_prints_requests(tmp_path: Path) -> None:
    """With telemetry.debug a request is printed, without a collector."""
    settings = app_settings(tmp_path, telemetry={"debug": True})
    output = io.StringIO()
    async with App(settings, environment={}, log_stream=output) as app:
        async with aiohttp.ClientSession() as http, http.get(f"{app.operations_url}/jobs") as got:
            assert got.status == 200

    assert "GET /jobs  SERVER" in output.getvalue()
    assert "http.response.status_code=200" in output.getvalue()
