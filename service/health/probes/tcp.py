"""The TCP probe: a port takes connections, and perhaps answers as it should."""

from __future__ import annotations

import asyncio

from alerts.clock import Clock
from service.config.addresses import split_address
from service.config.network_probe_settings import TCPProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes.connecting import connection
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.state import ProbeResult
from service.pools.lookups import Lookups

MAX_BYTES = 64 * 1024
"""What is read of an answer at most."""

_SHOWN = 60


class TCPProbe:
    """Connects; sends and waits for a text if the settings have one."""

    def __init__(
        self,
        settings: TCPProbeSettings,
        *,
        clock: Clock,
        lookups: Lookups,
        expectations: Expectations,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lookups = lookups
        self._expectations = expectations
        self._host, self._port = split_address(settings.address)

    @property
    def target(self) -> str:
        """Return the address."""
        return f"tcp {self._settings.address}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Connect once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        settings = self._settings
        async with connection(run, self._lookups, self._host, self._port) as (reader, writer):
            if settings.send:
                writer.write(settings.send.encode())
                await writer.drain()
            if settings.expect:
                await self._read(run, reader)
            elif self._expectations.mention(Placeholder.BODY):
                run.body = await reader.read(MAX_BYTES)
        return f"connected to {run.address}"

    async def _read(self, run: Run, reader: asyncio.StreamReader) -> None:
        """Read until what is expected is there."""
        expected = self._settings.expect.encode()
        while expected not in run.body:
            more = await reader.read(MAX_BYTES - len(run.body))
            run.body += more
            if not more:
                got = " ".join(run.body[:_SHOWN].decode(errors="replace").split())
                reason = f"{self._settings.expect[:_SHOWN]!r} is not in the answer {got!r}"
                raise ProbeError(Fault(reason, "answer"))
