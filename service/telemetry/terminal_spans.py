"""Prints each trace as a tree once it is complete, for whoever looks at a terminal.

A thread of its own prints: a terminal that is slow, or stopped, holds up nothing else. Nobody says
when a trace is complete, so it is taken to be when nothing was added to it for a moment; what comes
later is printed as a tree of its own.
"""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass, field
from typing import Final, TextIO

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from rich.console import Console
from rich.tree import Tree

from service.telemetry.span_trees import draw

QUIET_S: Final = 0.3
_MAX_TRACES: Final = 1000
_MAX_SPANS: Final = 200
_CLOSE_TIMEOUT_S: Final = 1.0
_WIDTH_OF_FILES: Final = 1000


@dataclass(slots=True)
class _Trace:
    """The spans of a trace so far.

    Attributes:
        spans: In the order in which they ended.
        changed: When the last one did, in monotonic seconds.
        left_out: How many were too many.
    """

    spans: list[ReadableSpan] = field(default_factory=list)
    changed: float = 0.0
    left_out: int = 0


class TerminalSpans(SpanProcessor):
    """Prints traces to a stream.

    Attributes:
        left_out: Spans that were not printed because more came than the terminal took.
    """

    def __init__(self, stream: TextIO, *, quiet_s: float = QUIET_S) -> None:
        """Start the thread.

        Args:
            stream: Where to print; coloured if it is a terminal.
            quiet_s: After how many seconds without a new span a trace is complete.
        """
        self.left_out = 0
        self._stream = stream
        self._quiet_s = quiet_s
        self._traces: dict[int, _Trace] = {}
        self._is_printing = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="print-traces", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only finished spans are printed."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take the span, if it is sampled; from any thread."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        with self._changed:
            trace = self._traces.get(context.trace_id)
            if trace is None:
                if self._closing or len(self._traces) >= _MAX_TRACES:
                    self.left_out += 1
                    return
                trace = self._traces[context.trace_id] = _Trace()
            if len(trace.spans) < _MAX_SPANS:
                trace.spans.append(span)
            else:
                trace.left_out += 1
            trace.changed = time.monotonic()
            if len(self._traces) == 1:
                self._changed.notify_all()

    def shutdown(self) -> None:
        """Print what is there and stop; give up on a terminal that takes nothing for a second."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until every trace so far was printed, and return whether that was in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._traces or self._is_printing), timeout_millis / 1000
            )

    def _run(self) -> None:
        while (complete := self._take()) is not None:
            for trace in complete:
                self._print(trace)
            with self._changed:
                self._is_printing = False
                self._changed.notify_all()

    def _take(self) -> list[_Trace] | None:
        """Wait for traces that are complete and return them; None when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or bool(self._traces))
            if not self._closing:
                oldest = min(trace.changed for trace in self._traces.values())
                pause_s = oldest + self._quiet_s - time.monotonic()
                self._changed.wait_for(lambda: self._closing, max(0.0, pause_s))
            if self._closing and not self._traces:
                return None
            border = time.monotonic() - self._quiet_s
            complete = [
                key
                for key, trace in self._traces.items()
                if self._closing or trace.changed <= border
            ]
            self._is_printing = bool(complete)
            return [self._traces.pop(key) for key in complete]

    def _print(self, trace: _Trace) -> None:
        spans = sorted(trace.spans, key=lambda span: span.start_time or 0)
        tree = draw(spans, is_detailed=True)
        if trace.left_out:
            tree.add(f"and {trace.left_out} more spans")
        try:
            self._stream.write(self._rendered(tree))
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone; there is nobody left to tell
            self.left_out += len(spans)

    def _rendered(self, tree: Tree) -> str:
        # Not printed to the stream itself: a console takes a broken pipe for a reason to exit.
        rendered = io.StringIO()
        is_terminal = self._stream.isatty()
        width = None if is_terminal else _WIDTH_OF_FILES
        console = Console(file=rendered, force_terminal=is_terminal, highlight=False, width=width)
        console.print(tree)
        return rendered.getvalue()
