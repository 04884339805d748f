"""Starts the spans of fixed shapes, and passes them on when they end.

It decides as the SDK's sampler does, parent first, and says so with the same flags, so that its
spans and the SDK's are parents and children of each other. Below a parent that is kept without
being sampled the SDK keeps children too; spans of these shapes have none. What ends goes into the
queue of the export as it is; only those who look at spans in this process get the SDK's form, and
see their ends alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, Self

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags, get_current_span

from alerts.clock import Clock, SystemClock
from alerts.spans import SAMPLING_REASON, SpanDefinition
from service.telemetry.late_spans import LatePolicy
from service.telemetry.recorded_spans import RecordedSpan, SpanOrigin, SpanShape, Value
from service.telemetry.sampling import EntrySampler, is_decided, links_of
from service.telemetry.sampling_rules import SamplingRules

_FLAGS: Final = tuple(TraceFlags(bits) for bits in range(4))
_SAMPLED: Final = int(TraceFlags.SAMPLED)
_RANDOM: Final = int(TraceFlags.RANDOM_TRACE_ID)
_MAX_ATTRIBUTES: Final = 16
"""More than any shape has; limits that are lower have to be looked at."""
_MAX_LINKS: Final = 128
NO_LIMITS: Final = SpanLimits(
    max_attributes=SpanLimits.UNSET,
    max_events=SpanLimits.UNSET,
    max_links=SpanLimits.UNSET,
    max_span_attributes=SpanLimits.UNSET,
    max_event_attributes=SpanLimits.UNSET,
    max_link_attributes=SpanLimits.UNSET,
    max_attribute_length=SpanLimits.UNSET,
    max_span_attribute_length=SpanLimits.UNSET,
)


class SpanQueue(Protocol):
    """Where spans wait to be exported."""

    def put(self, item: ReadableSpan | RecordedSpan) -> None:
        """Take one that ended; never blocks."""


class SpanRecorder:
    """Makes spans that cost little; for the event loop, or one thread after the other."""

    def __init__(
        self,
        origin: SpanOrigin,
        sampler: EntrySampler,
        clock: Clock,
        *,
        queue: SpanQueue | None = None,
        processors: Sequence[SpanProcessor] = (),
        late: LatePolicy | None = None,
        limits: SpanLimits = NO_LIMITS,
        random_bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        """Say who makes spans, and who gets them.

        Args:
            origin: The process, and the part of it.
            sampler: Decides where neither the parent nor the caller did.
            clock: Gives spans their times.
            queue: Where they go to be exported.
            processors: Get those that ended, in the SDK's form.
            late: Decides which of those that are kept without being sampled are worth it.
            limits: Of attributes and links.
            random_bits: Makes ids.
        """
        self._origin = origin
        self._sampler = sampler
        self._clock = clock
        self._queue = queue
        self._processors = tuple(processors)
        self._late = late
        self._limits = limits
        self._is_cut = _may_cut(self._limits)
        self._random_bits = random_bits

    @classmethod
    def disabled(cls) -> Self:
        """Return a recorder that nobody gets spans from."""
        origin = SpanOrigin(Resource.get_empty(), InstrumentationScope(""))
        return cls(origin, EntrySampler(SamplingRules(0.0)), SystemClock())

    def shape(
        self,
        definition: SpanDefinition,
        parts: Mapping[str, str],
        attributes: Mapping[str, str],
        *names: str,
    ) -> SpanShape:
        """Return a shape; to be kept, as whoever encodes spans keeps its bytes.

        Args:
            definition: The kind of span.
            parts: What fills the braces of its name.
            attributes: What all of its spans have; an empty value: they do not.
            names: The attributes that differ from span to span.
        """
        given = {name: value for name, value in attributes.items() if value}
        return SpanShape(definition.named(**parts), definition.kind, given, names, self._origin)

    def start_in(
        self, context: Context, shape: SpanShape, values: tuple[Value, ...], *, start_ns: int = 0
    ) -> RecordedSpan:
        """Start the span that belongs into a context; the caller ends it.

        Args:
            context: Holds its parent, what it links to, and whether it was decided on.
            shape: What it has in common with others.
            values: Of the attributes that the shape names; None: it has none.
            start_ns: Unix nanoseconds; 0: now.
        """
        parent = get_current_span(context).get_span_context()
        return self.start(
            shape,
            parent if parent.is_valid else None,
            values,
            linked=links_of(context),
            start_ns=start_ns,
            decided=is_decided(context),
        )

    def start(
        self,
        shape: SpanShape,
        parent: SpanContext | None,
        values: tuple[Value, ...],
        *,
        linked: tuple[SpanContext, ...] = (),
        start_ns: int = 0,
        decided: bool = False,
    ) -> RecordedSpan:
        """Start a span below another; the caller ends it.

        Args:
            shape: What it has in common with others.
            parent: Its parent; None: it has none.
            values: Of the attributes that the shape names; None: it has none.
            linked: The spans it links to.
            start_ns: Unix nanoseconds; 0: now.
            decided: Whether it was decided that it is recorded.
        """
        bits, state = self._random_bits, None
        if parent is None:
            trace_id, flags, is_sampled = bits(128) or 1, _RANDOM, decided
        else:
            # Unpacked, as each attribute of a context is a call.
            trace_id, _, is_remote, flags, state, _ = parent
            is_sampled = decided or bool(flags & _SAMPLED and not is_remote)
        ends: SpanRecorder | None = self
        if not is_sampled:
            decision = self._decide(shape.name, parent, trace_id, linked)
            is_sampled = decision is Decision.RECORD_AND_SAMPLE
            ends = None if decision is Decision.DROP else self
        flags = _FLAGS[flags & _RANDOM | is_sampled]
        return RecordedSpan(
            shape,
            SpanContext(trace_id, bits(64) or 1, False, flags, state),
            parent,
            values,
            linked,
            start_ns or int(self._clock.time() * 1e9),
            ends,
        )

    def now_ns(self) -> int:
        """Return Unix nanoseconds."""
        return int(self._clock.time() * 1e9)

    def take(self, span: RecordedSpan) -> None:
        """Pass a span on that ended; one that is not sampled if it failed or took long."""
        if not (span.get_span_context().trace_flags & _SAMPLED or self._is_late(span)):
            return
        if self._queue is not None:
            self._queue.put(span.readable(self._limits) if self._is_cut else span)
        if self._processors:
            readable = span.readable(self._limits)
            for processor in self._processors:
                processor.on_end(readable)

    def _decide(
        self,
        name: str,
        parent: SpanContext | None,
        trace_id: int,
        linked: tuple[SpanContext, ...],
    ) -> Decision:
        """Decide about a span that neither the caller nor a parent in this process decided on."""
        if parent is not None and not parent.trace_flags & _SAMPLED:
            return Decision.DROP
        is_linked = any(context[3] & _SAMPLED for context in linked)
        return self._sampler.decide(trace_id, name, linked=is_linked)

    def _is_late(self, span: RecordedSpan) -> bool:
        """Whether an unsampled span is worth it; it becomes a sampled one then."""
        if self._late is None:
            return False
        failed = span.rest is not None and span.rest.status.status_code is StatusCode.ERROR
        duration_s = (span.end_ns - span.start_ns) / 1e9
        reason = self._late.reason(failed=failed, duration_s=duration_s)
        if reason is None:
            return False
        context = span.get_span_context()
        flags = _FLAGS[context.trace_flags | _SAMPLED]
        sampled = SpanContext(context.trace_id, context.span_id, False, flags, context.trace_state)
        span.promote(sampled, SAMPLING_REASON, reason)
        return True


def _may_cut(limits: SpanLimits) -> bool:
    """Whether limits are such that a span of these shapes may reach one."""

    def is_low(limit: int | None, most: int) -> bool:
        return limit is not None and limit < most

    return (
        limits.max_span_attribute_length is not None
        or is_low(limits.max_span_attributes, _MAX_ATTRIBUTES)
        or is_low(limits.max_links, _MAX_LINKS)
    )
