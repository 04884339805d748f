"""What makes spans of fixed shapes, for tests that look at them."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from alerts.clock import Clock, SystemClock
from service.telemetry.late_spans import LatePolicy
from service.telemetry.recorded_spans import SpanOrigin
from service.telemetry.sampling import EntrySampler
from service.telemetry.sampling_rules import SamplingRule, SamplingRules
from service.telemetry.span_recorder import NO_LIMITS, SpanQueue, SpanRecorder

ORIGIN = SpanOrigin(Resource({"service.name": "tests"}), InstrumentationScope("tests", "1"))


def recorder(
    *processors: SpanProcessor,
    ratio: float = 1.0,
    rules: Sequence[SamplingRule] = (),
    late: LatePolicy | None = None,
    queue: SpanQueue | None = None,
    limits: SpanLimits | None = None,
    clock: Clock | None = None,
) -> SpanRecorder:
    """Return a recorder whose spans go to these processors, and to a queue if there is one."""
    return SpanRecorder(
        ORIGIN,
        EntrySampler(SamplingRules(ratio, rules), keep=late is not None and ratio > 0),
        clock or SystemClock(),
        queue=queue,
        processors=processors,
        late=late,
        limits=limits or NO_LIMITS,
    )
