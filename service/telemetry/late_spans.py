"""Spans that are recorded although their trace is not, because they failed or took long.

The share of traces is drawn before anything is known of them. What ends in an error, or late, is
recorded nevertheless: one span, without those around it, which were never made. No more than a few
a second, for an overload makes errors by the thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags

from alerts.clock import Clock
from alerts.spans import SAMPLING_REASON

MAX_LATE_SPANS_PER_S: Final = 20

Reason = Literal["error", "slow"]


class LatePolicy:
    """Decides which ends are worth a span.

    Attributes:
        slow_s: Seconds from which something is slow; infinite: nothing is.
    """

    __slots__ = ("_clock", "_errors", "_left", "_seen_at", "slow_s")

    def __init__(self, clock: Clock, *, errors: bool, slow_s: float) -> None:
        """Set what counts.

        Args:
            clock: Times the limit.
            errors: Whether errors do.
            slow_s: From how many seconds on slow ones do; 0: they do not.
        """
        self._clock = clock
        self._errors = errors
        self.slow_s = slow_s or float("inf")
        self._left = float(MAX_LATE_SPANS_PER_S)
        self._seen_at = clock.monotonic()

    def reason(self, *, failed: bool, duration_s: float) -> Reason | None:
        """Return why something that ended is to be recorded; None: it is not."""
        reason: Reason
        if failed and self._errors:
            reason = "error"
        elif duration_s >= self.slow_s:
            reason = "slow"
        else:
            return None
        return reason if self._take() else None

    def _take(self) -> bool:
        """Whether there is room for one more; unlike clients, errors do not learn from refusals."""
        now, limit = self._clock.monotonic(), float(MAX_LATE_SPANS_PER_S)
        self._left = min(limit, self._left + (now - self._seen_at) * limit)
        self._seen_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class LateSpans(SpanProcessor):
    """Passes on spans that were kept without being sampled, if they failed or took long."""

    def __init__(self, policy: LatePolicy, processors: Sequence[SpanProcessor]) -> None:
        """Pass on to these processors, which see the sampled ones already."""
        self._policy = policy
        self._processors = tuple(processors)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: how it ends is what counts."""

    def on_end(self, span: ReadableSpan) -> None:
        """Pass the span on as a sampled one, if it is worth it."""
        context = span.context
        if context is None or context.trace_flags.sampled:
            return
        failed = span.status.status_code is StatusCode.ERROR
        duration_s = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        reason = self._policy.reason(failed=failed, duration_s=duration_s)
        if reason is None:
            return
        late = _sampled(span, context, reason)
        for processor in self._processors:
            processor.on_end(late)

    def shutdown(self) -> None:
        """Do nothing: the processors are shut down by who owns them."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Do nothing: nothing waits here."""
        return True


def _sampled(span: ReadableSpan, context: SpanContext, reason: Reason) -> ReadableSpan:
    """Return a span as if it had been sampled, with the reason among its attributes."""
    return ReadableSpan(
        name=span.name,
        context=SpanContext(
            context.trace_id,
            context.span_id,
            is_remote=False,
            trace_flags=TraceFlags(context.trace_flags | TraceFlags.SAMPLED),
            trace_state=context.trace_state,
        ),
        parent=span.parent,
        resource=span.resource,
        attributes={**(span.attributes or {}), SAMPLING_REASON: reason},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
