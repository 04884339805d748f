"""Every metric of the service: definitions, and the histograms the parts record into.

Observed metrics (counters, up-down counters, gauges) are integers on slotted ``stats`` objects;
``service.telemetry.observers`` reads them at collection. Nothing here is touched per message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from opentelemetry.metrics import Histogram, Meter, NoOpMeter
from opentelemetry.trace import NoOpTracer, Tracer

from alerts.telemetry import SECONDS_BOUNDARIES, InstrumentDefinition, InstrumentKind
from service.telemetry.local_histograms import LocalHistogram, LocalHistograms

_COUNT_BOUNDARIES = (
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
_BYTE_BOUNDARIES = (128.0, 512.0, 2048.0, 8192.0, 32768.0, 65536.0, 131072.0, 524288.0, 1048576.0)
_WAIT_BOUNDARIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PAUSE_BOUNDARIES = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_CONNECTION_BOUNDARIES = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    1800.0,
    7200.0,
    86400.0,
)


def _define(
    kind: InstrumentKind,
    name: str,
    unit: str,
    description: str,
    *attributes: str,
    boundaries: tuple[float, ...] = (),
) -> InstrumentDefinition:
    """Define an instrument in one line of the table below."""
    return InstrumentDefinition(kind, name, unit, description, attributes, boundaries)


# HTTP servers
HTTP_SERVER_DURATION = _define(
    "histogram",
    "http.server.request.duration",
    "s",
    "Duration of an HTTP request; WebSocket upgrades are not counted here.",
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "url.scheme",
    "error.type",
    boundaries=SECONDS_BOUNDARIES,
)
HTTP_SERVER_ACTIVE = _define(
    "up_down_counter", "http.server.active_requests", "{request}", "HTTP requests being handled."
)

# Gateway
CONNECTION_COUNT = _define(
    "up_down_counter",
    "gateway.connection.count",
    "{connection}",
    "Open client connections.",
    "gateway.connection.state",
    "gateway.transport",
)
CONNECTION_LIMIT = _define(
    "up_down_counter",
    "gateway.connection.limit",
    "{connection}",
    "Client connections that may be open.",
)
CONNECTION_DURATION = _define(
    "histogram",
    "gateway.connection.duration",
    "s",
    "How long client connections lived.",
    "gateway.close.class",
    boundaries=_CONNECTION_BOUNDARIES,
)
CONNECTION_HANDSHAKES = _define(
    "counter",
    "gateway.connection.handshakes",
    "{handshake}",
    "WebSocket upgrades, accepted and refused.",
    "error.type",
)
CONNECTION_CLOSED = _define(
    "counter",
    "gateway.connection.closed",
    "{connection}",
    "Connections the gateway closed, by the close code it sent.",
    "gateway.close.code",
)
MESSAGE_RECEIVED = _define(
    "counter",
    "gateway.message.received",
    "{message}",
    "Messages accepted for delivery.",
    "gateway.message.source",
)
MESSAGE_DELIVERED = _define(
    "counter", "gateway.message.delivered", "{message}", "Messages written to subscribers."
)
MESSAGE_DROPPED = _define(
    "counter",
    "gateway.message.dropped",
    "{message}",
    "Deliveries that were not made.",
    "error.type",
)
MESSAGE_CONFLATED = _define(
    "counter",
    "gateway.message.conflated",
    "{message}",
    "Messages not sent because a newer one of the same channel took their place.",
)
HISTORY_COUNT = _define(
    "up_down_counter", "gateway.history.count", "{message}", "Messages kept in history."
)
HISTORY_USAGE = _define(
    "up_down_counter", "gateway.history.usage", "By", "Memory of history, about."
)
HISTORY_LIMIT = _define(
    "up_down_counter", "gateway.history.limit", "By", "Memory history may take."
)
HISTORY_EVICTED = _define(
    "counter",
    "gateway.history.evicted",
    "{message}",
    "Messages dropped from history before their time because its memory was full.",
)
RECOVERIES = _define(
    "counter",
    "gateway.recoveries",
    "{recovery}",
    "Subscribers that came back with a position; error.type says which could not be recovered.",
    "error.type",
)
POSITIONS_LOST = _define(
    "counter",
    "gateway.positions.lost",
    "{subscription}",
    "Subscriptions ended because a message was missing, so that clients recover it.",
)
MESSAGE_IO = _define(
    "counter",
    "gateway.message.io",
    "By",
    "Bytes of frames, headers excluded.",
    "network.io.direction",
)
MESSAGE_LATENCY = _define(
    "histogram",
    "gateway.message.latency",
    "s",
    "From accepting the oldest message of a batch to writing it to all subscribers.",
    "messaging.destination.template",
    boundaries=_WAIT_BOUNDARIES,
)
PROCESS_DURATION = _define(
    "histogram",
    "messaging.process.duration",
    "s",
    "Duration of a command of a client.",
    "messaging.system",
    "messaging.operation.name",
    boundaries=SECONDS_BOUNDARIES,
)
COMMANDS = _define(
    "counter",
    "gateway.commands",
    "{command}",
    "Commands clients sent.",
    "messaging.operation.name",
    "error.type",
)
CHANNEL_COUNT = _define(
    "up_down_counter",
    "gateway.channel.count",
    "{channel}",
    "Channels with at least one subscriber.",
)
SUBSCRIPTION_COUNT = _define(
    "up_down_counter",
    "gateway.subscription.count",
    "{subscription}",
    "Subscriptions of open connections.",
)
SEND_QUEUE_USAGE = _define(
    "up_down_counter",
    "gateway.send_queue.usage",
    "By",
    "Bytes waiting for clients to read them, over all connections.",
)
SEND_QUEUE_LARGEST = _define(
    "gauge", "gateway.send_queue.largest", "By", "Bytes waiting for the slowest client."
)
SEND_QUEUE_OVER_THRESHOLD = _define(
    "up_down_counter",
    "gateway.send_queue.over_threshold",
    "{connection}",
    "Connections for which more than half of gateway.max_queue_size waits.",
)

# Keys of tokens
TOKEN_KEYS_AGE = _define(
    "gauge",
    "gateway.token.keys.age",
    "s",
    "Time since the key set of a jwks_url was fetched.",
    "gateway.token.kind",
)
TOKEN_KEYS_FETCHES = _define(
    "counter",
    "gateway.token.keys.fetches",
    "{fetch}",
    "Fetches of the key set of a jwks_url; error.type says which failed.",
    "gateway.token.kind",
    "error.type",
)

# Back ends of the gateway
PROXY_DURATION = _define(
    "histogram",
    "gateway.proxy.duration",
    "s",
    "How long a client waited for a back end, repetitions included.",
    "gateway.proxy.event",
    "gateway.proxy.upstream",
    "gateway.proxy.template",
    "gateway.proxy.outcome",
    boundaries=SECONDS_BOUNDARIES,
)
PROXY_CIRCUIT = _define(
    "gauge",
    "gateway.proxy.circuit.state",
    "{state}",
    "Whether a back end is asked: 0 yes, 1 one request tries it, 2 it is left alone.",
    "gateway.proxy.upstream",
)
PROXY_ACTIVE = _define(
    "up_down_counter",
    "gateway.proxy.active_requests",
    "{request}",
    "Requests to back ends in progress.",
    "gateway.proxy.upstream",
)
PROXY_RETRIES = _define(
    "counter",
    "gateway.proxy.retries",
    "{request}",
    "Requests to back ends that were sent again.",
    "gateway.proxy.upstream",
)

# Batcher
BATCH_ITEMS = _define(
    "counter",
    "gateway.batch.items",
    "{message}",
    "Messages taken into batches.",
    "gateway.batcher.name",
)
BATCH_FLUSHES = _define(
    "counter",
    "gateway.batch.flushes",
    "{batch}",
    "Batches sent.",
    "gateway.batcher.name",
    "gateway.flush.reason",
)
BATCH_BYTES = _define(
    "counter",
    "gateway.batch.bytes",
    "By",
    "Bytes of the messages in sent batches.",
    "gateway.batcher.name",
)
BATCH_QUEUE_SIZE = _define(
    "up_down_counter",
    "gateway.batch.queue.size",
    "{message}",
    "Messages waiting in batchers.",
    "gateway.batcher.name",
)
BATCH_QUEUE_CAPACITY = _define(
    "up_down_counter",
    "gateway.batch.queue.capacity",
    "{message}",
    "Messages that may wait in one batcher.",
    "gateway.batcher.name",
)
BATCH_RETRIES = _define(
    "counter",
    "gateway.batch.retries",
    "{batch}",
    "Batches that were sent again after a failure.",
    "gateway.batcher.name",
)
BATCH_FAILED_ITEMS = _define(
    "counter",
    "gateway.batch.failed",
    "{message}",
    "Messages whose batch could not be sent and went to the error handler.",
    "gateway.batcher.name",
)
BATCH_SIZE = _define(
    "histogram",
    "gateway.batch.size",
    "{message}",
    "Messages in a batch.",
    "gateway.batcher.name",
    "gateway.flush.reason",
    boundaries=_COUNT_BOUNDARIES,
)
BATCH_BODY_SIZE = _define(
    "histogram",
    "gateway.batch.body.size",
    "By",
    "Bytes in a batch.",
    "gateway.batcher.name",
    boundaries=_BYTE_BOUNDARIES,
)
BATCH_WAIT = _define(
    "histogram",
    "gateway.batch.wait",
    "s",
    "How long the oldest message of a batch waited.",
    "gateway.batcher.name",
    boundaries=_WAIT_BOUNDARIES,
)

# Broker
BROKER_CONNECTIONS = _define(
    "up_down_counter",
    "gateway.broker.connections",
    "{connection}",
    "Connections to Redis that are up.",
)
BROKER_AWAY = _define(
    "gauge",
    "gateway.broker.away",
    "1",
    "1 while channels cannot be used because Redis is away, else 0.",
)
BROKER_QUEUE_SIZE = _define(
    "up_down_counter",
    "gateway.broker.queue.size",
    "{command}",
    "Commands that wait for the answers of Redis.",
)
BROKER_RECONNECTS = _define(
    "counter",
    "gateway.broker.reconnects",
    "{connection}",
    "Connections to Redis that were lost.",
)
BROKER_ERRORS = _define(
    "counter",
    "gateway.broker.errors",
    "{command}",
    "Commands without success, publications among them; error.type says why.",
    "error.type",
)
BROKER_MESSAGES = _define(
    "counter",
    "gateway.broker.messages",
    "{message}",
    "Messages that came from Redis; error.type says which could not be read.",
    "error.type",
)
BROKER_ROUNDTRIP = _define(
    "histogram",
    "gateway.broker.roundtrip.duration",
    "s",
    "How long commands took, from asking to the answer of Redis.",
    boundaries=_WAIT_BOUNDARIES,
)

# HTTP pool
HTTP_CLIENT_DURATION = _define(
    "histogram",
    "http.client.request.duration",
    "s",
    "Duration of an outgoing HTTP request.",
    "http.request.method",
    "server.address",
    "server.port",
    "http.response.status_code",
    "error.type",
    boundaries=SECONDS_BOUNDARIES,
)
HTTP_CLIENT_OPEN = _define(
    "up_down_counter",
    "http.client.open_connections",
    "{connection}",
    "Outgoing HTTP connections.",
    "server.address",
    "server.port",
    "http.connection.state",
)
HTTP_CLIENT_ACTIVE = _define(
    "up_down_counter",
    "http.client.active_requests",
    "{request}",
    "Outgoing HTTP requests in progress.",
    "server.address",
    "server.port",
)
POOL_LIMIT = _define(
    "up_down_counter",
    "gateway.pool.limit",
    "{connection}",
    "Connections a pool may open.",
    "gateway.pool.name",
)
POOL_WAITING = _define(
    "up_down_counter",
    "gateway.pool.waiting",
    "{request}",
    "Requests waiting for a connection.",
    "gateway.pool.name",
)
POOL_WAIT = _define(
    "histogram",
    "gateway.pool.wait",
    "s",
    "How long a request waited for a connection.",
    "gateway.pool.name",
    boundaries=_WAIT_BOUNDARIES,
)
POOL_CREATED = _define(
    "counter",
    "gateway.pool.connections.created",
    "{connection}",
    "Connections opened.",
    "gateway.pool.name",
)
POOL_REUSED = _define(
    "counter",
    "gateway.pool.connections.reused",
    "{connection}",
    "Requests that found an open connection.",
    "gateway.pool.name",
)
POOL_ERRORS = _define(
    "counter",
    "gateway.pool.errors",
    "{request}",
    "Requests that ended without an answer.",
    "gateway.pool.name",
    "error.type",
)
POOL_TIMEOUTS = _define(
    "counter",
    "gateway.pool.timeouts",
    "{timeout}",
    "Requests whose time was over; also among gateway.pool.errors. error.type says where it went.",
    "gateway.pool.name",
    "error.type",
)

# Scheduler
JOB_DURATION = _define(
    "histogram",
    "gateway.job.duration",
    "s",
    "Duration of a run of a job.",
    "gateway.job.kind",
    "error.type",
    boundaries=SECONDS_BOUNDARIES,
)
JOB_DELAY = _define(
    "histogram",
    "gateway.job.schedule.delay",
    "s",
    "How late a run started.",
    "gateway.job.kind",
    boundaries=_WAIT_BOUNDARIES,
)
JOB_MISSED = _define(
    "counter",
    "gateway.job.missed",
    "{run}",
    "Runs skipped because the one before still ran or the process was late.",
    "gateway.job.kind",
)
JOB_FAILED = _define(
    "counter", "gateway.job.failed", "{run}", "Runs that raised.", "gateway.job.kind"
)

# Health checks; the names without a dot are blackbox_exporter's, which rules in the wild use
HEALTH_STATE = _define(
    "gauge",
    "gateway.health.state",
    "{status}",
    "State of a check: 0 unknown, 1 up, 2 degraded, 3 down, 4 in maintenance, 5 held back.",
    "check",
    "group",
)
HEALTH_UPTIME = _define(
    "gauge",
    "gateway.health.uptime",
    "1",
    "Share of a window in which a check was not down, of the time that was watched.",
    "check",
    "group",
    "window",
)
HEALTH_LAST_RUN = _define(
    "gauge",
    "gateway.health.last_run.time",
    "s",
    "When a check last ran, in Unix seconds.",
    "check",
    "group",
)
HEALTH_HISTORY_FAILED = _define(
    "counter",
    "gateway.health.history.failed",
    "{operation}",
    "Times the database failed for the history of checks.",
)
HEALTH_HISTORY_DROPPED = _define(
    "counter",
    "gateway.health.history.dropped",
    "{item}",
    "Results and changes of checks that were given up as the database failed for too long.",
)
# Not by check: a thousand of them would have twenty thousand series, and each has its gauges.
_CHECK_BOUNDARIES: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
HEALTH_CHECK_DURATION = _define(
    "histogram",
    "gateway.health.check.duration",
    "s",
    "Duration of a run of a health check, by the kind of its probe.",
    "kind",
    "error.type",
    boundaries=_CHECK_BOUNDARIES,
)
PROBE_SUCCESS = _define(
    "gauge",
    "probe_success",
    "",
    "Whether the last run of a check succeeded: 0 or 1.",
    "check",
    "group",
)
PROBE_DURATION = _define(
    "gauge", "probe_duration", "s", "Duration of the last run of a check.", "check", "group"
)
PROBE_HTTP_STATUS = _define(
    "gauge",
    "probe_http_status_code",
    "",
    "HTTP status the last run of a check received; 0: none.",
    "check",
    "group",
)

# Event loop
EVENT_LOOP_LAG = _define(
    "histogram",
    "gateway.event_loop.lag",
    "s",
    "How late the event loop ran a timer.",
    boundaries=_WAIT_BOUNDARIES,
)
EVENT_LOOP_TASKS = _define(
    "up_down_counter", "gateway.event_loop.tasks", "{task}", "Tasks of asyncio that are not done."
)

# Process; names of OpenTelemetry where there are some
PROCESS_CPU = _define("counter", "process.cpu.time", "s", "CPU seconds of the process.", "cpu.mode")
PROCESS_MEMORY = _define(
    "up_down_counter", "process.memory.usage", "By", "Resident memory of the process."
)
PROCESS_VIRTUAL_MEMORY = _define(
    "up_down_counter", "process.memory.virtual", "By", "Address space of the process."
)
PROCESS_FILES = _define(
    "up_down_counter",
    "process.unix.file_descriptor.count",
    "{file_descriptor}",
    "Open file descriptors.",
)
PROCESS_FILES_LIMIT = _define(
    "up_down_counter",
    "process.unix.file_descriptor.limit",
    "{file_descriptor}",
    "File descriptors that may be open; none when there is no limit.",
)
PROCESS_THREADS = _define("up_down_counter", "process.thread.count", "{thread}", "Threads.")
PROCESS_CONTEXT_SWITCHES = _define(
    "counter",
    "process.context_switches",
    "{context_switch}",
    "Times the process lost its core: by waiting, or to others (involuntary).",
    "process.context_switch.type",
)
PROCESS_PAGE_FAULTS = _define(
    "counter",
    "process.paging.faults",
    "{fault}",
    "Pages that were not in memory; major ones were read from disk.",
    "system.paging.fault.type",
)
PROCESS_UPTIME = _define("gauge", "process.uptime", "s", "Seconds since the process started.")
GC_COLLECTIONS = _define(
    "counter",
    "cpython.gc.collections",
    "{collection}",
    "Garbage collections.",
    "cpython.gc.generation",
)
GC_COLLECTED = _define(
    "counter",
    "cpython.gc.collected_objects",
    "{object}",
    "Objects that were garbage.",
    "cpython.gc.generation",
)
GC_UNCOLLECTABLE = _define(
    "counter",
    "cpython.gc.uncollectable_objects",
    "{object}",
    "Garbage that could not be freed.",
    "cpython.gc.generation",
)
GC_PAUSE = _define(
    "histogram",
    "gateway.gc.pause",
    "s",
    "How long a garbage collection kept everything else from running.",
    "cpython.gc.generation",
    boundaries=_PAUSE_BOUNDARIES,
)

# Logs
LOG_RECORDS = _define(
    "counter", "gateway.log.records", "{record}", "Log records.", "gateway.log.level"
)
LOG_LEFT_OUT = _define(
    "counter",
    "gateway.log.left_out",
    "{record}",
    "Log records that were not written because too many of their kind came.",
    "gateway.log.level",
)

# Telemetry itself
EXPORT_SENT = _define(
    "counter",
    "gateway.telemetry.exported",
    "{item}",
    "Telemetry items handed to the collector.",
    "gateway.telemetry.signal",
)
EXPORT_DROPPED = _define(
    "counter",
    "gateway.telemetry.dropped",
    "{item}",
    "Telemetry items lost because the collector was away or slow.",
    "gateway.telemetry.signal",
)
EXPORT_REJECTED = _define(
    "counter",
    "gateway.telemetry.rejected",
    "{item}",
    "Telemetry items the collector refused although it accepted the request they were in.",
    "gateway.telemetry.signal",
)
EXPORT_SUCCESS = _define(
    "gauge",
    "gateway.telemetry.export.success",
    "{status}",
    "Whether the collector accepted what was sent last: 1, or 0.",
    "gateway.telemetry.signal",
)
EXPORT_QUEUE_SIZE = _define(
    "up_down_counter",
    "gateway.telemetry.queue.size",
    "{entry}",
    "Spans, log records or collections of metrics that wait to be sent.",
    "gateway.telemetry.signal",
)
EXPORT_QUEUE_CAPACITY = _define(
    "up_down_counter",
    "gateway.telemetry.queue.capacity",
    "{entry}",
    "How many may wait; past it the oldest are dropped.",
    "gateway.telemetry.signal",
)
TRACE_PARENTS = _define(
    "counter",
    "gateway.telemetry.trace_parents",
    "{header}",
    "Trace parents that peers sent; what has an error was ignored, and the rest of the request "
    "was not.",
    "error.type",
)
METRICS_OVERFLOWED = _define(
    "counter",
    "gateway.telemetry.overflowed",
    "{measurement}",
    "Measurements without a series of their own, because their metric has too many.",
)
COLLECTIONS_FAILED = _define(
    "counter",
    "gateway.telemetry.collections.failed",
    "{collection}",
    "Collections of metrics that failed, in whole or for one of their consumers.",
)


# Metrics received from other services
RECEIVED_REQUESTS = _define(
    "counter",
    "gateway.otlp.requests",
    "{request}",
    "Requests with metrics of other services; those with an error were refused as a whole.",
    "error.type",
)
RECEIVED_POINTS = _define(
    "counter",
    "gateway.otlp.data_points",
    "{data_point}",
    "Data points of other services; those with an error were refused.",
    "error.type",
)
RECEIVED_SERVICES = _define(
    "up_down_counter",
    "gateway.otlp.services",
    "{service}",
    "Services that sent metrics within the last minutes.",
)
RECEIVED_SERIES = _define(
    "up_down_counter",
    "gateway.otlp.series",
    "{series}",
    "Series that other services sent within the last minutes.",
)

DEFINITIONS: tuple[InstrumentDefinition, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, InstrumentDefinition)
)
"""Every definition above, in order."""


@dataclass(frozen=True, slots=True)
class Instruments:
    """The tracer and the histograms the parts of the service record into."""

    tracer: Tracer
    http_server_duration: LocalHistogram
    connection_duration: LocalHistogram
    proxy_duration: LocalHistogram
    message_latency: LocalHistogram
    process_duration: LocalHistogram
    batch_size: LocalHistogram
    batch_body_size: LocalHistogram
    batch_wait: LocalHistogram
    broker_roundtrip: LocalHistogram
    http_client_duration: LocalHistogram
    pool_wait: LocalHistogram
    job_duration: Histogram
    job_delay: Histogram
    health_check_duration: Histogram
    event_loop_lag: Histogram
    gc_pause: LocalHistogram

    @classmethod
    def create(
        cls, tracer: Tracer, meter: Meter, histograms: LocalHistograms | None = None
    ) -> Self:
        """Create the histograms.

        Args:
            tracer: For all spans.
            meter: Of the histograms that are recorded a few times a second.
            histograms: Of those on the path of every batch or request; None: nobody collects them.
        """
        local = histograms or LocalHistograms()
        return cls(
            tracer=tracer,
            http_server_duration=local.create(HTTP_SERVER_DURATION),
            connection_duration=local.create(CONNECTION_DURATION),
            proxy_duration=local.create(PROXY_DURATION),
            message_latency=local.create(MESSAGE_LATENCY),
            process_duration=local.create(PROCESS_DURATION),
            batch_size=local.create(BATCH_SIZE),
            batch_body_size=local.create(BATCH_BODY_SIZE),
            batch_wait=local.create(BATCH_WAIT),
            broker_roundtrip=local.create(BROKER_ROUNDTRIP),
            http_client_duration=local.create(HTTP_CLIENT_DURATION),
            pool_wait=local.create(POOL_WAIT),
            job_duration=JOB_DURATION.histogram(meter),
            job_delay=JOB_DELAY.histogram(meter),
            health_check_duration=HEALTH_CHECK_DURATION.histogram(meter),
            event_loop_lag=EVENT_LOOP_LAG.histogram(meter),
            gc_pause=local.create(GC_PAUSE),
        )

    @classmethod
    def disabled(cls) -> Self:
        """Return instruments that record nothing."""
        return cls.create(NoOpTracer(), NoOpMeter("service"))
