"""The HTTP probe: one request through the process's pool, judged by its status."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from yarl import URL

from alerts.clock import Clock
from alerts.notify.authorization import Authorizer
from alerts.notify.errors import DeliveryError
from alerts.notify.http_config import Authorization, BasicAuth, HTTPConfig, OAuth2
from alerts.notify.secret import Secret
from alerts.notify.transport import ConnectionOptions, TransportError
from service.config.hiding import is_telling
from service.config.probe_settings import HTTPProbeSettings
from service.health.conditions.findings import Findings, Placeholder
from service.health.probes import attributes as names
from service.health.probes.attributes import STATUS
from service.health.probes.certificates import expires_in_s, tls_attributes
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.tls_contexts import ProbeTLSContexts, tls_options
from service.health.state import AttributeValue, ProbeResult
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http import HTTPConnectionPool, HTTPRoute
from service.pools.http_tracing import Disclosure, shown_url
from service.pools.request_record import RequestRecord
from service.pools.transport import PoolTransport

__all__ = ["STATUS", "HTTPProbe"]

# The request gets a little less than the whole time: the pool knows where the time went, and must
# still be there to say so.
_SHARE_OF_TIMEOUT = 0.95

_UNREACHED = frozenset(
    (
        HTTPFailure.CONNECT,
        HTTPFailure.CONNECT_TIMEOUT,
        HTTPFailure.DNS,
        HTTPFailure.TLS,
        HTTPFailure.DISCONNECTED,
        HTTPFailure.TIMEOUT,
    )
)


class HTTPProbe:
    """Requests a URL; works if the status is an expected one and the body arrives whole.

    Each run has a connection of its own, so that it sees what a new client would: the name is
    looked up, the certificate verified.
    """

    def __init__(
        self,
        settings: HTTPProbeSettings,
        pool: HTTPConnectionPool,
        *,
        clock: Clock,
        contexts: ProbeTLSContexts,
        expectations: Expectations | None = None,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._contexts = contexts
        self._url = URL(str(settings.url))
        given = expectations or Expectations()
        self._expectations = Expectations(given.conditions, _secrets(settings))
        self._authorizer = Authorizer(_http_config(settings), PoolTransport(pool), clock)

    @property
    def target(self) -> str:
        """Return method and URL, without credentials and query."""
        return f"{self._settings.method} {shown_url(self._url)}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Request the URL once."""
        limit_s = timeout_s * _SHARE_OF_TIMEOUT
        try:
            headers = await self._authorizer.headers({}, limit_s)
            context = await self._contexts.context(self._settings.tls)
        except DeliveryError as error:
            return ProbeResult.failed(str(error), "authorization")
        except TransportError as error:
            return ProbeResult.failed(str(error), "configuration")
        result = await self._request({**self._settings.headers, **headers}, context, limit_s)
        if result.attributes.get(STATUS) == 401:
            self._authorizer.refused()  # the next run asks for another token
        return result

    async def _request(
        self, headers: Mapping[str, str], context: ssl.SSLContext, limit_s: float
    ) -> ProbeResult:
        settings = self._settings
        started_s = self._clock.monotonic()
        record = RequestRecord(self._clock)
        found: dict[str, AttributeValue] = {}
        body = b""
        answer_headers: dict[str, str] = {}
        fault: Fault | None = None
        try:
            async with self._pool.request(
                settings.method,
                self._url,
                headers=headers,
                data=settings.body or None,
                timeout_s=limit_s,
                allow_redirects=settings.follow_redirects,
                disclosure=Disclosure(sends_trace=settings.send_traceparent),
                route=HTTPRoute(
                    ssl_context=context,
                    server_hostname=settings.tls.server_name or None,
                    record=record,
                ),
            ) as response:
                found[STATUS] = response.status
                answer_headers = dict(response.headers)
                answered_s = self._clock.monotonic()
                body = await response.read(max_bytes=settings.max_body)
                found[names.TRANSFER_S] = self._clock.monotonic() - answered_s
                found[names.BODY_SIZE] = len(body)
        except HTTPRequestError as error:
            about = Placeholder.CONNECTED if error.reason in _UNREACHED else None
            fault = Fault(error.detail, error.reason.value, about if not found else None)
        found |= _phases(record)
        findings = Findings(
            connected=STATUS in found,
            response_time_s=self._clock.monotonic() - started_s,
            status=_whole(found.get(STATUS)),
            ip=record.address,
            body=body,
            headers=answer_headers,
            certificate_expires_in_s=expires_in_s(found, self._clock.time()),
        )
        return self._expectations.result(
            findings,
            found,
            remark=f"status {findings.status}" if findings.connected else "",
            fault=fault or self._judge_status(findings.status or 0),
        )

    def _judge_status(self, status: int) -> Fault | None:
        statuses = self._settings.expected_status
        if status in statuses if statuses else 200 <= status < 300:
            return None
        wanted = " or ".join(str(each) for each in statuses) or "2xx"
        about = None if statuses else Placeholder.STATUS
        return Fault(f"status {status}, expected {wanted}", "status", about)


def _whole(value: AttributeValue | None) -> int | None:
    return value if isinstance(value, int) else None


def _phases(record: RequestRecord) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        names.RESOLVE_S: record.resolve_s,
        names.CONNECT_S: record.connect_s,
        names.PROCESSING_S: record.processing_s,
        names.REDIRECTS: record.redirects,
        **tls_attributes(record.tls),
    }
    if record.address:
        found[names.ADDRESS] = record.address
    if record.http_version:
        found[names.HTTP_VERSION] = record.http_version
    if record.tls is not None:
        found[names.HANDSHAKE_S] = record.handshake_s  # of all redirects
    return found


def _http_config(settings: HTTPProbeSettings) -> HTTPConfig:
    """Return how requests are authorized, in the form the channels of alerts have."""
    authorization: BasicAuth | Authorization | OAuth2 | None = None
    if settings.basic_auth is not None:
        password = settings.basic_auth.password
        authorization = BasicAuth(
            settings.basic_auth.username,
            None if password is None else Secret(password.get_secret_value()),
        )
    elif settings.bearer_token is not None:
        token = Secret(settings.bearer_token.get_secret_value())
        authorization = Authorization("Bearer", token)
    elif settings.oauth2 is not None:
        authorization = OAuth2(
            settings.oauth2.client_id,
            Secret(settings.oauth2.client_secret.get_secret_value()),
            str(settings.oauth2.token_url),
            settings.oauth2.scopes,
            connection=ConnectionOptions(tls_options(settings.tls)),
        )
    return HTTPConfig(authorization)


def _secrets(settings: HTTPProbeSettings) -> tuple[str, ...]:
    """Return the texts that the other side may send back and nobody else shall see."""
    given = [value for name, value in settings.headers.items() if is_telling(name)]
    if settings.basic_auth is not None and settings.basic_auth.password is not None:
        given.append(settings.basic_auth.password.get_secret_value())
    if settings.bearer_token is not None:
        given.append(settings.bearer_token.get_secret_value())
    if settings.oauth2 is not None:
        given.append(settings.oauth2.client_secret.get_secret_value())
    given += [settings.url.password or ""]
    return tuple(secret for secret in given if len(secret) > 2)
