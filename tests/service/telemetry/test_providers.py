"""Telemetry as a whole, against a collector on loopback."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry import metrics as metrics_api
from opentelemetry import propagate
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

from alerts.clock import ManualClock, SystemClock
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.series.store import SeriesStore
from service.config.settings import Settings
from service.telemetry.definitions.gateway_metrics import CHANNEL_COUNT
from service.telemetry.exposition import PROMETHEUS_TEXT, render
from service.telemetry.providers import Telemetry
from service.telemetry.recorded_spans import RecordedSpan
from service.telemetry.span_definitions import HTTP_REQUEST
from service.telemetry.spans import FinishedSpans
from tests.support.app import labels, readings
from tests.support.exposition import parse_exposition
from tests.support.otlp import Mode, OTLPReceiver


def create(
    endpoint: str = "",
    *,
    environment: dict[str, str] | None = None,
    processors: Sequence[SpanProcessor] = (),
    stream: io.StringIO | None = None,
    protocol: str = "http/protobuf",
    **telemetry: Any,
) -> Telemetry:
    """Build telemetry for a collector; nothing happens by itself but what the test asks for."""
    otlp = {"endpoint": endpoint, "timeout": "1s"}
    if endpoint:
        otlp["protocol"] = protocol
    settings = {"collect_interval": "1h", "shutdown_timeout": "5s", "otlp": otlp, **telemetry}
    return Telemetry(
        Settings.model_validate({"telemetry": settings}),
        environment=environment or {},
        clock=SystemClock(),
        span_processors=processors,
        log_stream=stream or io.StringIO(),
    )


def start_request(telemetry: Telemetry) -> RecordedSpan:
    """Start a span of a fixed shape, as requests have it."""
    spans = telemetry.instruments.spans
    parts = {"http.request.method": "GET", "http.route": "/x"}
    shape = spans.shape(HTTP_REQUEST, {"method": "GET", "route": "/x"}, parts)
    return spans.start(shape, None, ())


def unused_address() -> str:
    """Return a loopback URL nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def export_counts(telemetry: Telemetry) -> dict[str, tuple[int, int]]:
    """Return what was sent and what was dropped, by signal."""
    queues = telemetry._exports.queues
    return {name: (queue.stats.sent, queue.stats.dropped) for name, queue in queues.items()}


async def test_spans_metrics_and_logs_reach_the_collector():
    """One endpoint is all it takes to send traces, metrics and logs, joined by their ids."""
    async with OTLPReceiver() as collector, create(collector.url) as telemetry:
        telemetry.observers.observe(CHANNEL_COUNT, lambda: [(7, {})])
        with telemetry.tracer.start_as_current_span("work"):
            logging.getLogger("test").warning("half done", extra={"step": 3})
        start_request(telemetry).end()
        await telemetry.collection.collect_now()

        span = await collector.span("work")
        log = await collector.log("half done")
        metric = await collector.metric("gateway.channel.count")
        request = await collector.span("GET /x")

    assert request.attributes["http.route"] == "/x"
    assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)
    assert log.attributes["step"] == 3
    assert metric.metric.sum.data_points[0].as_int == 7


async def test_grpc_is_spoken_when_asked_for():
    """``protocol: grpc`` sends the same three signals over gRPC."""
    async with (
        OTLPReceiver(with_grpc=True) as collector,
        create(collector.grpc_url, protocol="grpc") as telemetry,
    ):
        telemetry.tracer.start_span("work").end()
        start_request(telemetry).end()
        logging.getLogger("test").warning("done")
        await telemetry.collection.collect_now()

        await collector.span("work")
        await collector.span("GET /x")
        await collector.log("done")
        await collector.metric("process.uptime")

    assert set(collector.requests) == {"grpc/traces", "grpc/logs", "grpc/metrics"}


