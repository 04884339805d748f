"""Which traces are recorded: decided before a span exists, and once per trace.

An unsampled SDK span costs about 5 us, a look at a random number 30 ns. So entry points ask
``MessageSampling`` first and touch the tracer only for traces that will be recorded. The SDK's
sampler below knows such a decision when it sees one, so a trace is never sampled twice.

Trust: anyone can send a ``traceparent`` with the sampled flag. It is obeyed for the configured
share of trace ids only, so a client cannot turn on recording for everything it sends. A flag that
says "not sampled" is obeyed, but for single spans that failed or took long; see ``late_spans``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context, create_key, get_current, get_value, set_value
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes

from service.telemetry.late_spans import LatePolicy, Reason
from service.telemetry.propagation import TraceParents, claims_sampled, parse_traceparent
from service.telemetry.sampling_rules import SamplingRule, SamplingRules

_DECIDED: Final = create_key("gatewatch-sampling-decided")
_REFUSED: Final = create_key("gatewatch-sampling-refused")
_APART: Final = create_key("gatewatch-sampling-apart")
_LINKS: Final = create_key("gatewatch-links")
_TRACE_ID_MASK: Final = TraceIdRatioBased.TRACE_ID_LIMIT


class MessageSampling:
    """Decides for one message, frame or request whether its trace is recorded.

    Attributes:
        ratio: Share of traces that are recorded where no rule says otherwise, 0 to 1; 0: none is,
            whatever rules say, as when nothing consumes spans.
        rules: Shares for some.
        trace_parents: The parser of incoming ``traceparent`` values, with its counts.
    """

    __slots__ = ("_late", "_random", "_root", "ratio", "rules", "trace_parents")

    def __init__(
        self,
        ratio: float,
        *,
        rules: Sequence[SamplingRule] = (),
        late: LatePolicy | None = None,
        random_source: Callable[[], float] = random.random,
        trace_parents: TraceParents | None = None,
    ) -> None:
        self.ratio = ratio
        self.rules = SamplingRules(ratio, rules)
        self.trace_parents = trace_parents or TraceParents()
        self._late = late if ratio > 0 else None
        self._random = random_source
        self._root = Context({_DECIDED: True})

    def decide(
        self,
        traceparent: str | None = None,
        tracestate: str = "",
        *,
        share: float | None = None,
    ) -> Context | None:
        """Return the context to start the span in, or None when the trace is not recorded.

        For entry points: an HTTP request, a frame. Inside one that may be traced, ``current`` and
        ``for_message`` tell.

        Args:
            traceparent: What the peer sent, if anything; a malformed one counts as absent.
            tracestate: What the peer sent along with it.
            share: What a rule gives; None: no rule does.
        """
        ratio = self.ratio if share is None else share
        if traceparent is None:
            return self._root if self._random() < ratio else None
        if _says_no(traceparent):
            return None
        remote = self.trace_parents.parse(traceparent, tracestate)
        if remote is None:
            return self._root if self._random() < ratio else None
        if not remote.trace_flags.sampled or not _is_within(remote.trace_id, ratio):
            return None
        return set_span_in_context(NonRecordingSpan(remote), self._root)

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
        context = Context({_REFUSED: True}) if remote.trace_flags.sampled else Context()
        return set_span_in_context(NonRecordingSpan(unsampled), context)

    def current(self) -> Context | None:
        """Return the current context if its trace is recorded, else None."""
        context = get_current()
        return context if get_current_span(context).is_recording() else None

    def for_message(self, template: str, traceparent: str | None = None) -> Context | None:
        """Return where the span of a message belongs that came with a request; None: it has none.

        It is traced with the request, unless a rule is about its channel, or it came in a request
        that goes on and on: then it is decided on alone.

        Args:
            template: The channel's.
            traceparent: What its publisher wrote into the message itself.
        """
        context = get_current()
        if not context and not self.rules.exist:  # nothing is known of a trace
            return None
        if _APART in context:
            parent = self.decide(traceparent, share=self.rules.about("publish", template))
            return None if parent is None else with_links(parent, links_of(context))
        span = get_current_span(context)
        recorded = context if span.is_recording() else None
        if self.rules.exist:
            ratio = self.rules.about("publish", template)
            if ratio is not None:
                recorded = self._overruled(context, span.get_span_context(), recorded, ratio)
        if recorded is None or traceparent is None:
            return recorded
        own = self.trace_parents.parse(traceparent)
        return recorded if own is None else with_links(recorded, (own,))

    def _overruled(
        self, context: Context, span: SpanContext, recorded: Context | None, ratio: float
    ) -> Context | None:
        """Return where a message belongs whose share is not that of the request it came with."""
        if not span.is_valid:
            return self._root if self._random() < ratio else None
        if not _is_within(span.trace_id, ratio):
            return None
        if recorded is not None:
            return recorded
        return self.resumed(context) if _REFUSED in context else None

    @property
    def slow_s(self) -> float:
        """From how many seconds on something is recorded because it is slow."""
        return float("inf") if self._late is None else self._late.slow_s

    def late_reason(self, *, failed: bool, duration_s: float, share: float | None) -> Reason | None:
        """Return why something that was not sampled is recorded after its end; None: it is not.

        Args:
            failed: Whether it did.
            duration_s: How long it took, in seconds.
            share: What a rule gives it; 0: never, not even then.
        """
        late = self._late
        if late is None or not (failed or duration_s >= late.slow_s):
            return None
        if share == 0:
            return None
        return late.reason(failed=failed, duration_s=duration_s)

    def resumed(self, passing: Context | None) -> Context:
        """Return where a span belongs that is recorded although its trace is not.

        Args:
            passing: The context of the trace, if it has one.
        """
        span = get_current_span(passing or Context()).get_span_context()
        if not span.is_valid:
            return self._root
        sampled = SpanContext(
            span.trace_id,
            span.span_id,
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
            trace_state=span.trace_state,
        )
        return set_span_in_context(NonRecordingSpan(sampled), self._root)


def apart(request: SpanContext | None) -> Context:
    """Return the context for what comes in a request that goes on and on.

    Args:
        request: The request's span, which ended; None: it has none.
    """
    return with_links(Context({_APART: True}), () if request is None else (request,))


def with_links(context: Context, links: Sequence[SpanContext]) -> Context:
    """Return a context that says what the span started in it is to link to, besides."""
    return set_value(_LINKS, (*links_of(context), *links), context) if links else context


def links_of(context: Context) -> tuple[SpanContext, ...]:
    """Return what the span started in a context is to link to."""
    found = get_value(_LINKS, context)
    return found if isinstance(found, tuple) else ()


def is_decided(context: Context) -> bool:
    """Whether the span started in a context is recorded, whatever else is known of it."""
    return _DECIDED in context


def _is_within(trace_id: int, ratio: float) -> bool:
    """Whether a trace belongs to a share: the same traces as the SDK's sampler takes."""
    return trace_id & _TRACE_ID_MASK < TraceIdRatioBased.get_bound_for_rate(ratio)


