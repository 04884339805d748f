"""Export queues: bounded, counting, and never in anybody's way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk.resources import Resource

from service.telemetry.export import (
    ExportQueue,
    QueueLimits,
    QueueLogProcessor,
)

T = TypeVar("T")
LIMITS = QueueLimits(max_items=4, max_batch=2, delay_s=60.0)


class Gate:
    """An exporter that waits until it is let go; remembers what it was given."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, batch: list[int]) -> bool:
        self.entered.set()
        self.released.wait(30)
        self.batches.append(batch)
        return True


def keeping(items: list[T]) -> Callable[[list[T]], bool]:
    """Return an export that keeps what it gets in a list."""

    def export(batch: list[T]) -> bool:
        items.extend(batch)
        return True

    return export


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a closed gate that opens when the test ends."""
    gate = Gate()
    yield gate
    gate.released.set()


def test_batches_keep_the_order():
    """Items leave in the order they came, in batches of the allowed size."""
    batches: list[list[int]] = []

    def export(batch: list[int]) -> bool:
        batches.append(batch)
        return True

    queue = ExportQueue("traces", export, limits=LIMITS)

    for item in range(3):
        queue.put(item)
    queue.close(10)

    assert [item for batch in batches for item in batch] == [0, 1, 2]
    assert max(map(len, batches)) <= 2
    assert queue.stats.sent == 3


def test_a_full_queue_drops_the_oldest(gate):
    """While the exporter hangs the newest items stay, and the dropped ones are counted."""
    queue = ExportQueue("traces", gate, limits=LIMITS)
    queue.put(0)
    queue.put(1)
    assert gate.entered.wait(10)

    for item in range(2, 8):
        queue.put(item)
    gate.released.set()
    queue.close(10)

    assert gate.batches == [[0, 1], [4, 5], [6, 7]]
    assert (queue.stats.sent, queue.stats.dropped) == (6, 2)


def test_closing_does_not_wait_for_a_hung_exporter(gate):
    """Past the deadline what waits and what is under way is given up and counted."""
    queue = ExportQueue("traces", gate, limits=LIMITS)
    for item in range(3):
        queue.put(item)
    assert gate.entered.wait(10)

    lost = queue.close(0.01)

    assert lost == 3
    assert queue.stats.dropped == 3
    assert queue.close(0.01) == 0


def test_what_is_refused_while_closing_was_not_sent():
    """Closing tells of items the collector refused at the end, but not of earlier losses."""
    queue: ExportQueue[int] = ExportQueue("traces", lambda batch: False, limits=LIMITS)
    queue.put(0)
    queue.flush(10)
    queue.put(1)

    assert queue.close(10) == 1
    assert queue.stats.dropped == 2


def test_what_is_given_up_is_not_counted_again(gate):
    """An export that succeeds after it was given up changes no count."""
    queue = ExportQueue("traces", gate, limits=LIMITS)
    queue.put(0)
    queue.put(1)
    assert gate.entered.wait(10)
    queue.close(0.0)

    gate.released.set()
    queue._thread.join(10)

    assert (queue.stats.sent, queue.stats.dropped) == (0, 2)


def test_a_closed_queue_takes_nothing():
    """What comes after closing is counted as dropped."""
    queue: ExportQueue[int] = ExportQueue("traces", lambda batch: True, limits=LIMITS)
    queue.close(10)

    queue.put(1)

    assert queue.stats.dropped == 1


def test_a_refused_batch_is_counted():
    """Items that the collector does not accept are dropped."""
    queue: ExportQueue[int] = ExportQueue("traces", lambda batch: False, limits=LIMITS)

    queue.put(1)

    assert queue.flush(10)
    assert queue.stats.dropped == 1


def test_an_exporter_that_raises_costs_its_batch_only(caplog):
    """An unexpected error of the exporter is logged and the next batch is tried."""

    def export(batch: list[int]) -> bool:
        return 1 // batch[0] == 1

    queue = ExportQueue("traces", export, limits=LIMITS)

    with caplog.at_level(logging.ERROR):
        queue.put(0)
        queue.flush(10)
        queue.put(1)
        queue.flush(10)

    assert (queue.stats.sent, queue.stats.dropped) == (1, 1)
    assert "the batch is lost" in caplog.text


def test_flush_says_when_it_ran_out_of_time(gate):
    """A flush that a hung exporter keeps from ending returns False."""
    queue = ExportQueue("traces", gate, limits=LIMITS)
    queue.put(1)

    assert queue.flush(0.01) is False


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["put", "flush"]), max_size=30), st.booleans())
def test_every_item_is_sent_or_dropped(steps, accepts):
    """Whatever happens, the two counts add up to what was put in."""
    queue: ExportQueue[int] = ExportQueue("traces", lambda batch: accepts, limits=LIMITS)

    for step in steps:
        if step == "put":
            queue.put(1)
        else:
            queue.flush(10)
    queue.close(10)

    assert queue.stats.sent + queue.stats.dropped == steps.count("put")


def test_a_text_that_no_encoding_has_costs_no_batch():
    """Half a surrogate pair, as JSON of a stranger may have it, is replaced where it would."""
    logs: list[ReadableLogRecord] = []
    log_queue = ExportQueue[ReadableLogRecord]("logs", keeping(logs))
    logger_provider = LoggerProvider(resource=Resource.get_empty())
    logger_provider.add_log_record_processor(QueueLogProcessor(log_queue))

    logger_provider.get_logger("tests").emit(body="it said \ud800")

    assert log_queue.close(5) == 0
    assert b"it said ?" in encode_logs(logs).SerializeToString()
