"""One reader collects; observers, the series store and the export live off it."""

from __future__ import annotations

import asyncio
import logging
import threading

import numpy as np
import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from alerts.clock import ManualClock, SystemClock
from alerts.series.exemplars import Exemplars
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.series.store import SeriesStore
from alerts.telemetry import InstrumentDefinition
from service.telemetry.collection import Collected, Collection
from service.telemetry.export import ExportQueue
from service.telemetry.exports import MetricExport
from service.telemetry.feed import SeriesFeed
from service.telemetry.observers import Observers
from service.telemetry.views import MetricViews

SENT = InstrumentDefinition("counter", "sent", "{message}", "Messages sent.", ("to",))
LEVEL = InstrumentDefinition("gauge", "level", "m", "How high.", ("at",))
TOOK = InstrumentDefinition("histogram", "took", "s", "Duration.", (), (0.1, 1.0))


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still."""
    return ManualClock()


@pytest.fixture
def collection(clock: ManualClock) -> Collection:
    """Return a collection that is made by hand."""
    return Collection(Resource({"service.name": "test"}), interval_s=3600, clock=clock)


def values(collected: Collected, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return the value of each series of a family."""
    return {
        point.series.labels: point.values[0]
        for found in collected.families
        if found.family.name == name
        for point in found.points
    }


def test_observed_integers_are_read_at_collection(collection):
    """A collection shows what the parts count at that moment."""
    counts = {"a": 1}
    observers = Observers(collection.provider.get_meter("test"))
    observers.observe(SENT, lambda: [(value, {"to": key}) for key, value in counts.items()])

    before = values(collection.collect(), "sent_total")
    counts.update(a=5, b=2)
    after = values(collection.collect(), "sent_total")

    assert before == {(("to", "a"),): 1}
    assert after == {(("to", "a"),): 5, (("to", "b"),): 2}


def test_several_parts_observe_one_instrument(collection):
    """Parts with attributes of their own share a metric, and one can leave."""
    observers = Observers(collection.provider.get_meter("test"))
    observers.observe(SENT, lambda: [(1, {"to": "a"})])
    leave = observers.observe(SENT, lambda: [(2, {"to": "b"})])

    both = values(collection.collect(), "sent_total")
    leave()
    one = values(collection.collect(), "sent_total")

    assert (len(both), len(one)) == (2, 1)


@pytest.mark.parametrize(
    ("definition", "name", "rest"), [(SENT, "sent_total", 9), (LEVEL, "level_meters", 5)]
)
def test_series_past_the_cap_overflow(collection, definition, name, rest):
    """Beyond the cap counters add up in one series, gauges keep the last value there."""
    observers = Observers(collection.provider.get_meter("test"), MetricViews(max_series=3))
    attribute = definition.attributes[0]
    observers.observe(definition, lambda: [(n, {attribute: str(n)}) for n in (1, 3, 4, 5)])

    found = values(collection.collect(), name)

    assert len(found) == 3
    assert found[(("otel_metric_overflow", "true"),)] == rest


def test_a_histogram_is_not_observed(collection):
    """Asking to observe a histogram is refused."""
    observers = Observers(collection.provider.get_meter("test"))

    with pytest.raises(ValueError, match="took is a histogram"):
        observers.observe(TOOK, list)


