"""The TLS contexts of checks: made once for all checks with the same options."""

from __future__ import annotations

import asyncio
import ssl

from alerts.notify.tls import TLSContexts
from alerts.notify.transport import TLSOptions
from service.config.probe_settings import ProbeTLSSettings
from service.pools.request_record import RecordingSSLObject


class ProbeTLSContexts:
    """Makes contexts whose handshakes are recorded; files are read again when they change."""

    def __init__(self) -> None:
        self._contexts = TLSContexts()
        self._unchanging: dict[ProbeTLSSettings, ssl.SSLContext] = {}
        self._making = asyncio.Lock()

    async def context(self, settings: ProbeTLSSettings) -> ssl.SSLContext:
        """Return the context of a check.

        Raises:
            TransportError: A file cannot be used; says which.
        """
        known = self._unchanging.get(settings)
        if known is not None:
            return known
        async with self._making:  # they take long to make: a thousand checks shall make one
            context = await asyncio.to_thread(self._contexts.context, tls_options(settings))
        context.sslobject_class = RecordingSSLObject
        if settings.ca_file is None and settings.cert_file is None:
            self._unchanging[settings] = context
        return context


def tls_options(settings: ProbeTLSSettings) -> TLSOptions:
    """Return the options of TLS that the settings of a check ask for."""
    return TLSOptions(
        ca_file=str(settings.ca_file or ""),
        cert_file=str(settings.cert_file or ""),
        key_file=str(settings.key_file or ""),
        insecure_skip_verify=not settings.verify,
        min_version=settings.min_version,
    )
