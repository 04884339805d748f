"""The Redis probe: the server answers PING."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from yarl import URL

from alerts.clock import Clock
from service.config.service_probe_settings import RedisProbeSettings
from service.health.probes.connecting import Streams, close, connection
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.probes.tls_contexts import ProbeTLSContexts
from service.health.state import ProbeResult
from service.pools.lookups import Lookups

_PORT: Final = 6379
_TLS: Final = "rediss"


class RedisProbe:
    """Connects, logs in if there is a password, and sends PING."""

    def __init__(
        self,
        settings: RedisProbeSettings,
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
        self._url = url = URL(settings.url)
        given = settings.password.get_secret_value() if settings.password is not None else ""
        self._password = given or url.password or ""
        secrets = tuple(filter(None, (given, url.password or "")))
        self._expectations = Expectations(expectations.conditions, secrets)
        self._target = str(url.with_user(None)) if url.host else settings.url

    @property
    def target(self) -> str:
        """Return the URL, without credentials."""
        return self._target

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ping once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        async with self._connected(run) as streams:
            run.awaited = "answer"
            try:
                await self._ping(streams)
            except exceptions.AuthenticationError as error:
                raise ProbeError(
                    Fault(f"the login is refused: {error}", "authorization")
                ) from error
            except exceptions.ConnectionError as error:
                raise ProbeError(Fault(f"the connection broke: {error}", "disconnected")) from error
            except exceptions.RedisError as error:
                raise ProbeError(
                    Fault(f"the server answers with an error: {error}", "answer")
                ) from error
        run.body = b"PONG"
        return "PONG"

    async def _ping(self, streams: Streams) -> None:
        """Log in and send PING.

        Raises:
            RedisError: The server refuses, breaks the connection, or is no Redis.
        """
        talk = _OpenedConnection(
            streams,
            db=int(self._url.path.strip("/") or 0) if self._url.host else 0,
            username=self._url.user or None,
            password=self._password or None,
        )
        try:
            await talk.connect()  # type: ignore[no-untyped-call]  # redis-py's omission
            await talk.send_command("PING", check_health=False)
            await talk.read_response()
        finally:
            await talk.disconnect(nowait=True)

    @asynccontextmanager
    async def _connected(self, run: Run) -> AsyncIterator[Streams]:
        url, tls = self._url, self._settings.tls
        if not url.host:
            reader, writer = await asyncio.open_unix_connection(url.path)
            run.connected = True
            try:
                yield reader, writer
            finally:
                await close(writer)
            return
        context = await self._contexts.context(tls) if url.scheme == _TLS else None
        async with connection(
            run,
            self._lookups,
            url.host,
            url.port or _PORT,
            context=context,
            server_name=tls.server_name,
        ) as streams:
            yield streams


class _OpenedConnection(AbstractConnection):
    """redis-py's connection on streams that are open already.

    Opening them here, and not in the library, looks up names on the threads for it, makes the TLS
    context off the event loop and once for all checks, and notes what the certificate says.
    """

    def __init__(self, streams: Streams, **options: Any) -> None:
        # The run has a deadline; redis-py's own lose cancellations on Python 3.11.
        super().__init__(
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,
            driver_info=None,
            **options,
        )
        self._streams = streams

    def repr_pieces(self) -> list[tuple[str, Any]]:
        """Return nothing: where it leads is the probe's to say."""
        return []

    async def _connect(self) -> None:
        self._reader, self._writer = self._streams

    def _host_error(self) -> str:
        return "the server"
