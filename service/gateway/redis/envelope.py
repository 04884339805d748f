"""What goes over pub/sub: a line that says what it is, and the JSON that clients get. No I/O.

``p<offset> <epoch> <trace>`` stands before a publication, with nothing between the spaces where it
is not kept or not traced, ``e`` before the push that tells of a client that came or went. The
script that publishes writes the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import SpanContext, TraceFlags

from service.gateway.streams import StreamPosition

_TRACE: Final = re.compile(rb"([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class EnvelopeError(Exception):
    """A message that no process of this kind has sent."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message from another process, or from this one.

    Attributes:
        body: A publication, or the whole push of an event.
        event: Whether it tells of a client that came or went.
        position: Its place in the channel's stream; None when it is not kept.
        trace: The publication's span, when it is traced.
    """

    body: bytes
    event: bool = False
    position: StreamPosition | None = None
    trace: SpanContext | None = None


def seal_publication(body: bytes, trace: SpanContext | None) -> bytes:
    """Return the message of a publication that is not kept."""
    return b"p  %s\n%s" % (trace_text(trace).encode(), body)


def seal_event(push: bytes) -> bytes:
    """Return the message of a push that tells of a client that came or went."""
    return b"e\n" + push


def trace_text(trace: SpanContext | None) -> str:
    """Return a span as it stands in a message; empty for none."""
    if trace is None:
        return ""
    return f"{trace.trace_id:032x}-{trace.span_id:016x}-{int(trace.trace_flags):02x}"


def place_of(text: bytes) -> StreamPosition | None:
    """Return a position from ``offset epoch``; None when there is none.

    Raises:
        EnvelopeError: It is neither.
    """
    offset, _, epoch = text.partition(b" ")
    if not offset and not epoch:
        return None
    try:
        return StreamPosition(int(offset), epoch.decode())
    except ValueError as error:
        raise EnvelopeError(f"no position: {text[:50]!r}") from error


def unseal(message: bytes) -> Envelope:
    """Read a message.

    Raises:
        EnvelopeError: It is none of this kind.
    """
    head, newline, body = message.partition(b"\n")
    if head == b"e" and newline:
        return Envelope(body, event=True)
    place, space, trace = head[1:].rpartition(b" ")
    if head[:1] != b"p" or not newline or not space:
        raise EnvelopeError(f"no message of a channel: {message[:50]!r}")
    return Envelope(body, position=place_of(place), trace=_span(trace))


def _span(text: bytes) -> SpanContext | None:
    match = _TRACE.fullmatch(text)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
