"""``POST /v1/metrics``: OTLP over HTTP into the series store, as a part that starts and stops.

Owns what a request may cost and how it is answered. Bodies are read as they come, decompressed by
aiohttp in pieces that are counted, so that a body that unpacks without end ends at the limit; what
they hold is decoded and stored on one thread, so that the event loop goes on.

Source: OTLP specification 1.9, "OTLP/HTTP": answers, partial success, what senders repeat.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from aiohttp import hdrs, web

from alerts.api.series import MetricMetadata
from alerts.clock import Clock
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from service.config.telemetry_settings import ReceiverSettings
from service.deadline import Deadline
from service.receiving.encoding import (
    CONTENT_TYPES,
    Encoding,
    content_type,
    decode_request,
    encode_answer,
    encode_refusal,
)
from service.receiving.errors import ReceivingError, RefusedRequest
from service.receiving.requests import Outcome, Requests
from service.receiving.targets import Targets
from service.receiving.translating import AttributeLimits, RefusedPoint

PATH: Final = "/v1/metrics"

_MAX_PLACES: Final = 8
"""Requests that are read, wait or are taken at the same time; more are asked to come again."""
_READ_TIMEOUT_S: Final = 10.0
_RETRY_AFTER_S: Final = 1
_ENCODINGS: Final = ("", "identity", "gzip")
_STATUS: Final[dict[RefusedRequest, int]] = {
    "malformed": 400,
    "slow": 408,
    "too_large": 413,
    "unsupported": 415,
    "overloaded": 503,
    "starting": 503,
}


@dataclass(slots=True)
class ReceivingStats:
    """Counts since the start; read them when metrics are collected.

    Attributes:
        requests: Requests that were taken.
        requests_refused: Requests nothing was taken of, by reason.
        points: Data points that were taken.
        points_refused: Data points that were refused, by reason.
    """

    requests: int = 0
    requests_refused: Counter[RefusedRequest] = field(default_factory=Counter)
    points: int = 0
    points_refused: Counter[RefusedPoint] = field(default_factory=Counter)


class Receiver:
    """Receives the metrics of other services; an async context manager.

    Attributes:
        stats: Counts.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        store: SeriesStore,
        retention_s: float,
        clock: Clock,
        own: Labels,
        is_ready: Callable[[], bool],
    ) -> None:
        """Build it.

        Args:
            settings: Limits.
            store: Where samples go.
            retention_s: How long the store keeps them, in seconds.
            clock: Time.
            own: ``job`` and ``instance`` of the series the process stores of itself.
            is_ready: Tells whether the store may be appended to.
        """
        self.stats = ReceivingStats()
        self._settings = settings
        self._clock = clock
        self._is_ready = is_ready
        self._targets = Targets(
            store, clock=clock, retention_s=retention_s, max_series=settings.max_series
        )
        self._requests = Requests(
            self._targets,
            limits=AttributeLimits(settings.max_attributes, settings.max_attribute_length),
            max_data_points=settings.max_data_points,
            own=own,
        )
        self._places = 0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="receive-metrics")

    @property
    def services(self) -> int:
        """How many services sent something lately."""
        return self._targets.count

    @property
    def metadata(self) -> list[MetricMetadata]:
        """What is known of the metrics that were received."""
        return self._requests.metadata

    @property
    def series(self) -> int:
        """How many series were received lately."""
        return self._targets.series

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the receiver, if it is switched on."""
        return [web.post(PATH, self._receive)] if self._settings.enabled else []

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        encoding = CONTENT_TYPES.get(request.content_type, "protobuf")
        try:
            outcome = await self._take(request, encoding)
        except ReceivingError as error:
            self.stats.requests_refused[error.reason] += 1
            return await _refuse(request, error, encoding)
        self.stats.requests += 1
        self.stats.points += outcome.points - outcome.refused.total()
        self.stats.points_refused += outcome.refused
        return web.Response(
            body=encode_answer(outcome.rejected, outcome.message, encoding),
            headers={hdrs.CONTENT_TYPE: content_type(encoding)},
        )

    async def _take(self, request: web.Request, encoding: Encoding) -> Outcome:
        if request.content_type not in CONTENT_TYPES:
            raise ReceivingError(
                "unsupported",
                f"the content type {request.content_type!r} is not taken; send "
                + " or ".join(CONTENT_TYPES),
            )
        compression = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
        if compression not in _ENCODINGS:
            raise ReceivingError(
                "unsupported",
                f"the content encoding {compression!r} is not taken; send gzip or none",
            )
        if not self._is_ready():
            raise ReceivingError("starting", "the series store is not ready yet; send it again")
        if self._places >= _MAX_PLACES:
            raise ReceivingError("overloaded", "too many requests at a time; send it again later")
        self._places += 1
        try:
            body = await self._read(request)
            return await self._run(lambda: self._requests.take(decode_request(body, encoding)))
        finally:
            self._places -= 1

    async def _read(self, request: web.Request) -> bytes:
        """Return the body, decompressed.

        Raises:
            ReceivingError: It is too large, was not compressed as said, or came too slowly.
        """
        limit = self._settings.max_body_size
        announced = request.content_length
        body = bytearray()
        try:
            if announced is not None and announced > limit:
                raise _too_large(limit)
            async with Deadline(self._clock, _READ_TIMEOUT_S):
                async for piece in request.content.iter_any():
                    body += piece
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError:
            raise ReceivingError(
                "slow", f"the body did not come within {_READ_TIMEOUT_S:.0f} s"
            ) from None
        except web.RequestPayloadError as error:
            reason = " ".join(str(error).split())
            raise ReceivingError("malformed", f"the body cannot be read: {reason}") from error
        return bytes(body)

    async def _run(self, work: Callable[[], Outcome]) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _too_large(limit: int) -> ReceivingError:
    return ReceivingError(
        "too_large",
        f"the body has more than {limit} bytes, decompressed or not, which is "
        "telemetry.receiver.max_body_size; send smaller batches",
    )


async def _refuse(
    request: web.Request, error: ReceivingError, encoding: Encoding
) -> web.StreamResponse:
    status = _STATUS[error.reason]
    headers = {hdrs.CONTENT_TYPE: content_type(encoding)}
    if status == 503:
        headers[hdrs.RETRY_AFTER] = str(_RETRY_AFTER_S)
    response = web.Response(status=status, body=encode_refusal(error, encoding), headers=headers)
    if not request.content.at_eof():
        # What is left of the body is not wanted; the server would read, and unpack, more of it.
        response.force_close()
        await response.prepare(request)
        await response.write_eof()
        request.protocol.force_close()
    return response
