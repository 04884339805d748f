"""One back end: which headers it is sent, when it is asked again, and when it is left alone.

A request is repeated only when it is certain that nothing was executed: its connection was refused,
or it asks a question that changes nothing. Redirects are not followed, because what was executed
where could not be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from random import Random
from typing import Final, TypeVar

from alerts.clock import Clock
from service.config.proxy_settings import UpstreamSettings
from service.gateway.circuit import CircuitBreaker, Permit
from service.gateway.codes import DisconnectError, GatewayError, ProtocolError
from service.gateway.proxy_fields import AnswerError
from service.gateway.proxy_requests import ProxyClient
from service.pools.errors import HTTPFailure, HTTPRequestError
from service.pools.http import HTTPAnswer, HTTPConnectionPool
from service.pools.http_tracing import Disclosure
from service.pools.websocket import CloseReason

Answer = TypeVar("Answer")

_MAX_RETRIES: Final = 2
_RETRY_WITHIN_S: Final = 0.05
"""How long the first repetition is put off at most; the second, twice as long."""
_NOT_SENT: Final = frozenset((HTTPFailure.CONNECT,))
_UNKNOWN_IF_EXECUTED: Final = frozenset((HTTPFailure.DISCONNECTED,))
_OURS: Final = frozenset((HTTPFailure.CLOSED, HTTPFailure.POOL_WAIT, HTTPFailure.INVALID_URL))
"""Failures that say nothing about the back end."""
_TIMEOUTS: Final = frozenset(
    (HTTPFailure.TIMEOUT, HTTPFailure.CONNECT_TIMEOUT, HTTPFailure.POOL_WAIT)
)


class Outcome(StrEnum):
    """How a call ended; the values are those of the attribute ``gateway.proxy.outcome``."""

    RESULT = "result"
    ERROR = "error"
    DISCONNECT = "disconnect"
    STATUS = "status"
    ANSWER = "answer"
    TIMEOUT = "timeout"
    TRANSPORT = "transport"
    CIRCUIT_OPEN = "circuit_open"
    TOO_MANY = "too_many"
    CANCELLED = "cancelled"


class Evidence(Enum):
    """What a call says about a back end."""

    WORKS = auto()
    FAILS = auto()
    NONE = auto()


class UpstreamError(GatewayError):
    """A back end that could not be asked, or gave no usable answer.

    Attributes:
        outcome: Which of the known ways it was.
        evidence: What it says about the back end.
    """

    def __init__(self, outcome: Outcome, detail: str, evidence: Evidence = Evidence.FAILS) -> None:
        self.outcome = outcome
        self.evidence = evidence
        super().__init__(detail)


@dataclass(slots=True)
class UpstreamStats:
    """Plain integers: ``active`` is a level, ``retries`` counts since the start."""

    active: int = 0
    retries: int = 0


class Upstream:
    """Sends requests to one back end.

    Attributes:
        name: In settings, telemetry and log.
        settings: Where it is and how it is treated.
        circuit: Whether it is asked at all.
        stats: Its counts.
    """

    def __init__(
        self,
        name: str,
        settings: UpstreamSettings,
        *,
        pool: HTTPConnectionPool,
        clock: Clock,
        random: Random,
    ) -> None:
        """Take over the settings; nothing is sent yet."""
        self.name = name
        self.settings = settings
        self.circuit = CircuitBreaker(
            failure_threshold=settings.circuit.failure_threshold,
            open_s=settings.circuit.open_for,
            clock=clock,
        )
        self.stats = UpstreamStats()
        self._url = str(settings.endpoint)
        self._pool = pool
        self._clock = clock
        self._random = random
        self._passed_on = [name.lower() for name in settings.http_headers]
        self._emulated = [name.lower() for name in settings.emulated_headers]
        self._static = {
            name.lower(): value.get_secret_value()
            for name, value in settings.static_headers.items()
        }
        self._meanings = {each.status_code: each for each in settings.status_to_code_transforms}

    async def ask(
        self,
        body: bytes,
        client: ProxyClient,
        *,
        changes_nothing: bool,
        read: Callable[[bytes], Answer],
    ) -> Answer:
        """Send a request and return what was read from the answer.

        Args:
            body: JSON.
            client: Whose headers are passed on.
            changes_nothing: Whether asking twice does no harm.
            read: Reads the body of an answer; raises ``AnswerError`` if it is not in the format.

        Raises:
            UpstreamError: It cannot be asked now, or gave no answer in the format.
            ProtocolError: The answer, or the meaning that settings give to its status.
            DisconnectError: The same.
        """
        if self.stats.active >= self.settings.max_in_flight:
            raise UpstreamError(
                Outcome.TOO_MANY, f"{self.stats.active} requests are in progress (max_in_flight)"
            )
        permit = self.circuit.admit()
        if permit is None:
            raise UpstreamError(Outcome.CIRCUIT_OPEN, "it failed and is left alone for a while")
        self.stats.active += 1
        try:
            answer = await self._exchange(body, self._headers(client), changes_nothing)
            result = self._read(answer, read)
        except BaseException as error:
            self._judge(permit, _shows(error))
            raise
        finally:
            self.stats.active -= 1
        self._judge(permit, Evidence.WORKS)
        return result

    def _judge(self, permit: Permit, evidence: Evidence) -> None:
        match evidence:
            case Evidence.WORKS:
                self.circuit.succeeded(permit)
            case Evidence.FAILS:
                self.circuit.failed(permit)
            case Evidence.NONE:
                self.circuit.abandoned(permit)

    async def _exchange(
        self, body: bytes, headers: Mapping[str, str], changes_nothing: bool
    ) -> HTTPAnswer:
        """Send until there is an answer, a failure that forbids another try, or no time left."""
        deadline = self._clock.monotonic() + self.settings.timeout
        again_after = _NOT_SENT | _UNKNOWN_IF_EXECUTED if changes_nothing else _NOT_SENT
        attempt = 0
        while True:
            try:
                return await self._send(body, headers, deadline, attempt)
            except HTTPRequestError as error:
                pause_s = self._random.uniform(0, _RETRY_WITHIN_S * 2**attempt)
                no_time = self._clock.monotonic() + pause_s >= deadline
                if no_time or attempt == _MAX_RETRIES or error.reason not in again_after:
                    raise _failure(error) from error
            await self._clock.sleep(pause_s)
            attempt += 1
            self.stats.retries += 1

    async def _send(
        self, body: bytes, headers: Mapping[str, str], deadline: float, attempt: int
    ) -> HTTPAnswer:
        return await self._pool.fetch(
            "POST",
            self._url,
            headers=headers,
            data=body,
            timeout_s=max(0.001, deadline - self._clock.monotonic()),
            allow_redirects=False,
            max_bytes=self.settings.max_answer_size,
            disclosure=Disclosure(resend_count=attempt),
        )

    def _headers(self, client: ProxyClient) -> dict[str, str]:
        """Return the headers of a request; those of the transport go before emulated ones."""
        emulated = {
            name: client.emulated_headers[name]
            for name in self._emulated
            if name in client.emulated_headers
        }
        passed_on = {
            name: client.headers[name] for name in self._passed_on if name in client.headers
        }
        return {**self._static, **emulated, **passed_on, "content-type": "application/json"}

    def _read(self, answer: HTTPAnswer, read: Callable[[bytes], Answer]) -> Answer:
        if answer.status != 200:
            raise self._meaning(answer.status)
        try:
            return read(answer.body)
        except AnswerError as error:
            raise UpstreamError(Outcome.ANSWER, str(error)) from error

    def _meaning(self, status: int) -> GatewayError:
        meaning = self._meanings.get(status)
        if meaning is not None and meaning.to_error is not None:
            error = meaning.to_error
            return ProtocolError(error.code, error.message, temporary=error.temporary)
        if meaning is not None and meaning.to_disconnect is not None:
            close = meaning.to_disconnect
            return DisconnectError(CloseReason(close.code, close.reason), f"status {status}")
        hint = "; redirects are not followed" if 300 <= status < 400 else ""
        # A 4xx comes from something that works and may be about this one request.
        return UpstreamError(
            Outcome.STATUS,
            f"it answered with the status {status}{hint}",
            Evidence.WORKS if 400 <= status < 500 else Evidence.FAILS,
        )


def _failure(error: HTTPRequestError) -> UpstreamError:
    return UpstreamError(
        Outcome.TIMEOUT if error.reason in _TIMEOUTS else Outcome.TRANSPORT,
        str(error),
        Evidence.NONE if error.reason in _OURS else Evidence.FAILS,
    )


def _shows(error: BaseException) -> Evidence:
    """Return what it says about a back end that a call ended with an error."""
    if isinstance(error, UpstreamError):
        return error.evidence
    answered = isinstance(error, ProtocolError | DisconnectError)
    return Evidence.WORKS if answered else Evidence.NONE  # a cancellation
