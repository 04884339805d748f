"""How telemetry reaches a collector: TLS, compression, repetitions, and answers read to the end."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from service.config.telemetry_settings import OTLPSettings
from service.telemetry.export import Signal
from service.telemetry.otlp import Protocol, resolve_targets
from service.telemetry.senders import create_sender
from tests.support.certificates import Certificates
from tests.support.otlp import OTLPReceiver
from tests.support.process import unused_port

PROTOCOLS: list[Protocol] = ["http/protobuf", "grpc"]


class _Keep(SpanExporter):
    """Keeps what the SDK made."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


def spans(*names: str) -> list[Any]:
    """Return finished spans."""
    keep = _Keep()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(keep))
    for name in names:
        provider.get_tracer("test").start_span(name).end()
    return keep.spans


async def send(
    endpoint: str, *names: str, environment: dict[str, str] | None = None, **settings: Any
) -> tuple[bool, int]:
    """Send spans; return whether they were accepted, and how many of them were refused."""
    signal: Signal = "traces"
    otlp = OTLPSettings.model_validate({"endpoint": endpoint, "timeout": "5s", **settings})
    rejected: list[int] = []
    sender = create_sender(
        signal, resolve_targets(otlp, environment or {})[signal], rejected.append
    )
    try:
        accepted = await asyncio.to_thread(sender.export, spans(*names))
    finally:
        await asyncio.to_thread(sender.shutdown)
    return accepted, sum(rejected)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificates of an authority nobody else trusts."""
    return Certificates.make(tmp_path_factory.mktemp("tls"))


def grpc_server(certificates: Certificates) -> grpc.ServerCredentials:
    """Return what a gRPC server needs to ask clients for a certificate."""
    server = certificates.authority.issue_cert("localhost")
    pair = (server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())
    return grpc.ssl_server_credentials(
        [pair], Path(certificates.ca_file).read_bytes(), require_client_auth=True
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_collector_behind_tls_that_asks_who_is_there(
    protocol: Protocol, certificates: Certificates
) -> None:
    """The authority is trusted and the client's certificate shown, over HTTP and over gRPC."""
    async with OTLPReceiver(
        with_grpc=True, tls=certificates.strict_server(), grpc_tls=grpc_server(certificates)
    ) as collector:
        endpoint = collector.url if protocol == "http/protobuf" else collector.grpc_url
        accepted, _ = await send(
            endpoint,
            "work",
            protocol=protocol,
            ca_file=certificates.ca_file,
            cert_file=certificates.client_cert,
            key_file=certificates.client_key,
        )

    assert accepted
    assert [span.name for span in collector.spans] == ["work"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_unknown_authority_is_not_trusted(
    protocol: Protocol, certificates: Certificates
) -> None:
    """Without its authority nothing is sent to a collector."""
    async with OTLPReceiver(
        with_grpc=True, tls=certificates.server, grpc_tls=grpc_server(certificates)
    ) as collector:
        endpoint = collector.url if protocol == "http/protobuf" else collector.grpc_url
        accepted, _ = await send(endpoint, "work", protocol=protocol, timeout="500ms")

    assert not accepted
    assert collector.requests == []


async def test_the_authority_for_telemetry_wins_over_that_of_other_programs(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``REQUESTS_CA_BUNDLE``, which the HTTP library reads, does not take its place."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificates.client_cert)
    async with OTLPReceiver(tls=certificates.server) as collector:
        accepted, _ = await send(collector.url, "work", ca_file=certificates.ca_file)

    assert accepted


async def test_certificates_may_come_from_the_standard_variables(
    certificates: Certificates,
) -> None:
    """``OTEL_EXPORTER_OTLP_CERTIFICATE`` and those of the client, where settings say nothing."""
    environment = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": certificates.ca_file,
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": certificates.client_cert,
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": certificates.client_key,
    }
    async with OTLPReceiver(tls=certificates.strict_server()) as collector:
        accepted, _ = await send(collector.url, "work", environment=environment)

    assert accepted


@pytest.mark.parametrize(("compression", "encoding"), [("gzip", "gzip"), ("none", None)])
async def test_requests_are_compressed_when_asked_for(
    compression: str, encoding: str | None
) -> None:
    """The setting wins over the variable."""
    environment = {"OTEL_EXPORTER_OTLP_COMPRESSION": "none" if encoding else "gzip"}
    async with OTLPReceiver() as collector:
        await send(collector.url, "work", environment=environment, compression=compression)

    assert collector.headers.get("Content-Encoding") == encoding
    assert [span.name for span in collector.spans] == ["work"]


async def test_grpc_compresses_as_well() -> None:
    """A collector that speaks gRPC reads what was compressed."""
    async with OTLPReceiver(with_grpc=True) as collector:
        accepted, _ = await send(collector.grpc_url, "work", protocol="grpc", compression="gzip")

    assert accepted
    assert [span.name for span in collector.spans] == ["work"]


async def test_a_collector_that_is_busy_is_asked_again() -> None:
    """429, 502, 503 and 504 are repeated, after the time that the collector asks for."""
    async with OTLPReceiver() as collector:
        collector.refusals = [429, 502, 503, 504]
        accepted, _ = await send(collector.url, "work")

    assert accepted
    assert len(collector.requests) == 5
    assert len(collector.spans) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
async def test_a_collector_that_refuses_is_asked_once(status: int) -> None:
    """What would be refused again is not repeated."""
    async with OTLPReceiver() as collector:
        collector.refusals = [status]
        accepted, _ = await send(collector.url, "work")

    assert not accepted
    assert len(collector.requests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_is_refused_of_an_accepted_request_is_told(
    protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    """A partial success says how many items were refused, and the log says why."""
    async with OTLPReceiver(with_grpc=True) as collector:
        collector.rejected = 2
        endpoint = collector.url if protocol == "http/protobuf" else collector.grpc_url
        accepted, rejected = await send(endpoint, "one", "two", "three", protocol=protocol)

    assert (accepted, rejected) == (True, 2)
    assert "refused 2 of traces: too old" in caplog.text


async def test_grpc_answers_are_read_on_every_connection() -> None:
    """Also on the one that is made after the collector was away."""
    async with OTLPReceiver(with_grpc=True) as collector:
        collector.rejected = 1
        target = resolve_targets(OTLPSettings(endpoint=collector.grpc_url, protocol="grpc"), {})[
            "traces"
        ]
        rejected: list[int] = []
        sender = create_sender("traces", target, rejected.append)
        outcomes = [await asyncio.to_thread(sender.export, spans("work")) for _ in range(2)]
        await asyncio.to_thread(sender.shutdown)

    assert outcomes == [True, True]
    assert rejected == [1, 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_left_of_what_could_not_be_sent(protocol: Protocol) -> None:
    """No garbage waits for a collection that comes when the process has doubled."""
    otlp = OTLPSettings.model_validate(
        {"endpoint": f"http://127.0.0.1:{unused_port()}", "timeout": "200ms", "protocol": protocol}
    )
    sender = create_sender("traces", resolve_targets(otlp, {})["traces"], lambda _count: None)
    batch = spans("a")
    assert not sender.export(batch)
    gc.collect()
    gc.disable()
    try:
        assert not sender.export(batch)
        assert gc.collect() == 0
    finally:
        gc.enable()
        sender.shutdown()
