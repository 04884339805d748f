"""The gateway on its port: clients come in when all parts run, and go before any part stops."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from service.codec import encode
from service.config.settings import Settings
from service.gateway.gateway import Gateway
from service.listener import Listener
from service.telemetry.http_server import HTTPServerTelemetry

_LOG: Final = logging.getLogger(__name__)


class ClientListener:
    """Where clients and back ends reach a gateway; an async context manager."""

    def __init__(
        self,
        gateway: Gateway,
        settings: Settings,
        *,
        requests: HTTPServerTelemetry,
        was_started: Callable[[], bool],
    ) -> None:
        """Say what is served where.

        Args:
            gateway: What is served.
            settings: Address, port, and how long the stop may take.
            requests: Spans and counts of requests.
            was_started: Whether all parts came up; until then everybody is sent away.
        """
        self._gateway = gateway
        # Half of the time is for clients, at most; the other parts must end as well.
        self._drain_timeout_s = settings.service.shutdown_timeout / 2
        self._was_started = was_started
        application = gateway.application()
        application.middlewares.append(self._when_started)
        requests.install(application)
        self._listener = Listener(
            "gateway",
            application,
            host=settings.gateway.host,
            port=settings.gateway.port,
            setting="gateway.port",
        )

    @property
    def url(self) -> str:
        """Where it is reached."""
        return self._listener.url

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            StartError: The address cannot be had.
        """
        await self._listener.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Listen no more."""
        await self._listener.aclose()

    @asynccontextmanager
    async def draining(self) -> AsyncIterator[None]:
        """On leaving, take no more connections and drain those that are open."""
        try:
            yield
        finally:
            await self._listener.stop_accepting()
            report = await self._gateway.drain(self._drain_timeout_s)
            await self._listener.aclose()
            if report.closed or report.aborted:
                _LOG.info("%d connections closed, %d cut off", report.closed, report.aborted)

    @web.middleware
    async def _when_started(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Send clients away that come while the other parts are still starting."""
        if self._was_started():
            return await handler(request)
        body = encode({"status": "starting"})
        return web.Response(status=503, body=body, content_type="application/json")
