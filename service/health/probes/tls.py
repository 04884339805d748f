"""The TLS probe: a certificate that is valid, for the right name, and for a while yet."""

from __future__ import annotations

import contextlib
import ssl

from alerts.clock import Clock
from alerts.durations import format_duration
from service.config.addresses import split_address
from service.config.network_probe_settings import TLSProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes import attributes as names
from service.health.probes.certificates import expires_in_s
from service.health.probes.connecting import connection, secure
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.probes.starttls import ask_for_tls
from service.health.probes.tls_contexts import ProbeTLSContexts
from service.health.state import ProbeResult
from service.pools.lookups import Lookups


class TLSProbe:
    """Connects with TLS and looks at the certificates; of refused ones, too, when they expire."""

    def __init__(
        self,
        settings: TLSProbeSettings,
        *,
        clock: Clock,
        lookups: Lookups,
        contexts: ProbeTLSContexts,
        expectations: Expectations,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lookups = lookups
        self._contexts = contexts
        self._expectations = expectations
        self._host, self._port = split_address(settings.address)

    @property
    def target(self) -> str:
        """Return the address."""
        return f"{self._settings.starttls or 'tls'} {self._settings.address}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Connect once; a second time if the certificate is refused, to see when it expires."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        tls = self._settings.tls
        context = await self._contexts.context(tls)
        try:
            await self._connect(run, context)
        except ssl.SSLCertVerificationError:
            careless = await self._contexts.context(tls.model_copy(update={"verify": False}))
            with contextlib.suppress(OSError, EOFError, ProbeError):  # the first error counts
                await self._connect(run, careless)
            run.connected = False
            raise
        left_s = expires_in_s(run.attributes, self._clock.time())
        if left_s is None:
            raise ProbeError(Fault("the server shows no certificate", "tls"))
        if left_s < self._settings.min_validity:
            raise ProbeError(self._expiring(left_s))
        left = format_duration(left_s // 3600 * 3600)
        return f"{run.attributes[names.TLS_VERSION]}, valid for {left}"

    async def _connect(self, run: Run, context: ssl.SSLContext) -> None:
        settings = self._settings
        name = settings.tls.server_name or self._host
        if not settings.starttls:
            async with connection(
                run, self._lookups, self._host, self._port, context=context, server_name=name
            ):
                return
        async with connection(run, self._lookups, self._host, self._port) as (reader, writer):
            run.connected = False
            await ask_for_tls(settings.starttls, reader, writer)
            await secure(run, writer, context, name)
            run.connected = True

    def _expiring(self, left_s: float) -> Fault:
        if left_s < 0:
            reason = "a certificate of the chain has expired"
        else:
            reason = (
                f"a certificate of the chain expires in {format_duration(left_s // 60 * 60)}, "
                f"less than {format_duration(self._settings.min_validity)}"
            )
        return Fault(reason, "certificate", Placeholder.CERTIFICATE_EXPIRATION)
