"""The OpenTelemetry collector with otel-collector.yaml, between gatewatch and its back ends."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from tests.external.backends import CONFIG, OPTIONS, Collector, running_collector
from tests.external.child import run, running
from tests.support.otlp import OTLPReceiver
from tests.support.process import GatewatchProcess, eventually, serving, unused_port

OPTION_NAMES = sorted(path.stem for path in OPTIONS.glob("*.yaml"))
NOBODY = "127.0.0.1:1"


@pytest.fixture
def otelcol(program: Callable[[str], Path]) -> Path:
    """Return the collector."""
    return program("collector")


@pytest.mark.parametrize("options", [[], *([name] for name in OPTION_NAMES), OPTION_NAMES], ids=str)
async def test_the_collector_accepts_our_configuration(
    otelcol: Path, tmp_path: Path, options: list[str]
):
    """The files we ship name only what the collector knows, with their defaults as they stand."""
    files = (CONFIG, *(OPTIONS / f"{name}.yaml" for name in options))
    arguments = [part for file in files for part in ("--config", file)]

    code, said = await run(otelcol, "validate", *arguments, folder=tmp_path)

    assert code == 0, said


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_the_collector_passes_everything_on(otelcol: Path, tmp_path: Path, protocol: str):
    """Spans reach their back end, metrics its page under our names, logs its own output."""
    async with (
        OTLPReceiver(with_grpc=True) as jaeger,
        running_collector(otelcol, tmp_path, jaeger=address(jaeger)) as between,
        serving(tmp_path, between.settings(protocol)) as gatewatch,
    ):
        await gatewatch.publish("news", 1)

        span = await jaeger.span("POST /api/publish", timeout_s=20)
        assert span.resource["service.name"] == "gatewatch"
        await eventually(lambda: has_metrics_of(between, gatewatch), what="metrics", timeout_s=20)
        await eventually(lambda: has_logs(between), what="logs", timeout_s=20)
        assert "Server available" in await between.page("health", "/")
        assert "otelcol_receiver_accepted_spans" in await between.page("metrics")


async def test_tail_sampling_keeps_errors_and_what_was_slow(otelcol: Path, tmp_path: Path):
    """Switched on, it drops whole traces in which nothing happened."""
    environ = {"TAIL_SAMPLING_WAIT": "1s", "TAIL_SAMPLING_PERCENT": "0"}
    async with (
        OTLPReceiver(with_grpc=True) as jaeger,
        running_collector(
            otelcol,
            tmp_path,
            jaeger=address(jaeger),
            options=["tail-sampling"],
            environ=environ,
        ) as between,
    ):
        send_traces(between)
        await jaeger.wait_for(
            lambda: jaeger.spans if len(jaeger.spans) >= 4 else [], 20, "the spans of two traces"
        )

    assert {span.name for span in jaeger.spans} == {
        "failed",
        "child of failed",
        "slow",
        "child of slow",
    }


def send_traces(between: Collector) -> None:
    """Send a trace with an error, a slow one and a plain one, each of two spans."""
    provider = TracerProvider(resource=Resource({"service.name": "x"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{between.url()}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("x")
    start_ns = 1_700_000_000_000_000_000
    for name, duration_s in (("plain", 0.01), ("failed", 0.01), ("slow", 0.6)):
        with tracer.start_as_current_span(
            name, context=Context(), start_time=start_ns, end_on_exit=False
        ) as root:
            child = tracer.start_span(f"child of {name}", start_time=start_ns)
            if name == "failed":
                child.set_status(Status(StatusCode.ERROR))
            child.end(start_ns + 1000)
            root.end(start_ns + int(duration_s * 1e9))
    provider.shutdown()


async def test_metrics_are_written_to_prometheus(
    otelcol: Path, program: Callable[[str], Path], tmp_path: Path
):
    """Switched on, remote write brings the names that a scrape would have found."""
    port = unused_port()
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"global": {"scrape_interval": "1h"}}))
    url = f"http://127.0.0.1:{port}"
    command = (
        program("prometheus") / "prometheus",
        "--web.enable-remote-write-receiver",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
    )
    async with running(*command, folder=tmp_path):
        await eventually(lambda: is_there(f"{url}/-/ready"), what="Prometheus", timeout_s=20)
        async with (
            running_collector(
                otelcol,
                tmp_path,
                jaeger=NOBODY,
                options=["remote-write"],
                environ={"REMOTE_WRITE_URL": f"{url}/api/v1/write"},
            ) as between,
            serving(tmp_path, metrics_only(between)) as gatewatch,
        ):
            query = f"{url}/api/v1/query?query=gateway_connection_count"
            found = await eventually(lambda: result_of(query), what="the metric", timeout_s=20)
            ours = re.findall(
                r"^([a-z_]+)_total\{? ?", await gatewatch.operations("/metrics"), re.M
            )

            assert found[0]["metric"]["job"] == "gatewatch"
            assert found[0]["metric"]["instance"] == "under-test"
            names = set(await result_of(f"{url}/api/v1/label/__name__/values"))
            assert {f"{name}_total" for name in ours} <= names


async def test_logs_are_written_to_a_file(otelcol: Path, tmp_path: Path):
    """Switched on, the file has one JSON document for each batch."""
    file = tmp_path / "logs.jsonl"
    async with (
        running_collector(
            otelcol,
            tmp_path,
            jaeger=NOBODY,
            options=["log-file"],
            environ={"LOG_FILE": str(file)},
        ) as between,
        serving(tmp_path, between.settings()),
    ):

        async def lines() -> list[str]:
            return file.read_text().splitlines() if file.exists() else []

        first, *_ = await eventually(lines, what="logs", timeout_s=20)

    (resource, *_) = json.loads(first)["resourceLogs"]
    names = {item["key"]: item["value"] for item in resource["resource"]["attributes"]}
    assert names["service.name"] == {"stringValue": "gatewatch"}


async def test_a_gatewatch_has_the_metrics_of_all_who_send_to_the_collector(
    otelcol: Path, tmp_path: Path
):
    """The collector's own exporter is understood, compressed and batched as it likes."""
    async with serving(tmp_path) as gatewatch:
        environ = {"TO_GATEWATCH_URL": f"{gatewatch.operations_url}/v1/metrics"}
        async with running_collector(
            otelcol, tmp_path, jaeger=NOBODY, options=["to-gatewatch"], environ=environ
        ) as between:
            await asyncio.gather(*(asyncio.to_thread(send_metrics, between, n) for n in range(3)))
            query = (
                f"{gatewatch.operations_url}/api/v1/query?query=sum by (job) (orders_placed_total)"
            )

            async def complete() -> list[Any]:
                found = await result_of(query)
                return found if len(found) == 3 else []

            found = await eventually(complete, what="three services", timeout_s=20)
            page = await gatewatch.operations("/metrics")

    assert {one["metric"]["job"]: one["value"][1] for one in found} == {
        "shop-0": "500",
        "shop-1": "500",
        "shop-2": "500",
    }
    assert "gateway_otlp_data_points_total{error_type=" not in page


