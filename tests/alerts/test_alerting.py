"""The library put together: from a sample to a webhook, over restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from alerts.alerting import Alerting, AlertingOptions
from alerts.alertmanager import AlertmanagerOptions
from alerts.clock import ManualClock
from alerts.documents import parse_document
from alerts.promql.engine import Engine
from alerts.routing.model import log_routing
from alerts.rules.alerting import AlertState
from alerts.rules.file import read_groups
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.telemetry import AlertsTelemetry
from tests.support.alerts import FakeTransport, database_url, until
from tests.support.routing import routing as routing_of
from tests.support.webhook import (
    CLOSE,
    HANG,
    Answer,
    WebhookReceiver,
    aiohttp_transport,
    webhook_receiver,
)

RULES = """\
groups:
- name: g
  interval: 15s
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: job:up:sum == 0
    for: 30s
    labels: {severity: critical}
    annotations: {summary: "{{ $labels.job }} has {{ $value }} instances"}
"""
ROUTING = """\
route: {{receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 1m}}
receivers:
- name: ops
  webhook_configs: [{{url: "{url}/T0K3N", timeout: 10s}}]
"""
UP = Labels({"__name__": "up", "job": "db", "instance": "a"})


class Bench:
    """Everything an ``Alerting`` needs, real but for time."""

    def __init__(self, directory: Path, url: str, transport: object = None) -> None:
        self.directory = directory
        self.url = url
        self.clock = ManualClock()
        self.transport = transport or FakeTransport(self.clock)
        self.spans = InMemorySpanExporter()
        self.store = SeriesStore(clock=self.clock, retention_s=3600)
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.telemetry = AlertsTelemetry.create(provider.get_tracer("t"), NoOpMeter("t"))

    def alerting(self) -> Alerting:
        """Return the library put together, as after a start of the process."""
        engine = Engine(self.store)
        return Alerting(
            engine=engine,
            store=self.store,
            groups=read_groups(
                parse_document(RULES, "r.yaml"), engine=engine, default_interval_s=60.0
            ),
            routing=routing_of(ROUTING.format(url=self.url)),
            database=Database(database_url(self.directory)),
            transport=self.transport,  # type: ignore[arg-type]  # any Transport will do
            clock=self.clock,
            random=Random(1),
            telemetry=self.telemetry,
            options=AlertingOptions(
                AlertmanagerOptions("http://here/", close_deadline_s=0.2),
                Labels({"region": "eu"}),
            ),
        )

    async def run(self, alerting: Alerting, up: float, seconds: int) -> None:
        """Let a value hold for some seconds, evaluating every 15."""
        for _ in range(seconds // 15):
            await self.clock.advance(15)
            self.store.source("self").append(round(self.clock.time() * 1000), [(UP, up)])
            for group in alerting.groups:
                await alerting.evaluate(group, round(self.clock.time() * 1000))
            await self.clock.advance(0)


@asynccontextmanager
async def bench_with_receiver(directory: Path) -> AsyncIterator[tuple[Bench, WebhookReceiver]]:
    """A bench whose receiver is a real server."""
    async with webhook_receiver() as receiver, aiohttp_transport() as transport:
        yield Bench(directory, receiver.url, transport), receiver


async def test_fires_and_resolves(tmp_path: Path) -> None:
    """A rule over a recorded series fires after its wait, and resolves; both arrive."""
    async with bench_with_receiver(tmp_path) as (bench, receiver), bench.alerting() as alerting:
        await bench.run(alerting, up=0, seconds=30)
        assert [alert.state for alert in alerting.alerts()] == [AlertState.PENDING]
        await bench.run(alerting, up=0, seconds=15)
        await receiver.wait_for(1)
        await bench.run(alerting, up=1, seconds=60)
        await receiver.wait_for(2)
        await until(bench.clock, lambda: alerting.queued == 0)

        assert alerting.receiver_stats["ops"].delivered == 2
    first, second = (request.body for request in receiver.received)
    assert (first["status"], second["status"]) == ("firing", "resolved")
    assert first["groupKey"] == '{}:{alertname="Down"}'
    assert first["commonLabels"] == {
        "alertname": "Down",
        "job": "db",
        "region": "eu",
        "severity": "critical",
    }
    assert first["commonAnnotations"] == {"summary": "db has 0 instances"}
    assert first["alerts"][0]["startsAt"] == second["alerts"][0]["startsAt"]
    assert first["externalURL"] == "http://here/"


async def test_snapshots(tmp_path: Path) -> None:
    """Rules, their health and their alerts can be looked at and counted at any time."""
    bench = Bench(tmp_path, "http://host")
    async with bench.alerting() as alerting:
        await bench.run(alerting, up=0, seconds=15)
        (group,) = alerting.rules()

        recording, alerting_rule = group.rules
        assert (group.group.name, group.group.interval_s) == ("g", 15.0)
        assert (recording.rule.name, recording.status.health, recording.alerts) == (
            "job:up:sum",
            "ok",
            (),
        )
        assert [alert.state for alert in alerting_rule.alerts] == [AlertState.PENDING]
        assert alerting.alert_counts == {(AlertState.PENDING, "critical"): 1}


async def test_series_of_alerts(tmp_path: Path) -> None:
    """ALERTS can be asked for like any series."""
    bench = Bench(tmp_path, "http://host")
    async with bench.alerting() as alerting:
        await bench.run(alerting, up=0, seconds=45)

    engine = Engine(bench.store)
    now_ms = round(bench.clock.time() * 1000)
    found = engine.instant_vector(engine.prepare('ALERTS{alertstate="firing"}'), now_ms)
    assert [sample.labels["job"] for sample in found] == ["db"]


async def test_own_slot(tmp_path: Path) -> None:
    """Without a timestamp a group is evaluated at its newest slot, once."""
    bench = Bench(tmp_path, "http://host")
    async with bench.alerting() as alerting:
        (group,) = alerting.groups
        await alerting.evaluate(group)
        await alerting.evaluate(group)

    assert group.last_evaluation_ms == group.slot_ms(bench.clock.time())
    assert group.stats.evaluations == 1


@pytest.mark.parametrize("answer", [Answer(500), CLOSE, HANG])
async def test_killed_while_sending(tmp_path: Path, answer: Answer) -> None:
    """What was not accepted before a stop arrives after the next start, once."""
    async with bench_with_receiver(tmp_path) as (bench, receiver):
        receiver.always = answer
        async with bench.alerting() as alerting:
            await bench.run(alerting, up=0, seconds=45)
            await receiver.wait_for(1)
        receiver.always = Answer()
        before = len(receiver.received)
        async with bench.alerting() as alerting:
            await receiver.wait_for(before + 1)
            await bench.run(alerting, up=0, seconds=120)
            await until(bench.clock, lambda: alerting.queued == 0)

    keys = [request.key for request in receiver.received]
    assert len(set(keys)) == 1
    assert len(keys) == before + 1


async def test_trace(tmp_path: Path) -> None:
    """The notification's span links to the evaluation it came from."""
    bench = Bench(tmp_path, "http://host")
    async with bench.alerting() as alerting:
        await bench.run(alerting, up=0, seconds=45)
        await until(bench.clock, lambda: alerting.receiver_stats["ops"].delivered == 1)

    spans = bench.spans.get_finished_spans()
    (notify,) = [span for span in spans if span.name == "notify ops"]
    evaluations = [span for span in spans if span.name == "evaluate g"]
    assert evaluations[-1].context is not None
    assert [link.context.span_id for link in notify.links] == [evaluations[-1].context.span_id]


