"""What the alerting library reports about itself through the OpenTelemetry API.

The library records into instruments it is handed; whoever runs it decides where they lead. Plain
counts are integers on the ``stats`` objects of the parts, read when metrics are collected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from opentelemetry.metrics import Histogram, Meter, NoOpMeter
from opentelemetry.trace import NoOpTracer, Tracer

InstrumentKind = Literal["counter", "up_down_counter", "gauge", "histogram"]

SECONDS_BOUNDARIES = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
"""Bucket boundaries the HTTP semantic conventions recommend for durations in seconds."""


@dataclass(frozen=True, slots=True)
class InstrumentDefinition:
    """One metric: the single place its name, unit and meaning are written down.

    Attributes:
        kind: Counters, up-down counters and gauges are observed; histograms are recorded.
        name: OpenTelemetry name.
        unit: UCUM unit, or an annotation such as ``{message}``.
        description: What one unit of the value is.
        attributes: Names of the attributes its series carry.
        boundaries: Bucket boundaries of a histogram.
    """

    kind: InstrumentKind
    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()

    def histogram(self, meter: Meter) -> Histogram:
        """Create the histogram this defines."""
        return meter.create_histogram(
            self.name,
            unit=self.unit,
            description=self.description,
            explicit_bucket_boundaries_advisory=self.boundaries,
        )


RULE_EVALUATION_DURATION = InstrumentDefinition(
    "histogram",
    "gateway.rule.evaluation.duration",
    "s",
    "Duration of one evaluation of a rule group.",
    ("gateway.rule.group", "error.type"),
    SECONDS_BOUNDARIES,
)
RULE_EVALUATION_MISSED = InstrumentDefinition(
    "counter",
    "gateway.rule.evaluation.missed",
    "{evaluation}",
    "Evaluations of a rule group that were skipped because an earlier one ran too long.",
    ("gateway.rule.group",),
)
RULE_EVALUATION_FAILED = InstrumentDefinition(
    "counter",
    "gateway.rule.evaluation.failed",
    "{rule}",
    "Rules whose evaluation ended in an error.",
    ("gateway.rule.group",),
)
ALERT_COUNT = InstrumentDefinition(
    "up_down_counter",
    "gateway.alert.count",
    "{alert}",
    "Alerts that are pending or firing.",
    ("gateway.alert.state", "gateway.alert.severity"),
)
NOTIFICATION_DURATION = InstrumentDefinition(
    "histogram",
    "gateway.notification.duration",
    "s",
    "Duration of one attempt to deliver a notification.",
    ("gateway.receiver", "error.type"),
    SECONDS_BOUNDARIES,
)
NOTIFICATION_DELIVERED = InstrumentDefinition(
    "counter",
    "gateway.notification.delivered",
    "{notification}",
    "Notifications a receiver accepted.",
    ("gateway.receiver",),
)
NOTIFICATION_RETRIES = InstrumentDefinition(
    "counter",
    "gateway.notification.retries",
    "{attempt}",
    "Attempts that failed and will be repeated.",
    ("gateway.receiver",),
)
NOTIFICATION_FAILED = InstrumentDefinition(
    "counter",
    "gateway.notification.failed",
    "{notification}",
    "Notifications given up for good, with their reason in the outbox.",
    ("gateway.receiver", "error.type"),
)
NOTIFICATION_QUEUE_SIZE = InstrumentDefinition(
    "up_down_counter",
    "gateway.notification.queue.size",
    "{notification}",
    "Notifications in the outbox that are not delivered yet.",
)
SERIES_COUNT = InstrumentDefinition(
    "up_down_counter",
    "gateway.series.count",
    "{series}",
    "Series the store holds.",
)
SERIES_SAMPLES = InstrumentDefinition(
    "counter",
    "gateway.series.samples",
    "{sample}",
    "Samples the store has taken in.",
)
SERIES_SAMPLES_REFUSED = InstrumentDefinition(
    "counter",
    "gateway.series.samples.refused",
    "{sample}",
    "Samples refused as out of order, as duplicate, or because a limit is reached.",
    ("error.type",),
)
SERIES_MEMORY = InstrumentDefinition(
    "up_down_counter",
    "gateway.series.memory",
    "By",
    "Memory of the store's samples and, estimated, of its labels.",
)
CONFIG_RELOAD_SUCCESS = InstrumentDefinition(
    "gauge",
    "gateway.config.reload.success",
    "{status}",  # with the unit 1 a collector would name it ..._ratio
    "Whether the configuration was last read without an error: 1, or 0.",
)
CONFIG_RELOAD_TIME = InstrumentDefinition(
    "gauge",
    "gateway.config.reload.time",
    "s",
    "When the configuration that is in use was read, in Unix time.",
)
CONFIG_RELOADS = InstrumentDefinition(
    "counter",
    "gateway.config.reloads",
    "{reload}",
    "Times the configuration was asked to be read again.",
    ("error.type",),
)
RULE_STATE_FAILED = InstrumentDefinition(
    "counter",
    "gateway.rule.state.failed",
    "{evaluation}",
    "Evaluations whose alert states could not be stored; they are stored with the next.",
)

DEFINITIONS = (
    RULE_EVALUATION_DURATION,
    RULE_EVALUATION_MISSED,
    RULE_EVALUATION_FAILED,
    ALERT_COUNT,
    NOTIFICATION_DURATION,
    NOTIFICATION_DELIVERED,
    NOTIFICATION_RETRIES,
    NOTIFICATION_FAILED,
    NOTIFICATION_QUEUE_SIZE,
    SERIES_COUNT,
    SERIES_SAMPLES,
    SERIES_SAMPLES_REFUSED,
    SERIES_MEMORY,
    CONFIG_RELOAD_SUCCESS,
    CONFIG_RELOAD_TIME,
    CONFIG_RELOADS,
    RULE_STATE_FAILED,
)


@dataclass(frozen=True, slots=True)
class AlertsTelemetry:
    """The tracer and the histograms the library records into."""

    tracer: Tracer
    rule_evaluation_duration: Histogram
    notification_duration: Histogram

    @classmethod
    def create(cls, tracer: Tracer, meter: Meter) -> Self:
        """Create the instruments on a meter."""
        return cls(
            tracer,
            RULE_EVALUATION_DURATION.histogram(meter),
            NOTIFICATION_DURATION.histogram(meter),
        )

    @classmethod
    def disabled(cls) -> Self:
        """Return telemetry that records nothing."""
        return cls.create(NoOpTracer(), NoOpMeter("alerts"))
