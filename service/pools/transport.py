"""Notifications leave through the process's HTTP pool."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.notify.transport import TransportError, TransportResponse
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http import HTTPConnectionPool

MAX_ANSWER_BYTES = 64 * 1024
"""What is read of a receiver's answer; channels look for a verdict near its beginning."""

_TIMEOUTS = frozenset((HTTPFailure.TIMEOUT, HTTPFailure.CONNECT_TIMEOUT, HTTPFailure.POOL_WAIT))


class PoolTransport:
    """``alerts.notify.transport.Transport`` over an ``HTTPConnectionPool``.

    Paths of URLs are treated as secrets: most webhooks carry their token there.
    """

    def __init__(self, pool: HTTPConnectionPool) -> None:
        self._pool = pool

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> TransportResponse:
        """Post a body and return the answer, whatever its status; redirects are not followed.

        Raises:
            TransportError: There was no answer.
        """
        try:
            async with self._pool.request(
                "POST",
                url,
                headers=headers,
                data=body,
                timeout_s=timeout_s,
                allow_redirects=False,
                secret_path=True,
            ) as response:
                answer = await response.read_up_to(MAX_ANSWER_BYTES)
        except HTTPRequestError as error:
            raise TransportError(str(error), is_timeout=error.reason in _TIMEOUTS) from error
        return TransportResponse(response.status, response.headers, answer)
