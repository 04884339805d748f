"""W3C trace context by hand: a check of the sampled flag that costs next to nothing, and a parser.

The SDK's ``extract`` costs about 3 us and answers nothing when a header is malformed. Most of what
arrives is unsampled, so the flag is looked at first and the rest is parsed only when it matters.

Baggage is not read and so goes nowhere: what a peer writes there is nobody's business here, and
nothing of it may reach a back end or a webhook.

Source: W3C Trace Context, section 3.2 (traceparent) and 3.3 (tracestate).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDictProxy, istr
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

MAX_TRACESTATE_CHARACTERS: Final = 512
"""What a vendor should pass on at least (3.3.1.5); a longer one is dropped, not cut."""

_TRACEPARENT_HEADER: Final = istr("traceparent")
_TRACESTATE_HEADER: Final = istr("tracestate")
_BAGGAGE_HEADER: Final = istr("baggage")
_VERSION_00_LENGTH: Final = 55
_FLAG_POSITION: Final = 54
_SAMPLED_DIGITS: Final = frozenset("13579bdf")
_FLAGS: Final = tuple(f"{flags:02x}" for flags in range(0x100))
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)


@dataclass(slots=True)
class PropagationStats:
    """Counts of what peers sent; read at collection.

    Attributes:
        accepted: Trace parents that were parsed.
        malformed: Trace parents that are none.
        repeated: Requests with several of them; none is taken.
        oversized_states: Trace states that were too long and dropped.
        baggage: Requests whose baggage was left aside.
    """

    accepted: int = 0
    malformed: int = 0
    repeated: int = 0
    oversized_states: int = 0
    baggage: int = 0


class TraceParents:
    """Reads the trace context that peers send, and counts what is wrong with it.

    Attributes:
        stats: How many were accepted and how many refused.
    """

    __slots__ = ("stats",)

    def __init__(self) -> None:
        self.stats = PropagationStats()

    def of_headers(self, headers: CIMultiDictProxy[str]) -> tuple[str | None, str]:
        """Return ``traceparent`` and ``tracestate`` of a request, not parsed yet.

        Several trace parents contradict each other, so none is taken; several trace states are one
        list (3.3.1).
        """
        if _BAGGAGE_HEADER in headers:
            self.stats.baggage += 1
        traceparent = headers.get(_TRACEPARENT_HEADER)
        if traceparent is None:
            return None, ""
        if len(headers.getall(_TRACEPARENT_HEADER)) > 1:
            self.stats.repeated += 1
            return None, ""
        return traceparent, ",".join(headers.getall(_TRACESTATE_HEADER, ()))

    def parse(self, traceparent: str, tracestate: str = "") -> SpanContext | None:
        """Return the remote span a ``traceparent`` names, or None if it is malformed; count it."""
        context = parse_traceparent(traceparent, tracestate)
        if context is None:
            self.stats.malformed += 1
        else:
            self.stats.accepted += 1
            self.stats.oversized_states += len(tracestate) > MAX_TRACESTATE_CHARACTERS
        return context


def parse_traceparent(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """Return the remote span a ``traceparent`` names, or None if it is malformed.

    A malformed value is treated as if it were absent, as the specification demands. A malformed or
    oversized ``tracestate`` is dropped without harming the ``traceparent``.
    """
    if len(tracestate) > MAX_TRACESTATE_CHARACTERS:
        tracestate = ""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return SpanContext(
        trace_id=int(match[2], 16),
        span_id=int(match[3], 16),
        is_remote=True,
        # Only the bits this version defines are carried on (section 3.2.2.5).
        trace_flags=TraceFlags(int(match[4], 16) & TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([tracestate]) if tracestate else None,
    )


def claims_sampled(traceparent: str) -> bool:
    """Return whether the flag byte of a ``traceparent`` has the sampled bit, checking only that.

    True says nothing about the rest of the value.
    """
    return len(traceparent) >= _VERSION_00_LENGTH and traceparent[_FLAG_POSITION] in _SAMPLED_DIGITS


def format_traceparent(context: SpanContext) -> str:
    """Return the ``traceparent`` that names a span."""
    # Unpacked, and hexadecimal by bytes, which takes a third of the time of the obvious.
    trace_id, span_id, _, flags, _, _ = context
    trace, span = trace_id.to_bytes(16, "big").hex(), span_id.to_bytes(8, "big").hex()
    return f"00-{trace}-{span}-{_FLAGS[flags]}"