async def test_every_signal_says_who_sent_it():
    """Traces, metrics and logs carry the same resource."""
    environment = {"OTEL_RESOURCE_ATTRIBUTES": "team=a", "OTEL_SERVICE_NAME": "chat"}
    async with (
        OTLPReceiver() as collector,
        create(collector.url, environment=environment) as telemetry,
    ):
        telemetry.tracer.start_span("work").end()
        logging.getLogger("test").warning("done")
        await telemetry.collection.collect_now()

        resources = [
            (await collector.span("work")).resource,
            (await collector.log("done")).resource,
            (await collector.metric("process.uptime")).resource,
        ]

    assert resources[0] == resources[1] == resources[2]
    assert (resources[0]["service.name"], resources[0]["team"]) == ("chat", "a")
    assert telemetry.service_name == "chat"


async def test_headers_are_sent_with_every_request():
    """Headers of the settings reach the collector."""
    async with OTLPReceiver() as collector:
        otlp = {"endpoint": collector.url, "headers": {"X-Token": "secret"}}
        async with create(otlp=otlp) as telemetry:
            telemetry.tracer.start_span("work").end()
            await collector.span("work")

    assert collector.headers["x-token"] == "secret"


async def test_what_a_collector_says_is_measured():
    """Whether it accepts, what it refused of a request, and how much may wait."""
    async with OTLPReceiver() as collector, create(collector.url) as telemetry:
        collector.rejected = 1
        telemetry.tracer.start_span("work").end()
        await telemetry.flush()
        good = readings((await telemetry.collection.collect_now()).metrics)
        collector.mode = "refuse"
        telemetry.tracer.start_span("work").end()
        await telemetry.flush()
        bad = readings((await telemetry.collection.collect_now()).metrics)

    traces = labels(gateway__telemetry__signal="traces")
    assert good["gateway.telemetry.export.success"][traces] == 1
    assert good["gateway.telemetry.rejected"][traces] == 1
    assert good["gateway.telemetry.exported"][traces] == 1
    assert bad["gateway.telemetry.export.success"][traces] == 0
    assert bad["gateway.telemetry.dropped"][traces] == 1
    assert bad["gateway.telemetry.queue.size"][traces] == 0
    assert bad["gateway.telemetry.queue.capacity"][traces] == 2048


async def test_nothing_configured_sends_and_records_nothing():
    """Without a collector there is no queue, no recorded span and no complaint, but metrics."""
    stream = io.StringIO()
    async with create(stream=stream) as telemetry:
        span = telemetry.tracer.start_span("work")
        _, page = await telemetry.render_metrics("")

    assert not span.is_recording()
    assert telemetry.sampling.decide() is None
    assert export_counts(telemetry) == {}
    assert b"process_uptime_seconds" in page
    assert stream.getvalue() == ""


async def test_a_consumer_in_the_process_is_reason_enough_to_record():
    """Spans are recorded when somebody looks at them, without any collector."""
    finished = FinishedSpans()
    async with create(processors=[finished]) as telemetry:
        context = telemetry.sampling.decide()
        span = telemetry.tracer.start_span("message", context=context)
        span.end()

    assert [found.name for found in finished.trace(span.get_span_context().trace_id)] == ["message"]


async def test_rules_of_the_settings_are_followed():
    """A span by its name, a message by its channel, and the others as they are."""
    finished = FinishedSpans()
    rules = [{"name": "job *", "ratio": 0}, {"namespace": "chat", "ratio": 0}]
    async with create(processors=[finished], sampling_rules=rules) as telemetry:
        for name in ("job a", "check a"):
            telemetry.tracer.start_span(name).end()
        failed = telemetry.tracer.start_span("job b")
        failed.set_status(StatusCode.ERROR)
        failed.end()

    assert [span.name for span in finished.spans()] == ["check a"]
    assert telemetry.sampling.rules.about("publish", "chat:*") == 0


async def test_what_fails_reaches_the_collector_unsampled():
    """With next to no sampling a span that failed is sent, with the reason, and no other."""
    async with OTLPReceiver() as collector, create(collector.url, sampling=1e-9) as telemetry:
        telemetry.tracer.start_span("good").end()
        failed = telemetry.tracer.start_span("failed")
        failed.set_status(StatusCode.ERROR)
        failed.end()
        span = await collector.span("failed")

    assert span.attributes == {"gateway.sampling.reason": "error"}
    assert [each.name for each in collector.spans] == ["failed"]


