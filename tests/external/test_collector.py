"""The OpenTelemetry collector with otel-collector.yaml, between gatewatch and its back ends."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.external.child import Child, run, running
from tests.external.programs import HERE
from tests.support.otlp import OTLPReceiver
from tests.support.process import GatewatchProcess, eventually, serving, unused_port

CONFIG: Final = HERE.parent.parent / "otel-collector.yaml"


@pytest.fixture
def otelcol(program: Callable[[str], Path]) -> Path:
    """Return the collector."""
    return program("collector")


async def test_the_collector_accepts_our_configuration(otelcol: Path, tmp_path: Path):
    """The file we ship names only what the collector knows, with its defaults as they stand."""
    code, said = await run(otelcol, "validate", "--config", CONFIG, folder=tmp_path)

    assert code == 0, said


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_the_collector_passes_everything_on(otelcol: Path, tmp_path: Path, protocol: str):
    """Spans reach their back end, metrics its page under our names, logs its own output."""
    async with (
        OTLPReceiver(with_grpc=True) as jaeger,
        collector(otelcol, tmp_path, jaeger) as between,
        serving(tmp_path, between.settings(protocol)) as gatewatch,
    ):
        await gatewatch.publish("news", 1)

        span = await jaeger.span("POST /api/publish", timeout_s=20)
        assert span.resource["service.name"] == "gatewatch"
        await eventually(lambda: between.has_metrics_of(gatewatch), what="metrics", timeout_s=20)
        await eventually(between.has_logs, what="logs", timeout_s=20)


@dataclass(frozen=True)
class Collector:
    """A running collector."""

    child: Child
    ports: dict[str, int]

    def settings(self, protocol: str) -> dict[str, Any]:
        """Return the settings that send everything to it."""
        port = self.ports["grpc" if protocol == "grpc" else "http"]
        otlp = {"endpoint": f"http://127.0.0.1:{port}", "protocol": protocol}
        return {"telemetry": {"otlp": otlp}}

    async def has_metrics_of(self, gatewatch: GatewatchProcess) -> bool:
        """Whether every family of a process is on the collector's page, too."""
        url = f"http://127.0.0.1:{self.ports['prometheus']}/metrics"
        async with gatewatch.http.get(url) as answer:
            theirs = families(await answer.text())
        ours = families(await gatewatch.operations("/metrics"))
        sys.stdout.write(f"not there: {sorted(ours - theirs)}\n")  # shown if it stays so
        return bool(ours) and ours <= theirs

    async def has_logs(self) -> bool:
        """Whether its debug exporter has written of log records."""
        return any('"otelcol.signal": "logs"' in line for line in self.child.lines)


@asynccontextmanager
async def collector(
    otelcol: Path, tmp_path: Path, jaeger: OTLPReceiver
) -> AsyncIterator[Collector]:
    """Run the collector with the file we ship as it is, on ports that its variables name."""
    names = ("grpc", "http", "prometheus", "health", "metrics")
    ports = {name: unused_port() for name in names}
    environ = {
        "OTEL_GRPC_PORT": str(ports["grpc"]),
        "OTEL_HTTP_PORT": str(ports["http"]),
        "PROMETHEUS_PORT": str(ports["prometheus"]),
        "HEALTH_PORT": str(ports["health"]),
        "COLLECTOR_METRICS_PORT": str(ports["metrics"]),
        "JAEGER_ENDPOINT": jaeger.grpc_url.removeprefix("http://"),
    }
    async with running(otelcol, "--config", CONFIG, folder=tmp_path, environ=environ) as child:
        number = 0
        while "Everything is ready" not in await child.line(number):
            number += 1
        yield Collector(child, ports)


def families(page: str) -> set[str]:
    """Return the names of the families of a page of metrics."""
    return set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