def _says_no(traceparent: str) -> bool:
    """Whether a value of the usual length has the sampled bit unset; the rest is not looked at."""
    return len(traceparent) == 55 and not claims_sampled(traceparent)


class EntrySampler(Sampler):
    """Samples spans without a parent in this process.

    Those that were decided on, those with links to sampled ones, and a share by their names. With
    ``keep`` the others are kept for ``late_spans``; nothing that is frequent gets here undecided.
    """

    def __init__(self, rules: SamplingRules, *, keep: bool = False) -> None:
        self._rules = rules
        self._rest = Decision.RECORD_ONLY if keep else Decision.DROP

    def decide(self, trace_id: int, name: str, *, linked: bool) -> Decision:
        """Decide about a span that was not decided on, by the share of its name and its trace's id.

        A batch is recorded when one of its messages is: its own dice would leave the messages'
        traces without their end. A rule about its name comes first.

        Args:
            trace_id: Its trace's.
            name: Its name.
            linked: Whether it links to a span that is recorded.
        """
        ratio = self._rules.given(name)
        if ratio is None:
            ratio = 1.0 if linked else self._rules.ratio
        if ratio >= 1 or _is_within(trace_id, ratio):
            return Decision.RECORD_AND_SAMPLE
        return self._rest if ratio > 0 else Decision.DROP

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
        """Record what was decided on already, and of the rest what ``decide`` says."""
        if parent_context is not None and is_decided(parent_context):
            decision = Decision.RECORD_AND_SAMPLE
        else:
            linked = any(link.context.trace_flags.sampled for link in links or ())
            decision = self.decide(trace_id, name, linked=linked)
        state = get_current_span(parent_context).get_span_context().trace_state
        return SamplingResult(decision, attributes, state)

    def get_description(self) -> str:
        """Return what the sampler does, for people."""
        return f"Entry{{{self._rules.ratio}}}"


class KeptSampler(Sampler):
    """Keeps the children of spans that are kept without being sampled."""

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
        """Do as was done with the parent."""
        kept = get_current_span(parent_context).is_recording()
        state = get_current_span(parent_context).get_span_context().trace_state
        return SamplingResult(Decision.RECORD_ONLY if kept else Decision.DROP, attributes, state)

    def get_description(self) -> str:
        """Return what the sampler does, for people."""
        return "Kept"


def create_sampler(
    ratio: float, rules: Sequence[SamplingRule] = (), *, keep: bool = False
) -> Sampler:
    """Return the SDK sampler that agrees with ``MessageSampling`` of the same ratio and rules.

    Args:
        ratio: The share where no rule matches.
        rules: Shares by names; those about channels are for ``MessageSampling`` alone.
        keep: Whether spans that are not sampled are kept for ``late_spans``.
    """
    entry = EntrySampler(SamplingRules(ratio, rules), keep=keep and ratio > 0)
    return ParentBased(
        root=entry,
        remote_parent_sampled=entry,
        remote_parent_not_sampled=ALWAYS_OFF,
        local_parent_sampled=ALWAYS_ON,
        local_parent_not_sampled=KeptSampler(),
    )