async def test_bad_trace_context_is_counted_by_kind():
    """The page of metrics says what was wrong with what peers sent."""
    async with create() as telemetry:
        parents = telemetry.sampling.trace_parents
        parents.parse("nonsense")
        parents.of_headers(CIMultiDictProxy(CIMultiDict(baggage="a=1")))
        _, page = await telemetry.render_metrics("")

    name = "gateway_telemetry_trace_parents_total"
    counts = {
        line.partition("}")[0].partition('error_type="')[2].strip('"'): line.split()[-1]
        for line in page.decode().splitlines()
        if line.startswith(name)
    }
    assert (counts["malformed"], counts["baggage"], counts["repeated"]) == ("1", "1", "0")


async def test_the_disabled_sdk_does_nothing():
    """``OTEL_SDK_DISABLED`` turns spans, metrics and exports off, and the log says so."""
    stream = io.StringIO()
    async with OTLPReceiver() as collector:
        environment = {"OTEL_SDK_DISABLED": "true"}
        async with create(collector.url, environment=environment, stream=stream) as telemetry:
            telemetry.tracer.start_span("work").end()
            start_request(telemetry).end()
            telemetry.instruments.job_duration.record(1.0)
            telemetry.observers.observe(CHANNEL_COUNT, lambda: [(1, {})])
            _, page = await telemetry.render_metrics("")

    assert collector.requests == []
    assert list(parse_exposition(page.decode())) == ["target_info"]
    assert "OTEL_SDK_DISABLED" in json.loads(stream.getvalue())["message"]


async def test_nothing_is_set_globally():
    """The process's global providers and propagator are what they were."""
    before = (
        trace_api.get_tracer_provider(),
        metrics_api.get_meter_provider(),
        propagate.get_global_textmap(),
    )

    async with OTLPReceiver() as collector, create(collector.url):
        pass

    assert before == (
        trace_api.get_tracer_provider(),
        metrics_api.get_meter_provider(),
        propagate.get_global_textmap(),
    )


async def test_leaving_flushes():
    """What was recorded just before the end arrives, the last state of the metrics included."""
    async with OTLPReceiver() as collector:
        async with create(collector.url) as telemetry:
            telemetry.observers.observe(CHANNEL_COUNT, lambda: [(3, {})])
            telemetry.tracer.start_span("last").end()
            logging.getLogger("test").warning("bye")

        await collector.span("last")
        await collector.log("bye")
        await collector.metric("gateway.channel.count")

    assert all(dropped == 0 for _, dropped in export_counts(telemetry).values())


