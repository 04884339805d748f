"""A call to a back end: timed, a span where the trace is recorded, and what its failure means.

The requests of a call are the HTTP pool's spans below that of the call. Answers are not kept: every
call is a request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeVar

from opentelemetry import context as active_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, StatusCode

from alerts.clock import Clock
from service.gateway.codes import (
    DisconnectError,
    ProtocolError,
    internal_error,
    too_many_requests,
)
from service.gateway.proxy_requests import ProxyClient, ProxyEvent, encode_request
from service.gateway.upstream import Outcome, Upstream, UpstreamError
from service.telemetry.instruments import Instruments
from service.telemetry.local_histograms import SeriesTable
from service.telemetry.span_definitions import ASK

_LOG: Final = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a back end.

    Attributes:
        event: What it is about.
        upstream: Who is asked.
        template: Of the method or channel, for telemetry.
        parent: Context of a recorded trace; None: the trace is not recorded.
    """

    event: ProxyEvent
    upstream: Upstream
    template: str
    parent: Context | None


class ProxyCalls:
    """Makes calls for all clients."""

    def __init__(self, *, clock: Clock, random: Random, instruments: Instruments) -> None:
        """Time calls by a clock, and report them to instruments."""
        self._clock = clock
        self._random = random
        self._tracer = instruments.tracer
        self._durations = SeriesTable(
            instruments.proxy_duration,
            "gateway.proxy.event",
            "gateway.proxy.upstream",
            "gateway.proxy.template",
            "gateway.proxy.outcome",
        )

    async def ask(
        self,
        call: Call,
        client: ProxyClient,
        fields: Mapping[str, Any],
        *,
        data: bytes | None,
        read: Callable[[bytes], Answer],
    ) -> Answer:
        """Ask a back end, and turn what goes wrong into what the client is told.

        Args:
            call: What about, and whom.
            client: On whose behalf.
            fields: Of the request, beside those of the client; empty ones are left out.
            data: What the client sent, as JSON; None: nothing.
            read: Reads the body of an answer; raises ``AnswerError`` if it is not in the format.

        Raises:
            ProtocolError: What the back end answers, or: too many calls at once (111), no usable
                answer (100); the latter two have the ``UpstreamError`` as their cause.
            DisconnectError: The back end wants it.
        """
        settings = call.upstream.settings
        body = encode_request(
            client,
            fields,
            data=data,
            binary=settings.binary_encoding,
            with_meta=settings.include_connection_meta,
        )
        with self._observed(call):
            try:
                return await call.upstream.ask(
                    body, client, changes_nothing=call.event.changes_nothing, read=read
                )
            except UpstreamError as error:
                _LOG.warning(
                    "the back end %s was asked about %s: %.500s",
                    call.upstream.name,
                    call.event.value,
                    error,
                    extra={"gateway.proxy.outcome": error.outcome.value, "client": client.id},
                )
                told = too_many_requests if error.outcome is Outcome.TOO_MANY else internal_error
                raise told() from error

    @contextmanager
    def _observed(self, call: Call) -> Iterator[None]:
        """Time a call, and have its requests sent under its span."""
        began = self._clock.monotonic()
        attributes = {
            "gateway.proxy.event": call.event.value,
            "gateway.proxy.upstream": call.upstream.name,
            "gateway.proxy.template": call.template,
        }
        span = self._span(call, attributes)
        token = active_context.attach(trace.set_span_in_context(span, call.parent or Context()))
        outcome = Outcome.RESULT
        try:
            yield
        except BaseException as error:
            outcome = _outcome(error)
            span.set_status(StatusCode.ERROR, outcome.value)
            raise
        finally:
            active_context.detach(token)
            span.set_attribute("gateway.proxy.outcome", outcome.value)
            span.end()
            self._record(self._clock.monotonic() - began, call, outcome, span.get_span_context())

    def _record(self, duration_s: float, call: Call, outcome: Outcome, span: SpanContext) -> None:
        series = self._durations.of(
            call.event.value, call.upstream.name, call.template, outcome.value
        )
        series.record(duration_s)
        if span.trace_flags.sampled:
            series.point_to(span, duration_s, int(self._clock.time() * 1e9))

    def _span(self, call: Call, attributes: Mapping[str, str]) -> Span:
        if call.parent is None:
            # An id that is valid: without a parent the spans below would decide for themselves.
            bits = self._random.getrandbits
            return NonRecordingSpan(SpanContext(bits(128) | 1, bits(64) | 1, is_remote=False))
        return ASK.start(
            self._tracer,
            {"upstream": call.upstream.name},
            context=call.parent,
            attributes=attributes,
        )


def _outcome(error: BaseException) -> Outcome:
    cause = error.__cause__
    if isinstance(cause, UpstreamError):
        return cause.outcome
    if isinstance(error, ProtocolError):
        return Outcome.ERROR
    return Outcome.DISCONNECT if isinstance(error, DisconnectError) else Outcome.CANCELLED
