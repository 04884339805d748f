"""Bounded queues between what is measured and the collector it is sent to.

One ``ExportQueue`` per signal. Putting something in never blocks and never fails: past the bound
the oldest item goes, and is counted. A daemon thread takes batches out and hands them to an SDK
exporter, which may retry, hang or raise as it likes: it costs nobody but its own thread. Closing
waits until a deadline and says what was not sent.

The SDK's batch processors are not used because they count nothing that they drop, ignore the
timeouts of their flush, and wait up to 30 s at shutdown.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

T = TypeVar("T")
Signal = Literal["traces", "metrics", "logs"]
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics", "logs")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much a queue holds and how it is emptied.

    Attributes:
        max_items: Items waiting at most; past it the oldest is dropped.
        max_batch: Items handed to the exporter at once at most.
        delay_s: How long an item waits for others, unless a whole batch is there.
    """

    max_items: int = 2048
    max_batch: int = 512
    delay_s: float = 1.0


@dataclass(slots=True)
class ExportStats:
    """What became of the items of one signal; read at collection.

    Attributes:
        sent: Items the collector accepted.
        dropped: Items lost: the queue was full, the collector refused, or the stop came first.
        rejected: Items that the collector refused of requests it accepted; they are among ``sent``.
        accepted: Whether the last request was accepted; None before the first.
    """

    sent: int = 0
    dropped: int = 0
    rejected: int = 0
    accepted: bool | None = None

    def reject(self, count: int) -> None:
        """Count items that the collector refused."""
        self.rejected += count


class ExportQueue(Generic[T]):
    """A bounded queue, emptied by its own thread.

    Attributes:
        signal: What it carries.
        stats: What became of it.
    """

    def __init__(
        self,
        signal: Signal,
        export: Callable[[list[T]], bool],
        *,
        limits: QueueLimits | None = None,
        weigh: Callable[[T], int] = lambda _item: 1,
        stats: ExportStats | None = None,
    ) -> None:
        """Start the thread.

        Args:
            signal: What the queue carries.
            export: Sends a batch and returns whether it was accepted; called from the thread.
            limits: Sizes and delay.
            weigh: How many items of ``stats`` one entry stands for.
            stats: Where to count; its own when there is none.
        """
        self.signal = signal
        self.stats = stats or ExportStats()
        self._export = export
        self._limits = limits or QueueLimits()
        self._weigh = weigh
        self._items: deque[T] = deque()
        self._in_flight = 0
        self._closing = False
        self._abandoned = False
        self._flushes = 0
        self._dropped_before_close = 0
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._run, name=f"export-{signal}", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def max_items(self) -> int:
        """Entries that may wait."""
        return self._limits.max_items

    def put(self, item: T) -> None:
        """Take an item, from any thread; full: the oldest is dropped; closed: this one is."""
        # Not the condition, which is a call more each time.
        with self._lock:
            items, limits = self._items, self._limits
            if self._closing:
                self.stats.dropped += self._weigh(item)
                return
            if len(items) >= limits.max_items:
                self.stats.dropped += self._weigh(items.popleft())
            items.append(item)
            if len(items) == limits.max_batch:
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Block until all that is waiting now was tried, and return whether that was in time."""
        with self._changed:
            self._flushes += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self._is_empty, timeout_s)
            finally:
                self._flushes -= 1

    def begin_close(self) -> None:
        """Refuse new items and start to send the rest."""
        with self._changed:
            if not self._closing:
                self._dropped_before_close = self.stats.dropped
            self._closing = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> int:
        """Refuse new items, block until the rest was tried or time is up; return what was not sent.

        The number covers what the collector did not accept since the closing began, and what still
        waited or was under way when time was up; all of it is counted as dropped. Calling again
        returns 0.
        """
        self.begin_close()
        with self._changed:
            self._changed.wait_for(self._is_empty, timeout_s)
            if self._abandoned:
                return 0
            self._abandoned = True
            self.stats.dropped += sum(self._weigh(item) for item in self._items) + self._in_flight
            self._items.clear()
            self._changed.notify_all()
            return self.stats.dropped - self._dropped_before_close

    def _is_empty(self) -> bool:
        return not self._items and not self._in_flight

    def _is_due(self) -> bool:
        return self._closing or self._flushes > 0 or len(self._items) >= self._limits.max_batch

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            if batch:
                self._send(batch)

    def _take(self) -> list[T] | None:
        """Wait for a batch; empty when the delay passed without items, None when all is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or (self._is_due() and bool(self._items)),
                self._limits.delay_s,
            )
            if self._closing and not self._items:
                return None
            count = min(self._limits.max_batch, len(self._items))
            batch = [self._items.popleft() for _ in range(count)]
            self._in_flight = sum(self._weigh(item) for item in batch)
            return batch

    def _send(self, batch: list[T]) -> None:
        accepted = False
        try:
            # Without this, instrumented HTTP libraries would trace the sending of traces.
            with suppress_instrumentation():
                accepted = self._export(batch)
        except Exception:  # a supervisor: whatever an exporter raises costs this batch only
            _logger.exception("The exporter of %s failed; the batch is lost.", self.signal)
        with self._changed:
            if not self._abandoned:
                self.stats.accepted = accepted
                if accepted:
                    self.stats.sent += self._in_flight
                else:
                    self.stats.dropped += self._in_flight
            self._in_flight = 0
            self._changed.notify_all()


class QueueSpanProcessor(SpanProcessor):
    """Puts finished, sampled spans into a queue."""

    def __init__(self, queue: ExportQueue[ReadableSpan]) -> None:
        self._queue = queue

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only finished spans are sent."""

    def on_end(self, span: ReadableSpan) -> None:
        """Put the span into the queue, if it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self._queue.put(span)

    def shutdown(self) -> None:
        """Do nothing: whoever owns the queue closes it, within a deadline."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what is waiting was tried."""
        return self._queue.flush(timeout_millis / 1000)


class QueueLogProcessor(LogRecordProcessor):
    """Puts log records into a queue."""

    def __init__(self, queue: ExportQueue[ReadableLogRecord]) -> None:
        self._queue = queue

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Put the record into the queue."""
        # The record's context holds the whole current context; only the ids, copied already,
        # are sent, so the queue must not keep the rest alive.
        record = copy.copy(log_record.log_record)
        record.context = Context()
        if isinstance(record.body, str):
            record.body = _encodable(record.body)
        self._queue.put(
            ReadableLogRecord(
                log_record=record,
                resource=log_record.resource or Resource.get_empty(),
                instrumentation_scope=log_record.instrumentation_scope,
                limits=log_record.limits,
            )
        )

    def shutdown(self) -> None:
        """Do nothing: whoever owns the queue closes it, within a deadline."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what is waiting was tried."""
        return self._queue.flush(timeout_millis / 1000)


def _encodable(text: str) -> str:
    """Return a text without the lone surrogates that JSON and headers bring.

    The exporter leaves out an attribute that has one; for the message it loses the whole batch.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
