"""Rule groups: one pass over the rules."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from alerts.clock import ManualClock
from alerts.errors import AlertsError
from alerts.rules.group import GroupContext, RuleGroup, slot_offset_ms
from alerts.rules.model import GroupDefinition, RecordingDefinition, RuleDefinition
from alerts.series.labels import Labels
from alerts.telemetry import AlertsTelemetry
from tests.support.alerts import (
    START_MS,
    FakeEngine,
    FakeStore,
    Notified,
    alerting_rule,
    rule_group,
    sample,
)

STEP_MS = 60_000


class Bench:
    """A group with fakes around it."""

    def __init__(self, *rules: RuleDefinition, definition: GroupDefinition | None = None) -> None:
        self.engine = FakeEngine()
        self.store = FakeStore()
        self.notified = Notified()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.group = RuleGroup(
            definition or rule_group(*rules),
            GroupContext(
                engine=self.engine,
                store=self.store,
                notify=self.notified,
                clock=ManualClock(),
                telemetry=AlertsTelemetry.create(provider.get_tracer("t"), NoOpMeter("t")),
            ),
        )

    async def evaluate(self, *steps: int) -> None:
        """Evaluate at numbers of intervals after the start."""
        for step in steps:
            await self.group.evaluate(START_MS + step * STEP_MS)


def recording(record: str, expression: str) -> RecordingDefinition:
    """Return a recording rule."""
    return RecordingDefinition(record, expression, expression)


async def test_one_timestamp_in_file_order() -> None:
    """All rules are evaluated in file order at one timestamp, each committed before the next."""
    bench = Bench(recording("a", "x"), recording("b", "a"), alerting_rule("C", "b"))
    bench.engine.vectors = {"x": [sample()], "a": [sample()], "b": [sample()]}
    written: list[int] = []
    bench.engine.on_ask = lambda: written.append(len(bench.store.sinks))

    await bench.evaluate(0)

    assert bench.engine.asked == [("x", START_MS), ("a", START_MS), ("b", START_MS)]
    assert written == [0, 1, 2]


async def test_query_offset() -> None:
    """The offset shifts queries and what is written back, not the life of alerts."""
    definition = rule_group(alerting_rule("C", "b"), query_offset_s=5.0)
    bench = Bench(definition=definition)
    bench.engine.vectors = {"b": [sample()]}

    await bench.evaluate(0)

    (sink,) = bench.store.sinks.values()
    assert bench.engine.asked == [("b", START_MS - 5000)]
    assert [moment for moment, _ in sink.appended] == [START_MS - 5000]
    assert bench.notified.calls[0][0].starts_at_ms == START_MS


async def test_stale_series() -> None:
    """A rule that gives nothing any more appends nothing once, so that its series go stale."""
    bench = Bench(recording("a", "x"))
    bench.engine.vectors = {"x": [sample(job="j")]}
    await bench.evaluate(0)
    bench.engine.vectors = {}

    await bench.evaluate(1, 2)

    (sink,) = bench.store.sinks.values()
    assert sink.appended == [
        (START_MS, {Labels({"__name__": "a", "job": "j"}): 1.0}),
        (START_MS + STEP_MS, {}),
    ]


@pytest.mark.parametrize("error", [AlertsError("no data"), KeyError("a defect")])
async def test_failing_rule(error: Exception) -> None:
    """A rule that fails, or trips over a defect, is reported; the others go on."""
    bench = Bench(recording("a", "x"), alerting_rule("C", "b"))
    bench.engine.vectors = {"x": error, "b": [sample()]}

    await bench.evaluate(0)

    (_, first), (_, second) = bench.group.rules
    assert (first.health, first.last_error) == ("err", str(error))
    assert (second.health, second.last_error) == ("ok", "")
    assert bench.group.stats.failed_rules == 1
    assert len(bench.notified.calls) == 1


async def test_recovery() -> None:
    """A rule that works again says so."""
    bench = Bench(recording("a", "x"))
    bench.engine.vectors = {"x": AlertsError("no data")}
    await bench.evaluate(0)
    bench.engine.vectors = {}

    await bench.evaluate(1)

    assert bench.group.rules[0][1].health == "ok"
    assert bench.group.rules[0][1].last_error == ""


@pytest.mark.parametrize(("steps", "missed"), [((0, 1, 2), 0), ((0, 3), 2), ((0, 2, 4), 2)])
async def test_missed(steps: tuple[int, ...], missed: int) -> None:
    """Slots that were passed over are counted."""
    bench = Bench()

    await bench.evaluate(*steps)

    assert bench.group.stats.missed == missed


async def test_old_timestamp() -> None:
    """A timestamp that is not later than the last does nothing."""
    bench = Bench(recording("a", "x"))

    await bench.evaluate(1, 1, 0)

    assert bench.group.stats.evaluations == 1


async def test_off_the_loop() -> None:
    """Expressions are evaluated in another thread."""
    bench = Bench(recording("a", "x"))
    threads: list[int] = []
    bench.engine.on_ask = lambda: threads.append(threading.get_ident())

    await bench.evaluate(0)

    assert threads != [threading.get_ident()]


async def test_span() -> None:
    """A pass is one root span, whatever span is current, and goes with its alerts."""
    bench = Bench(alerting_rule("C", "b"), recording("a", "x"))
    bench.engine.vectors = {"b": [sample()], "x": AlertsError("no")}
    other = TracerProvider().get_tracer("t")

    with other.start_as_current_span("whoever scheduled it"):
        await bench.evaluate(0)

    (span,) = bench.spans.get_finished_spans()
    assert (span.name, span.parent) == ("evaluate group", None)
    assert dict(span.attributes or {}) == {
        "gateway.rule.group": "group",
        "gateway.rule.count": 2,
        "gateway.alert.fired": 1,
        "error.type": "AlertsError",
    }
    assert bench.notified.span_contexts == [span.context]


def test_slots() -> None:
    """Slots are one interval apart, at a phase that only depends on file and name."""
    bench = Bench()
    offset_ms = slot_offset_ms("rules.yaml;group", STEP_MS)

    first = bench.group.slot_ms(START_MS / 1000)

    assert bench.group.offset_s == offset_ms / 1000
    assert first % STEP_MS == offset_ms
    assert 0 <= START_MS - first < STEP_MS
    assert bench.group.slot_ms(first / 1000) == first
    assert bench.group.slot_ms((first + STEP_MS - 1) / 1000) == first
