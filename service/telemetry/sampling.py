"""Which traces are recorded: decided before a span exists, and once per trace.

An unsampled SDK span costs about 5 us, a look at a random number 30 ns. So entry points ask
``MessageSampling`` first and touch the tracer only for traces that will be recorded. The SDK's
sampler below knows such a decision when it sees one, so a trace is never sampled twice.

Trust: anyone can send a ``traceparent`` with the sampled flag. It is obeyed for the configured
share of trace ids only, so a client cannot turn on recording for everything it sends; a flag that
says "not sampled" is always obeyed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context, create_key
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes

from service.telemetry.propagation import TraceParents, claims_sampled, parse_traceparent

_DECIDED: Final = create_key("gatewatch-sampling-decided")
_TRACE_ID_MASK: Final = TraceIdRatioBased.TRACE_ID_LIMIT


class MessageSampling:
    """Decides for one message, frame or request whether its trace is recorded.

    Attributes:
        ratio: Share of traces that are recorded, 0 to 1; 0 when nothing consumes spans.
        trace_parents: The parser of incoming ``traceparent`` values, with its counts.
    """

    __slots__ = ("_bound", "_random", "_root", "ratio", "trace_parents")

    def __init__(
        self,
        ratio: float,
        *,
        random_source: Callable[[], float] = random.random,
        trace_parents: TraceParents | None = None,
    ) -> None:
        self.ratio = ratio
        self.trace_parents = trace_parents or TraceParents()
        self._random = random_source
        self._bound = TraceIdRatioBased.get_bound_for_rate(ratio)
        self._root = Context({_DECIDED: True})

    def decide(self, traceparent: str | None = None, tracestate: str = "") -> Context | None:
        """Return the context to start the span in, or None when the trace is not recorded.

        For entry points: an HTTP request, a frame. Inside one that is being traced, ask
        ``opentelemetry.trace.get_current_span().is_recording()`` instead.

        Args:
            traceparent: What the peer sent, if anything; a malformed one counts as absent.
            tracestate: What the peer sent along with it.
        """
        if traceparent is None:
            return self._root if self._random() < self.ratio else None
        if _says_no(traceparent):
            return None
        remote = self.trace_parents.parse(traceparent, tracestate)
        if remote is None:
            return self._root if self._random() < self.ratio else None
        if not remote.trace_flags.sampled or remote.trace_id & _TRACE_ID_MASK >= self._bound:
            return None
        return set_span_in_context(NonRecordingSpan(remote), Context())

    def passing(self, traceparent: str | None, tracestate: str = "") -> Context | None:
        """Return the context of a trace that is not recorded here but goes on, or None.

        For what ``decide`` turned down: log records keep the trace's id and calls out carry it on,
        marked as not sampled.
        """
        if traceparent is None:
            return None
        # What decide parsed it counted already.
        parse = self.trace_parents.parse if _says_no(traceparent) else parse_traceparent
        remote = parse(traceparent, tracestate)
        if remote is None:
            return None
        unsampled = SpanContext(
            remote.trace_id, remote.span_id, is_remote=True, trace_state=remote.trace_state
        )
        return set_span_in_context(NonRecordingSpan(unsampled), Context())


def _says_no(traceparent: str) -> bool:
    """Whether a value of the usual length has the sampled bit unset; the rest is not looked at."""
    return len(traceparent) == 55 and not claims_sampled(traceparent)


class RootSampler(Sampler):
    """Samples spans without a parent: decided ones, those with sampled links, and a share."""

    def __init__(self, ratio: float) -> None:
        self._share = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Record what was decided already, what links to a recorded span, and a share of the rest.

        A batch is recorded when one of its messages is: its own dice would leave the messages'
        traces without their end.
        """
        decided = parent_context is not None and _DECIDED in parent_context
        if decided or any(link.context.trace_flags.sampled for link in links or ()):
            return ALWAYS_ON.should_sample(
                parent_context, trace_id, name, kind, attributes, links, trace_state
            )
        return self._share.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Return what the sampler does, for people."""
        return f"Root{{{self._share.get_description()}}}"


def create_sampler(ratio: float) -> Sampler:
    """Return the SDK sampler that agrees with ``MessageSampling`` of the same ratio."""
    return ParentBased(
        root=RootSampler(ratio),
        remote_parent_sampled=TraceIdRatioBased(ratio),
        remote_parent_not_sampled=ALWAYS_OFF,
        local_parent_sampled=ALWAYS_ON,
        local_parent_not_sampled=ALWAYS_OFF,
    )


def start_root_span(
    tracer: Tracer,
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    links: Sequence[SpanContext] = (),
    attributes: Attributes = None,
) -> Span:
    """Start a span that has no parent, whatever context it is called in.

    Timers and scheduler jobs run in the context they were armed in; a span started there without
    care becomes a child of whatever armed them. The caller ends the span.
    """
    return tracer.start_span(
        name,
        context=Context(),
        kind=kind,
        links=[Link(context) for context in links],
        attributes=attributes,
    )