async def test_secrets_stay_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The token in a webhook's URL shows neither in logs nor in spans, whatever fails."""
    caplog.set_level("DEBUG", logger="alerts")
    async with bench_with_receiver(tmp_path) as (bench, receiver):
        receiver.always = Answer(404, text="no hook T0K3N")
        async with bench.alerting() as alerting:
            await bench.run(alerting, up=0, seconds=45)
            await until(bench.clock, lambda: bool(alerting.receiver_stats["ops"].failed))

    shown = caplog.text + "".join(span.to_json() for span in bench.spans.get_finished_spans())
    assert "is given up: the answer was 404: no hook <secret>" in shown
    assert "T0K3N" not in shown


async def test_refused_is_told_again(tmp_path: Path) -> None:
    """What a receiver refused for good is told anew at the next interval while it fires."""
    async with bench_with_receiver(tmp_path) as (bench, receiver):
        receiver.answers.append(Answer(401))
        async with bench.alerting() as alerting:
            await bench.run(alerting, up=0, seconds=45)
            await until(bench.clock, lambda: bool(alerting.receiver_stats["ops"].failed))
            await bench.run(alerting, up=0, seconds=60)
            await receiver.wait_for(2)

    first, second = receiver.received
    assert first.key != second.key
    assert second.body["status"] == "firing"


async def test_log_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a configuration file alerts are written to the log."""
    bench = Bench(tmp_path, "http://host")
    alerting = bench.alerting()
    alerting = Alerting(
        engine=Engine(bench.store),
        store=bench.store,
        groups=[group.definition for group in alerting.groups],
        routing=log_routing(),
        database=Database(database_url(tmp_path)),
        transport=FakeTransport(bench.clock),
        clock=bench.clock,
        random=Random(1),
        telemetry=bench.telemetry,
    )
    async with alerting:
        await bench.run(alerting, up=0, seconds=45)
        await until(bench.clock, lambda: alerting.receiver_stats["log"].delivered == 1)

    assert "db has 0 instances" in caplog.text


async def test_after_the_end(tmp_path: Path) -> None:
    """An evaluation that ends after the stop hands its alerts to nobody and does not fail."""
    bench = Bench(tmp_path, "http://host")
    async with bench.alerting() as alerting:
        pass

    await bench.run(alerting, up=0, seconds=45)

    assert [alert.state for alert in alerting.alerts()] == [AlertState.FIRING]


async def test_database_in_the_way(tmp_path: Path) -> None:
    """A database that cannot be used stops the start with its reason."""
    await asyncio.to_thread((tmp_path / "alerts.db").write_text, "no database " * 500)

    with pytest.raises(StorageError, match="file is not a database"):
        async with Bench(tmp_path, "http://host").alerting():
            pass
