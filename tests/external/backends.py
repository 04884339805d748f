"""A collector with the files of this repository, and Jaeger behind it, as processes of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.external.child import Child, running
from tests.external.programs import HERE, JAEGER
from tests.support.process import eventually, unused_port

ROOT: Final = HERE.parent.parent
CONFIG: Final = ROOT / "otel-collector.yaml"
OPTIONS: Final = ROOT / "otel-collector"

_READY: Final = "Everything is ready"


@dataclass(frozen=True)
class Collector:
    """A running collector.

    Attributes:
        child: The process.
        ports: By what they are for: grpc, http, prometheus, health, metrics.
    """

    child: Child
    ports: Mapping[str, int]

    def settings(self, protocol: str = "http/protobuf") -> dict[str, Any]:
        """Return the settings of a gatewatch that sends everything to it."""
        return {"telemetry": {"otlp": {"endpoint": self.url(protocol), "protocol": protocol}}}

    def url(self, protocol: str = "http/protobuf") -> str:
        """Return where it receives."""
        return f"http://127.0.0.1:{self.ports['grpc' if protocol == 'grpc' else 'http']}"

    async def page(self, name: str = "prometheus", path: str = "/metrics") -> str:
        """Return a page of one of its ports."""
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()


@asynccontextmanager
async def running_collector(
    otelcol: Path,
    folder: Path,
    *,
    jaeger: str,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Collector]:
    """Run the collector with the file we ship as it is, on ports that its variables name.

    Args:
        otelcol: The program.
        folder: Where it runs.
        jaeger: Host and port traces go to.
        options: Files of ``otel-collector/`` that are switched on, by name.
        environ: More variables.
    """
    names = ("grpc", "http", "prometheus", "health", "metrics")
    ports = {name: unused_port() for name in names}
    variables = {
        "OTEL_GRPC_PORT": str(ports["grpc"]),
        "OTEL_HTTP_PORT": str(ports["http"]),
        "PROMETHEUS_PORT": str(ports["prometheus"]),
        "HEALTH_PORT": str(ports["health"]),
        "COLLECTOR_METRICS_PORT": str(ports["metrics"]),
        "JAEGER_ENDPOINT": jaeger,
        **(environ or {}),
    }
    files = (CONFIG, *(OPTIONS / f"{name}.yaml" for name in options))
    command = (otelcol, *(part for file in files for part in ("--config", file)))
    async with running(*command, folder=folder, environ=variables) as child:
        await _ready(child)
        yield Collector(child, ports)


@dataclass(frozen=True)
class JaegerSpan:
    """A span as Jaeger's API shows it; attributes are plain values, ids are hexadecimal."""

    service: str
    name: str
    kind: int
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    link_traces: tuple[str, ...]
    attributes: Mapping[str, Any]
    is_error: bool


@dataclass(frozen=True)
class Trace:
    """The spans of one trace."""

    spans: tuple[JaegerSpan, ...]

    def __getitem__(self, name: str) -> JaegerSpan:
        """Return the one span of a name."""
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{len(found)} spans {name!r} among {sorted(self.names)}"
        return found[0]

    @property
    def names(self) -> set[str]:
        """The names of the spans."""
        return {span.name for span in self.spans}

    def ancestors(self, span: JaegerSpan) -> list[str]:
        """Return the names of the spans above one, the nearest first."""
        by_id = {each.span_id: each for each in self.spans}
        names = []
        while (parent := by_id.get(span.parent_id)) is not None:
            names.append(parent.name)
            span = parent
        return names


@dataclass(frozen=True)
class Jaeger:
    """A running Jaeger.

    Attributes:
        otlp: Host and port it receives on.
        url: Where its API is.
    """

    otlp: str
    url: str

    async def trace(self, trace_id: str, *names: str, timeout_s: float = 20.0) -> Trace:
        """Return a trace once it has a span of each name."""
        seen: set[str] = set()

        async def complete() -> Trace | None:
            trace = await self.find(trace_id)
            if trace is None:
                return None
            seen.update(trace.names)
            return trace if set(names) <= trace.names else None

        try:
            found = await eventually(complete, what=f"{names} in {trace_id}", timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; there were {sorted(seen)}") from None
        assert found is not None
        return found

    async def find(self, trace_id: str) -> Trace | None:
        """Return what is there of a trace, None if nothing is."""
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{self.url}/api/v3/traces/{trace_id}") as answer:
                if answer.status == 404:
                    return None
                assert answer.status == 200, await answer.text()
                return Trace(tuple(_spans(await answer.json(content_type=None))))


@asynccontextmanager
async def running_jaeger(program: Path, folder: Path) -> AsyncIterator[Jaeger]:
    """Run Jaeger with traces in memory until the end of the block."""
    otlp, query, grpc = unused_port(), unused_port(), unused_port()
    environ = {
        "OTLP_GRPC_PORT": str(otlp),
        "QUERY_HTTP_PORT": str(query),
        "QUERY_GRPC_PORT": str(grpc),
    }
    async with running(program, "--config", JAEGER, folder=folder, environ=environ) as child:
        await _ready(child)
        yield Jaeger(f"127.0.0.1:{otlp}", f"http://127.0.0.1:{query}")


async def _ready(child: Child) -> None:
    number = 0
    while _READY not in await child.line(number):
        number += 1


def _spans(body: dict[str, Any]) -> Iterator[JaegerSpan]:
    for resource in body["result"]["resourceSpans"]:
        service = _attributes(resource["resource"])["service.name"]
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield JaegerSpan(
                    service=service,
                    name=span["name"],
                    kind=span["kind"],
                    span_id=span["spanId"],
                    parent_id=span.get("parentSpanId", ""),
                    links=tuple(link["spanId"] for link in span.get("links", ())),
                    link_traces=tuple(link["traceId"] for link in span.get("links", ())),
                    attributes=_attributes(span),
                    is_error=span.get("status", {}).get("code") == 2,
                )


def _attributes(item: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in item.get("attributes", ()):
        ((kind, value),) = attribute["value"].items()
        found[attribute["key"]] = int(value) if kind == "intValue" else value
    return found