def send_metrics(between: Collector, number: int) -> None:
    """Send a counter of 500 series as one service."""
    exporter = OTLPMetricExporter(endpoint=f"{between.url()}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    identity = {"service.name": f"shop-{number}", "service.instance.id": "1"}
    provider = MeterProvider([reader], resource=Resource(identity), shutdown_on_exit=False)
    counter = provider.get_meter("shop").create_counter("orders.placed")
    for region in range(500):
        counter.add(1, {"region": str(region)})
    provider.force_flush()
    provider.shutdown()


def metrics_only(between: Collector) -> dict[str, Any]:
    """Return settings without traces, which nobody would take."""
    settings = between.settings()
    settings["telemetry"]["sampling"] = 0.0
    return settings


def address(receiver: OTLPReceiver) -> str:
    """Return host and port of a receiver for gRPC."""
    return receiver.grpc_url.removeprefix("http://")


async def has_metrics_of(between: Collector, gatewatch: GatewatchProcess) -> bool:
    """Whether every family of a process is on the collector's page, too."""
    theirs = families(await between.page())
    ours = families(await gatewatch.operations("/metrics"))
    sys.stdout.write(f"not there: {sorted(ours - theirs)}\n")  # shown if it stays so
    return bool(ours) and ours <= theirs


async def has_logs(between: Collector) -> bool:
    """Whether its debug exporter has written of log records."""
    return any('"otelcol.signal": "logs"' in line for line in between.child.lines)


async def is_there(url: str) -> bool:
    """Whether somebody answers."""
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def result_of(url: str) -> Any:
    """Return the data of an answer of Prometheus's API."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        data = (await answer.json())["data"]
        return data["result"] if isinstance(data, dict) else data


def families(page: str) -> set[str]:
    """Return the names of the families of a page of metrics."""
    return set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
