"""The metrics of logs, and of telemetry itself."""

from __future__ import annotations

from typing import Final

from service.telemetry.definitions.defining import define

LOG_RECORDS: Final = define(
    "counter", "gateway.log.records", "{record}", "Log records.", "gateway.log.level"
)
LOG_LEFT_OUT: Final = define(
    "counter",
    "gateway.log.left_out",
    "{record}",
    "Log records that were not written because too many of their kind came.",
    "gateway.log.level",
)
EXPORT_SENT: Final = define(
    "counter",
    "gateway.telemetry.exported",
    "{item}",
    "Telemetry items handed to the collector.",
    "gateway.telemetry.signal",
)
EXPORT_DROPPED: Final = define(
    "counter",
    "gateway.telemetry.dropped",
    "{item}",
    "Telemetry items lost because the collector was away or slow.",
    "gateway.telemetry.signal",
)
EXPORT_REJECTED: Final = define(
    "counter",
    "gateway.telemetry.rejected",
    "{item}",
    "Telemetry items the collector refused although it accepted the request they were in.",
    "gateway.telemetry.signal",
)
EXPORT_SUCCESS: Final = define(
    "gauge",
    "gateway.telemetry.export.success",
    "{status}",
    "Whether the collector accepted what was sent last: 1, or 0.",
    "gateway.telemetry.signal",
)
EXPORT_QUEUE_SIZE: Final = define(
    "up_down_counter",
    "gateway.telemetry.queue.size",
    "{entry}",
    "Spans, log records or collections of metrics that wait to be sent.",
    "gateway.telemetry.signal",
)
EXPORT_QUEUE_CAPACITY: Final = define(
    "up_down_counter",
    "gateway.telemetry.queue.capacity",
    "{entry}",
    "How many may wait; past it the oldest are dropped.",
    "gateway.telemetry.signal",
)
TRACE_PARENTS: Final = define(
    "counter",
    "gateway.telemetry.trace_parents",
    "{header}",
    "Trace parents that peers sent; what has an error was ignored, and the rest of the request "
    "was not.",
    "error.type",
)
METRICS_OVERFLOWED: Final = define(
    "counter",
    "gateway.telemetry.overflowed",
    "{measurement}",
    "Measurements without a series of their own, because their metric has too many.",
)
COLLECTIONS_FAILED: Final = define(
    "counter",
    "gateway.telemetry.collections.failed",
    "{collection}",
    "Collections of metrics that failed, in whole or for one of their consumers.",
)

DEFINITIONS: Final = (
    LOG_RECORDS,
    LOG_LEFT_OUT,
    EXPORT_SENT,
    EXPORT_DROPPED,
    EXPORT_REJECTED,
    EXPORT_SUCCESS,
    EXPORT_QUEUE_SIZE,
    EXPORT_QUEUE_CAPACITY,
    TRACE_PARENTS,
    METRICS_OVERFLOWED,
    COLLECTIONS_FAILED,
)
"""All of them, in order."""
