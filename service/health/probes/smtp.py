"""The SMTP probe: a mail server greets, and goes on with TLS."""

from __future__ import annotations

import socket
from typing import Final

import aiosmtplib

from alerts.clock import Clock
from service.config.addresses import split_address
from service.config.service_probe_settings import SMTPProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes.certificates import tls_attributes
from service.health.probes.connecting import connected_socket
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.probes.tls_contexts import ProbeTLSContexts
from service.health.state import ProbeResult
from service.pools.lookups import Lookups
from service.pools.request_record import CURRENT_RECORD, RequestRecord

_OWN_NAME: Final = "gatewatch"
"""What EHLO says; the name of the machine would have to be looked up."""


class SMTPProbe:
    """Takes the greeting, says EHLO, and goes on with TLS if the settings ask for it."""

    def __init__(
        self,
        settings: SMTPProbeSettings,
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
        self._server_name = settings.tls.server_name or self._host

    @property
    def target(self) -> str:
        """Return the address."""
        return f"smtp {self._settings.address}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Talk to the server once; nothing is sent."""
        return await judged_run(
            lambda run: self._look(run, timeout_s),
            clock=self._clock,
            timeout_s=timeout_s,
            expectations=self._expectations,
        )

    async def _look(self, run: Run, timeout_s: float) -> str:
        settings = self._settings
        context = await self._contexts.context(settings.tls)
        # The library would look up the name on the threads of the event loop.
        opened = await connected_socket(run, self._lookups, self._host, self._port)
        client = aiosmtplib.SMTP(
            hostname=self._server_name,
            port=None,
            sock=opened,
            local_hostname=_OWN_NAME,
            timeout=timeout_s,
            use_tls=settings.encryption == "implicit",
            start_tls=False,
            tls_context=context,
        )
        record = RequestRecord(self._clock)
        token = CURRENT_RECORD.set(record)
        try:
            return await self._talk(run, client, opened)
        except aiosmtplib.SMTPConnectTimeoutError as error:
            raise TimeoutError from error
        except aiosmtplib.SMTPConnectError as error:
            cause = error.__cause__
            if isinstance(cause, OSError):
                raise cause from error
            raise ProbeError(Fault(str(error), "connect", Placeholder.CONNECTED)) from error
        except aiosmtplib.SMTPResponseException as error:
            run.status = error.code
            raise ProbeError(
                Fault(f"the server says {error.code} {error.message}", "answer")
            ) from error
        except aiosmtplib.SMTPException as error:
            raise ProbeError(Fault(str(error), "disconnected")) from error
        finally:
            client.close()
            CURRENT_RECORD.reset(token)
            run.attributes |= tls_attributes(record.tls)

    async def _talk(self, run: Run, client: aiosmtplib.SMTP, opened: socket.socket) -> str:
        settings = self._settings
        try:
            greeting = await client.connect()
        except BaseException:
            opened.close()
            raise
        run.connected, run.status, run.body = True, greeting.code, greeting.message.encode()
        await client.ehlo()
        if settings.encryption == "starttls":
            if not client.supports_extension("starttls"):
                raise ProbeError(Fault("the server does not offer STARTTLS", "tls"))
            await client.starttls(
                tls_context=await self._contexts.context(settings.tls),
                server_hostname=self._server_name,
            )
        await client.quit()
        return f"{greeting.code} {greeting.message}"
