"""Which measurements of a histogram are kept with their trace."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from alerts.clock import ManualClock
from service.telemetry.collection import Collection
from service.telemetry.definitions.gateway_metrics import MESSAGE_LATENCY
from service.telemetry.definitions.job_metrics import JOB_DURATION
from service.telemetry.definitions.pool_metrics import POOL_WAITING
from service.telemetry.observers import Observers


def trace_of(number: int, *, sampled: bool = True) -> SpanContext:
    """Return the context of a span of a trace."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(number, 1, is_remote=True, trace_flags=flags)


def inside(span: SpanContext) -> Context:
    """Return a context in which a span is the current one."""
    return trace.set_span_in_context(NonRecordingSpan(span), Context())


def kept(collection: Collection, name: str) -> set[tuple[int, float]]:
    """Return the exemplars of a histogram with one series: trace and value."""
    (family,) = [each for each in collection.collect().families if each.family.name == name]
    (point,) = family.points
    return {(int(dict(each.labels)["trace_id"], 16), each.value) for each in point.exemplars}


def create() -> Collection:
    """Return a collection that nobody but the test asks."""
    return Collection(Resource.get_empty(), interval_s=3600, clock=ManualClock())


def test_the_latest_of_each_bucket_stays():
    """A newer one takes its bucket's place; reading takes nothing away; unsampled ones are not."""
    collection = create()
    histogram = JOB_DURATION.histogram(collection.provider.get_meter("test"))
    for number, value in ((1, 0.001), (2, 0.002), (3, 9.0)):
        histogram.record(value, context=inside(trace_of(number)))
    histogram.record(9.0, context=inside(trace_of(4, sampled=False)))
    histogram.record(0.03)

    readings = [kept(collection, "gateway_job_duration_seconds") for _ in range(2)]

    assert readings == [{(2, 0.002), (3, 9.0)}] * 2


def test_local_histograms_do_the_same():
    """Also for a value that is exactly the bound of a bucket."""
    collection = create()
    series = collection.histograms.create(MESSAGE_LATENCY).series()
    for number, value in ((1, 0.001), (2, 0.0008), (3, 9.0)):
        series.record(value)
        series.point_to(trace_of(number), value, number * 1_000_000_000)
    series.record(0.0008)

    readings = [kept(collection, "gateway_message_latency_seconds") for _ in range(2)]

    assert readings == [{(2, 0.0008), (3, 9.0)}] * 2


def test_what_is_observed_has_no_exemplars():
    """Also where it is read while a trace goes on, of which it would know nothing."""
    collection = create()
    observers = Observers(collection.provider.get_meter("test"))
    observers.observe(POOL_WAITING, lambda: [(3, {})])
    token = attach(inside(trace_of(1)))
    try:
        families = collection.collect().families
    finally:
        detach(token)

    (point,) = next(each for each in families if each.family.name == "gateway_pool_waiting").points
    assert not point.exemplars
