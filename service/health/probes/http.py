"""The HTTP probe: one request through the process's pool, judged by its status."""

from __future__ import annotations

from yarl import URL

from service.config.probe_settings import HTTPProbeSettings
from service.health.state import AttributeValue, ProbeResult
from service.pools.errors import HTTPRequestError
from service.pools.http import MAX_BODY_BYTES, HTTPConnectionPool
from service.pools.http_tracing import Disclosure, shown_url

STATUS = "http.response.status_code"
"""Attribute of a result: the status that was received."""

# The request gets a little less than the whole time: the pool knows where the time went, and must
# still be there to say so.
_SHARE_OF_TIMEOUT = 0.95


class HTTPProbe:
    """Requests a URL; works if the status is an expected one and the body arrives whole.

    Bodies are read up to ``MAX_BODY_BYTES``, redirects are followed up to the pool's limit.
    """

    def __init__(self, settings: HTTPProbeSettings, pool: HTTPConnectionPool) -> None:
        self._settings = settings
        self._pool = pool
        self._url = URL(str(settings.url))

    @property
    def target(self) -> str:
        """Return method and URL, without credentials and query."""
        return f"{self._settings.method} {shown_url(self._url)}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Request the URL once."""
        settings = self._settings
        attributes: dict[str, AttributeValue] = {}
        try:
            async with self._pool.request(
                settings.method,
                self._url,
                headers=settings.headers,
                data=settings.body or None,
                timeout_s=timeout_s * _SHARE_OF_TIMEOUT,
                allow_redirects=settings.follow_redirects,
                disclosure=Disclosure(sends_trace=settings.send_traceparent),
            ) as response:
                attributes[STATUS] = response.status
                body = await response.read(max_bytes=MAX_BODY_BYTES)
        except HTTPRequestError as error:
            return ProbeResult.failed(error.detail, error.reason.value, attributes)
        attributes["http.response.body.size"] = len(body)
        if not self._expected(response.status):
            return ProbeResult.failed(
                f"status {response.status}, expected {self._wanted}", "status", attributes
            )
        return ProbeResult(True, f"status {response.status}", attributes=attributes)

    @property
    def _wanted(self) -> str:
        statuses = self._settings.expected_status
        return " or ".join(str(status) for status in statuses) or "2xx"

    def _expected(self, status: int) -> bool:
        statuses = self._settings.expected_status
        return status in statuses if statuses else 200 <= status < 300
