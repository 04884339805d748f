"""Finished spans kept in memory, for whoever wants to show a trace without a backend."""

from __future__ import annotations

import threading
from collections import deque

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor


class FinishedSpans(SpanProcessor):
    """Keeps the spans that ended last; safe to read while spans end."""

    def __init__(self, *, max_spans: int = 10_000) -> None:
        """Keep ``max_spans`` at most; older ones make room."""
        self._spans: deque[ReadableSpan] = deque(maxlen=max_spans)
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only finished spans are kept."""

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span, if it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            with self._lock:
                self._spans.append(span)

    def spans(self) -> list[ReadableSpan]:
        """Return what is kept, in the order in which the spans ended."""
        with self._lock:
            return list(self._spans)

    def trace(self, trace_id: int) -> list[ReadableSpan]:
        """Return the spans of one trace, by their start."""
        found = [
            span for span in self.spans() if span.context and span.context.trace_id == trace_id
        ]
        return sorted(found, key=lambda span: span.start_time or 0)

    def shutdown(self) -> None:
        """Do nothing: the spans stay readable."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Do nothing: there is nothing to send."""
        return True