@pytest.mark.parametrize("mode", ["hang", "unavailable", "refuse"])
async def test_a_bad_collector_costs_telemetry_only(mode: Mode):
    """Whatever the collector does, recording goes on, the end comes, and the loss is counted."""
    async with OTLPReceiver(mode=mode) as collector:
        async with create(collector.url, shutdown_timeout="200ms") as telemetry:
            telemetry.tracer.start_span("lost").end()
            await collector.request()
            telemetry.tracer.start_span("lost too").end()

    assert export_counts(telemetry)["traces"] == (0, 2)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_silent_collector_never_stalls_the_loop(protocol: str):
    """While the end waits for a collector that says nothing, the loop keeps running callbacks."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        telemetry = create(endpoint, protocol=protocol, shutdown_timeout="300ms")
        await telemetry.__aenter__()
        for _ in range(1000):
            telemetry.tracer.start_span("lost").end()
        turns = 0
        closing = asyncio.create_task(telemetry.aclose())

        while not closing.done():
            turns += 1
            await asyncio.sleep(0.005)
        await closing

    assert turns >= 5
    assert export_counts(telemetry)["traces"] == (0, 1000)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_an_unreachable_collector_costs_telemetry_only(protocol: str):
    """Where nobody listens, everything is lost and counted, and the end comes."""
    async with create(unused_address(), protocol=protocol, shutdown_timeout="300ms") as telemetry:
        for _ in range(1000):
            telemetry.tracer.start_span("lost").end()

    assert export_counts(telemetry)["traces"] == (0, 1000)


async def test_what_could_not_be_sent_is_said():
    """The end with a dead collector is one line that names the signals and numbers."""
    stream = io.StringIO()
    async with create(unused_address(), stream=stream, shutdown_timeout="50ms") as telemetry:
        telemetry.tracer.start_span("lost").end()

    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert any("not sent before the stop: 1 of traces" in message for message in messages)
    assert len(messages) <= 4


async def test_a_hung_collector_leaves_no_thread_that_holds_up_the_process():
    """Every thread that may still be waiting for the collector is a daemon."""
    async with OTLPReceiver(mode="hang") as collector:
        async with create(collector.url, shutdown_timeout="50ms") as telemetry:
            telemetry.tracer.start_span("lost").end()
            await collector.request()

        waiting = [thread for thread in threading.enumerate() if "export" in thread.name]

    assert waiting
    assert all(thread.daemon for thread in waiting)


async def test_a_collector_that_comes_back_gets_what_follows():
    """After a failed export the next ones arrive."""
    async with OTLPReceiver(mode="refuse") as collector, create(collector.url) as telemetry:
        telemetry.tracer.start_span("lost").end()
        await telemetry.flush()
        collector.mode = "accept"
        telemetry.tracer.start_span("found").end()
        await telemetry.flush()

    assert [span.name for span in collector.spans] == ["found"]
    assert export_counts(telemetry)["traces"] == (1, 1)


async def test_exporters_do_not_export_their_own_complaints():
    """A failing export produces no log record to export: that would never end."""
    async with OTLPReceiver() as collector, create(collector.url) as telemetry:
        logging.getLogger("opentelemetry.exporter").error("failed")
        logging.getLogger("test").error("ours")
        await telemetry.flush()

    assert [log.body for log in collector.logs] == ["ours"]


async def test_what_is_exported_is_counted():
    """The process's own metrics tell what was sent, by signal."""
    async with OTLPReceiver() as collector, create(collector.url) as telemetry:
        telemetry.tracer.start_span("work").end()
        await telemetry.flush()
        _, page = await telemetry.render_metrics("")

    samples = parse_exposition(page.decode())["gateway_telemetry_exported_total"].samples
    assert {labels["gateway_telemetry_signal"]: value for _, labels, value, _ in samples}[
        "traces"
    ] == 1


async def test_a_histogram_leads_to_a_trace():
    """A duration recorded inside a sampled span is an exemplar with the trace's id."""
    accept = "application/openmetrics-text"
    async with create(processors=[FinishedSpans()]) as telemetry:
        with telemetry.tracer.start_as_current_span("work") as span:
            telemetry.instruments.job_duration.record(0.2)
        content_type, page = await telemetry.render_metrics(accept)

    families = parse_exposition(page.decode(), openmetrics=True)
    exemplars = [item for *_, item in families["gateway_job_duration_seconds"].samples if item]
    assert content_type.startswith(accept)
    assert exemplars[0]["trace_id"] == f"{span.get_span_context().trace_id:032x}"


async def test_rules_and_page_show_the_same():
    """Every sample of the page is a series of the store, with job and instance."""
    store = SeriesStore(clock=ManualClock(), retention_s=3600)
    async with create() as telemetry:
        telemetry.feed_series(store.source("self"), store.exemplars)
        telemetry.instruments.job_duration.record(0.2)
        collected = await telemetry.collection.collect_now()
        kept = store.select([Matcher(MatchOp.EQUAL, "job", telemetry.service_name)]).labels
    # As it was collected: later there may be series that were not there yet.
    page = render(collected.families, PROMETHEUS_TEXT)

    target = {"job": telemetry.service_name, "instance": telemetry.instance}
    shown = {
        Labels({"__name__": name, **labels, **target})
        for family in parse_exposition(page.decode()).values()
        for name, labels, _, _ in family.samples
    }
    assert set(kept) - shown == {Labels({"__name__": "up", **target})}
    assert shown <= set(kept)


async def test_closing_twice_does_nothing_more():
    """The second close returns without waiting or logging."""
    stream = io.StringIO()
    telemetry = create(unused_address(), stream=stream, shutdown_timeout="50ms")
    async with telemetry:
        pass
    written = stream.getvalue()

    await telemetry.aclose()

    assert stream.getvalue() == written
