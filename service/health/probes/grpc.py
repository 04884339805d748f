"""The gRPC probe: a server answers the health protocol with SERVING.

Source: grpc/grpc, doc/health-checking.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from alerts.clock import Clock
from service.config.probe_settings import ProbeTLSSettings
from service.config.service_probe_settings import GRPCProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes import attributes as names
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.state import ProbeResult

_SERVING = "SERVING"
_UNREACHED = frozenset((grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))
_TLS_WORDS = ("handshake", "hostname verification", "ssl_error")


class GRPCProbe:
    """Asks ``grpc.health.v1.Health/Check`` about a service or the whole server."""

    def __init__(
        self, settings: GRPCProbeSettings, *, clock: Clock, expectations: Expectations
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._expectations = expectations

    @property
    def target(self) -> str:
        """Return address and service."""
        return f"grpc {self._settings.address} {self._settings.service}".rstrip()

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ask once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        settings = self._settings
        options: list[tuple[str, str | int]] = [
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if settings.use_tls:
            if settings.tls.server_name:
                options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
            credentials = await asyncio.to_thread(_credentials, settings.tls)
            channel = grpc.aio.secure_channel(settings.address, credentials, options)
        else:
            channel = grpc.aio.insecure_channel(settings.address, options)
        async with channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=settings.service))
            except grpc.aio.AioRpcError as error:
                raise ProbeError(self._fault(run, error)) from error
        status: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        run.connected = True
        run.body = f'{{"status":"{status}"}}'.encode()
        run.attributes |= {names.GRPC_STATUS: 0, names.GRPC_SERVING: status}
        if status != _SERVING:
            raise ProbeError(Fault(f"the service is {status}", "not_serving", Placeholder.BODY))
        return status

    def _fault(self, run: Run, error: grpc.aio.AioRpcError) -> Fault:
        code = error.code()
        run.attributes[names.GRPC_STATUS] = code.value[0]
        if code in _UNREACHED:
            # gRPC tells a failed handshake apart by its words only.
            said = (error.details() or code.name).rpartition("last error: ")[2]
            if self._settings.use_tls and any(word in said.lower() for word in _TLS_WORDS):
                return Fault(f"no TLS connection: {said}", "tls", Placeholder.CONNECTED)
            return Fault(f"no connection: {said}", "connect", Placeholder.CONNECTED)
        run.connected = True
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return Fault("the server does not have the health service", "answer")
        if code is grpc.StatusCode.NOT_FOUND:
            return Fault(f"the server knows no service {self._settings.service!r}", "answer")
        return Fault(f"{code.name}: {error.details()}", "answer")


def _credentials(settings: ProbeTLSSettings) -> grpc.ChannelCredentials:
    def read(file: Path | None) -> bytes | None:
        return None if file is None else file.read_bytes()

    return grpc.ssl_channel_credentials(
        root_certificates=read(settings.ca_file),
        private_key=read(settings.key_file),
        certificate_chain=read(settings.cert_file),
    )
