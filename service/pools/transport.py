"""Notifications leave through the process's HTTP pool."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Final

from alerts.notify.tls import TLSContexts
from alerts.notify.transport import (
    ConnectionOptions,
    TLSOptions,
    TransportError,
    TransportRequest,
    TransportResponse,
)
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http import HTTPConnectionPool, HTTPRoute
from service.pools.http_tracing import Disclosure
from service.pools.proxies import chosen_proxy

MAX_ANSWER_BYTES = 64 * 1024
"""What is read of a receiver's answer; channels look for a verdict near its beginning."""

_TIMEOUTS = frozenset((HTTPFailure.TIMEOUT, HTTPFailure.CONNECT_TIMEOUT, HTTPFailure.POOL_WAIT))
_NO_TLS_OPTIONS: Final = TLSOptions()


class PoolTransport:
    """``alerts.notify.transport.Transport`` over an ``HTTPConnectionPool``.

    Paths of URLs are treated as secrets: most webhooks carry their token there.

    Args:
        pool: Where the connections are.
        environment: Variables that name proxies; None: those of this process.
    """

    def __init__(
        self, pool: HTTPConnectionPool, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._pool = pool
        self._environment = os.environ if environment is None else environment
        self._contexts = TLSContexts()

    async def send(self, request: TransportRequest) -> TransportResponse:
        """Send a request and return the answer, whatever its status; redirects are not followed.

        Raises:
            TransportError: There was no answer.
        """
        route = await self._route(request)
        try:
            async with self._pool.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                timeout_s=request.timeout_s,
                allow_redirects=False,
                disclosure=Disclosure(secret_path=True),
                route=route,
            ) as response:
                answer = await response.read_up_to(MAX_ANSWER_BYTES)
        except HTTPRequestError as error:
            raise TransportError(
                str(error),
                is_timeout=error.reason in _TIMEOUTS,
                is_address_refused=error.reason is HTTPFailure.ADDRESS,
            ) from error
        return TransportResponse(response.status, response.headers, answer)

    async def _route(self, request: TransportRequest) -> HTTPRoute:
        options = request.connection
        proxy = chosen_proxy(request.url, options.proxy, self._environment)
        if proxy and options.public_only:
            raise TransportError(
                "a URL whose host comes out of the data of alerts is not requested through a "
                "proxy, as it cannot be told where that leads",
                is_address_refused=True,
            )
        headers = {name: value.reveal() for name, value in options.proxy.connect_headers}
        return HTTPRoute(
            ssl_context=await self._context(options),
            server_hostname=options.tls.server_name or None,
            proxy=proxy or None,
            proxy_headers=headers or None,
            public_only=options.public_only,
        )

    async def _context(self, options: ConnectionOptions) -> ssl.SSLContext | None:
        if options.tls == _NO_TLS_OPTIONS:
            return None
        return await asyncio.to_thread(self._contexts.context, options.tls)
