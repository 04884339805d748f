"""The metrics of batching."""

from __future__ import annotations

from typing import Final

from service.telemetry.definitions.defining import WAIT_BOUNDARIES, define

_COUNT_BOUNDARIES: Final = (
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1000.0,
    2000.0,
    5000.0,
)
_BYTE_BOUNDARIES: Final = (
    128.0,
    512.0,
    2048.0,
    8192.0,
    32768.0,
    65536.0,
    131072.0,
    524288.0,
    1048576.0,
)

BATCH_ITEMS: Final = define(
    "counter",
    "gateway.batch.items",
    "{message}",
    "Messages taken into batches.",
    "gateway.batcher.name",
)
BATCH_FLUSHES: Final = define(
    "counter",
    "gateway.batch.flushes",
    "{batch}",
    "Batches sent.",
    "gateway.batcher.name",
    "gateway.flush.reason",
)
BATCH_BYTES: Final = define(
    "counter",
    "gateway.batch.bytes",
    "By",
    "Bytes of the messages in sent batches.",
    "gateway.batcher.name",
)
BATCH_QUEUE_SIZE: Final = define(
    "up_down_counter",
    "gateway.batch.queue.size",
    "{message}",
    "Messages waiting in batchers.",
    "gateway.batcher.name",
)
BATCH_QUEUE_CAPACITY: Final = define(
    "up_down_counter",
    "gateway.batch.queue.capacity",
    "{message}",
    "Messages that may wait in one batcher.",
    "gateway.batcher.name",
)
BATCH_RETRIES: Final = define(
    "counter",
    "gateway.batch.retries",
    "{batch}",
    "Batches that were sent again after a failure.",
    "gateway.batcher.name",
)
BATCH_FAILED_ITEMS: Final = define(
    "counter",
    "gateway.batch.failed",
    "{message}",
    "Messages whose batch could not be sent and went to the error handler.",
    "gateway.batcher.name",
)
BATCH_SIZE: Final = define(
    "histogram",
    "gateway.batch.size",
    "{message}",
    "Messages in a batch.",
    "gateway.batcher.name",
    "gateway.flush.reason",
    boundaries=_COUNT_BOUNDARIES,
)
BATCH_BODY_SIZE: Final = define(
    "histogram",
    "gateway.batch.body.size",
    "By",
    "Bytes in a batch.",
    "gateway.batcher.name",
    boundaries=_BYTE_BOUNDARIES,
)
BATCH_WAIT: Final = define(
    "histogram",
    "gateway.batch.wait",
    "s",
    "How long the oldest message of a batch waited.",
    "gateway.batcher.name",
    boundaries=WAIT_BOUNDARIES,
)

DEFINITIONS: Final = (
    BATCH_ITEMS,
    BATCH_FLUSHES,
    BATCH_BYTES,
    BATCH_QUEUE_SIZE,
    BATCH_QUEUE_CAPACITY,
    BATCH_RETRIES,
    BATCH_FAILED_ITEMS,
    BATCH_SIZE,
    BATCH_BODY_SIZE,
    BATCH_WAIT,
)
"""All of them, in order."""