def test_a_failing_read_costs_its_own_metric(collection, caplog):
    """When one part cannot be read the others are still collected."""
    observers = Observers(collection.provider.get_meter("test"))
    observers.observe(SENT, lambda: [(1 // 0, {})])
    observers.observe(LEVEL, lambda: [(3, {})])

    with caplog.at_level(logging.CRITICAL, "opentelemetry"):
        collected = collection.collect()

    assert values(collected, "level_meters") == {(): 3}


def test_a_failing_consumer_costs_only_itself(collection):
    """A consumer that raises is counted and the others get their collection."""
    got: list[Collected] = []
    collection.add_consumer(lambda collected: 1 // 0)
    collection.add_consumer(got.append)

    collection.collect()

    assert len(got) == 1
    assert collection.stats.failures == 1


async def test_collecting_happens_off_the_loop(collection):
    """What reads the parts runs on another thread than the event loop."""
    threads: list[int] = []
    collection.add_consumer(lambda collected: threads.append(threading.get_ident()))

    await collection.collect_now()

    assert threads != [threading.get_ident()]


async def test_a_scrape_adds_no_samples(collection, clock):
    """A fresh collection for a page is not handed to the consumers, and is reused while fresh."""
    got: list[Collected] = []
    collection.add_consumer(got.append)

    first = await collection.fresh(1.0)
    again = await collection.fresh(1.0)
    await clock.advance(1.5)
    later = await collection.fresh(1.0)

    assert first is again
    assert later.timestamp_ms == first.timestamp_ms + 1500
    assert got == []


async def test_the_thread_collects_until_it_is_stopped():
    """Started, it collects by itself; stopped, its thread is gone."""
    loop = asyncio.get_running_loop()
    twice = asyncio.Event()
    collection = Collection(Resource({}), interval_s=0.01, clock=SystemClock())

    def consume(_collected: Collected) -> None:
        if collection.stats.collections >= 2:
            loop.call_soon_threadsafe(twice.set)

    collection.add_consumer(consume)
    collection.start()
    await asyncio.wait_for(twice.wait(), 10)

    assert await asyncio.to_thread(collection.stop, 10)


def test_disabled_it_collects_nothing(clock):
    """Without an SDK every collection is empty but for who the process is."""
    collection = Collection(Resource({"a": "b"}), interval_s=1, clock=clock, enabled=False)

    collected = collection.collect()

    assert [found.family.name for found in collected.families] == ["target_info"]


def test_the_series_store_takes_what_is_collected(collection, clock):
    """A counter and a histogram of the process are series, with the labels of a scrape."""
    store = SeriesStore(clock=clock, retention_s=3600)
    collection.add_consumer(
        SeriesFeed(store.source("self"), store.exemplars, job="gw", instance="host:1")
    )
    meter = collection.provider.get_meter("test")
    TOOK.histogram(meter).record(0.5)
    Observers(meter).observe(SENT, lambda: [(4, {"to": "a", "job": "own"})])

    collection.collect()

    target = {"job": "gw", "instance": "host:1"}
    found = store.select([Matcher(MatchOp.EQUAL, "job", "gw")]).labels
    names = {"__name__": "sent_total", "to": "a", "exported_job": "own", **target}
    assert Labels(names) in found
    assert Labels({"__name__": "took_seconds_bucket", "le": "1.0", **target}) in found
    assert Labels({"__name__": "up", **target}) in found


def test_traces_of_measurements_are_kept_with_their_bucket(collection, clock):
    """What was measured in a sampled trace is an exemplar of the very series of its bucket."""
    store = SeriesStore(clock=clock, retention_s=3600)
    collection.add_consumer(
        SeriesFeed(store.source("self"), store.exemplars, job="gw", instance="i")
    )
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("work") as span:
        TOOK.histogram(collection.provider.get_meter("test")).record(0.5)

    collection.collect()

    selector = [Matcher(MatchOp.EQUAL, "__name__", "took_seconds_bucket")]
    ((series, (exemplar,)),) = store.exemplars.select([selector], 0, 2**53)
    assert series in store.select(selector).labels
    assert exemplar.labels["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert exemplar.value == 0.5


def test_a_clock_that_went_back_leaves_a_gap(collection, clock, caplog):
    """What the store refuses is missing there, named once, and the next good collection counts."""
    store = SeriesStore(clock=clock, retention_s=3600)
    collection.add_consumer(
        SeriesFeed(store.source("self"), store.exemplars, job="gw", instance="i")
    )

    with caplog.at_level(logging.WARNING):
        collection.collect()
        collection.collect()
        collection.collect()

    assert caplog.text.count("missing from the series store") == 1
    assert collection.stats.failures == 0


class Columns:
    """A series source that remembers what it was asked and given."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.columns: list[tuple[object, list[float]]] = []

    def rows(self, labels):
        self.asked += [item.metric_name for item in labels]
        return np.arange(len(self.asked) - len(labels), len(self.asked), dtype=np.intp)

    def append_column(self, timestamp_ms, rows, values):
        self.columns.append((rows, values.tolist()))


def test_the_same_series_are_appended_by_the_same_rows(collection):
    """A second collection of the same series asks for no row and passes the same array."""
    columns = Columns()
    collection.add_consumer(SeriesFeed(columns, Exemplars(), job="gw", instance="i"))
    Observers(collection.provider.get_meter("test")).observe(LEVEL, lambda: [(3, {})])

    collection.collect()
    collection.collect()

    assert columns.asked == ["up", "target_info", "level_meters"]
    assert columns.columns[0][0] is columns.columns[1][0]


def test_a_series_that_comes_back_asks_for_its_row_again(collection):
    """The row of a series that was away may belong to another by now."""
    columns = Columns()
    collection.add_consumer(SeriesFeed(columns, Exemplars(), job="gw", instance="i"))
    present: list[tuple[float, dict[str, str]]] = [(3, {})]
    Observers(collection.provider.get_meter("test")).observe(LEVEL, lambda: list(present))

    collection.collect()
    gone = present.pop()
    collection.collect()
    present.append(gone)
    collection.collect()

    assert columns.asked.count("level_meters") == 2


async def test_metrics_are_sent_at_their_own_interval(collection, clock):
    """Between two exports collections go to the rules only; the last one is always sent."""
    sent: list[object] = []

    def send(batch: list[MetricsData]) -> bool:
        sent.extend(batch)
        return True

    queue = ExportQueue("metrics", send)
    export = MetricExport(queue, 15.0)
    collection.add_consumer(export)
    collection.provider.get_meter("test").create_counter("sent").add(1)

    for _ in range(4):
        collection.collect()
        await clock.advance(5)
    export.send_next()
    collection.collect()
    queue.close(10)

    assert len(sent) == 3
