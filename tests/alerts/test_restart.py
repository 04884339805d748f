"""Alerts over the death of the process, and over changes of the rules, on a manual clock."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from alerts.alerting import Alerting, AlertingOptions
from alerts.alertmanager import AlertmanagerOptions
from alerts.clock import ManualClock
from alerts.documents import parse_document
from alerts.errors import DocumentError
from alerts.promql.engine import Engine
from alerts.rules.alerting import AlertState
from alerts.rules.file import read_groups
from alerts.rules.model import GroupDefinition
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.telemetry import AlertsTelemetry
from tests.support.alerts import FakeTransport, database_url, until
from tests.support.routing import routing as routing_of

ROUTING = """\
route: {receiver: ops, group_wait: 0s, group_interval: 15s}
receivers: [{name: ops, webhook_configs: [{url: "http://%s/hook"}]}]
"""
RULES = """\
groups:
  - name: g
    interval: 15s
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: Down
        expr: job:up:sum == 0
        for: 5m
"""
UP = Labels({"__name__": "up", "job": "db"})


class House:
    """A series store that outlives the processes around it, and their database."""

    def __init__(self, directory: Path, rules: str = RULES, routing: str = ROUTING) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.transport = FakeTransport(self.clock)
        self.store = SeriesStore(clock=self.clock, retention_s=7200)
        self.engine = Engine(self.store)
        self.rules = rules
        self.routing = routing

    def groups(self, rules: str, file: str = "r.yaml") -> tuple[GroupDefinition, ...]:
        """Read a rule file."""
        document = parse_document(rules, file)
        return read_groups(document, engine=self.engine, default_interval_s=15.0)

    def alerting(self, **options: Any) -> Alerting:
        """Return the library as a process has it that just started."""
        return Alerting(
            engine=self.engine,
            store=self.store,
            groups=self.groups(self.rules),
            routing=routing_of(self.routing % "one"),
            database=Database(database_url(self.directory)),
            transport=self.transport,
            clock=self.clock,
            random=Random(1),
            telemetry=AlertsTelemetry.disabled(),
            options=AlertingOptions(
                alertmanager=AlertmanagerOptions(close_deadline_s=0.2), **options
            ),
        )

    async def run(self, alerting: Alerting, seconds: int, up: float | None = 0) -> None:
        """Let a value hold for some seconds, evaluating every 15."""
        for _ in range(seconds // 15):
            await self.clock.advance(15)
            now_ms = round(self.clock.time() * 1000)
            self.store.source("self").append(now_ms, [] if up is None else [(UP, up)])
            for group in alerting.groups:
                await alerting.evaluate(group, now_ms)
            await self.clock.advance(0)

    async def sql(self, statement: str) -> None:
        """Do something to the database behind the back of the process."""
        async with Database(database_url(self.directory)) as database:
            async with database.transaction() as connection:
                await connection.exec_driver_sql(statement)

    def now(self, expression: str) -> dict[str, float]:
        """Return an instant vector by job."""
        query = self.engine.prepare(expression)
        found = self.engine.instant_vector(query, round(self.clock.time() * 1000))
        return {sample.labels.get("job", ""): sample.value for sample in found}


@asynccontextmanager
async def killed(house: House) -> AsyncIterator[Alerting]:
    """Run; the next process finds the database as it is on the disk at the end of the block."""
    async with house.alerting() as alerting:
        yield alerting
        copy = house.directory / "copy"
        await asyncio.to_thread(shutil.copytree, house.directory, copy)
    house.directory = copy


def delivered(alerting: Alerting) -> int:
    """Return how many notifications have left the outbox, none being left in it."""
    return 0 if alerting.queued else alerting.receiver_stats["ops"].delivered


async def test_pending_over_a_kill(tmp_path: Path) -> None:
    """A wait of five minutes is five minutes, however often the process dies in it."""
    house = House(tmp_path)
    for _ in range(4):
        async with killed(house) as alerting:
            await house.run(alerting, 60)
            assert [alert.state for alert in alerting.alerts()] == [AlertState.PENDING]
        await house.clock.advance(15)

    async with house.alerting() as alerting:
        await house.run(alerting, 15)
        (alert,) = alerting.alerts()

    assert alert.state is AlertState.FIRING
    assert alert.fired_at_ms is not None
    assert alert.fired_at_ms - alert.active_at_ms == 300_000


async def test_firing_and_resolved_over_a_kill(tmp_path: Path) -> None:
    """When it began to fire stays; its end while nobody looked is told, by the same start."""
    house = House(tmp_path)
    async with killed(house) as alerting:
        await house.run(alerting, 315)
        (before,) = alerting.alerts()
        await until(house.clock, lambda: delivered(alerting) == 1)
    await house.clock.advance(1800)
    async with house.alerting() as alerting:
        assert alerting.alerts() == (before,)
        await house.run(alerting, 15, up=1)
        await house.clock.advance(15)
        await until(house.clock, lambda: len(house.transport.posts) == 2)

    assert b'"resolved"' in house.transport.posts[1].body


async def test_killed_between_state_and_routing(tmp_path: Path) -> None:
    """An alert whose state was committed, and which routing had not told yet, is told."""
    house = House(tmp_path, routing=ROUTING.replace("group_wait: 0s", "group_wait: 2m"))
    async with killed(house) as alerting:
        await house.run(alerting, 315)
        assert [alert.state for alert in alerting.alerts()] == [AlertState.FIRING]
    assert house.transport.posts == []
    async with house.alerting() as alerting:
        await house.run(alerting, 15)
        await house.clock.advance(120)
        await until(house.clock, lambda: len(house.transport.posts) == 1)

    assert b'"firing"' in house.transport.posts[0].body


async def test_rare_evaluations(tmp_path: Path) -> None:
    """An alert of a group that is evaluated once in half an hour does not end in between."""
    house = House(tmp_path, RULES.replace("for: 5m", "for: 0s").replace("l: 15s", "l: 30m"))
    async with killed(house) as alerting:
        await house.run(alerting, 30)
        await until(house.clock, lambda: delivered(alerting) == 1)
    async with house.alerting() as alerting:
        await house.clock.advance(1800)
        await house.run(alerting, 15)
        await until(house.clock, lambda: alerting.queued == 0)

    assert len(house.transport.posts) == 1


async def test_told_once(tmp_path: Path) -> None:
    """Handing on again after a restart does not tell people again."""
    house = House(tmp_path)
    for _ in range(3):
        async with house.alerting() as alerting:
            await house.run(alerting, 330)
            await until(house.clock, lambda: alerting.queued == 0)

    assert len(house.transport.posts) == 1


async def test_held_until_series_are_back(tmp_path: Path) -> None:
    """An alert whose series is not there yet right after a start does not resolve."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        await house.run(alerting, 330)
    async with house.alerting(hold_absent_s=30) as alerting:
        await house.run(alerting, 15, up=None)
        assert [alert.state for alert in alerting.alerts()] == [AlertState.FIRING]
        await house.run(alerting, 15, up=None)
        assert alerting.alerts() == ()


async def test_watched_until(tmp_path: Path) -> None:
    """A wait that changed nothing for two hours is known to have been watched."""
    house = House(tmp_path, RULES.replace("5m", "3h"))
    async with killed(house) as alerting:
        await house.run(alerting, 7200)
        await alerting.checkpoint()
    async with house.alerting() as alerting:
        await house.run(alerting, 3600 + 15)
        states = [alert.state for alert in alerting.alerts()]

    assert states == [AlertState.FIRING]


async def test_nothing_is_written_without_a_change(tmp_path: Path) -> None:
    """Passes in which no alert moves on leave the database alone."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        await house.run(alerting, 30)
        wal = tmp_path / "alerts.db-wal"
        before = wal.stat().st_mtime_ns
        await house.run(alerting, 120)

        assert wal.stat().st_mtime_ns == before


async def test_storage_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """States that cannot be stored are stored later; the alerts are handed on all the same."""
    house = House(tmp_path)
    async with killed(house) as alerting:
        await house.sql("ALTER TABLE alert_state RENAME TO elsewhere")
        await house.run(alerting, 315)
        await until(house.clock, lambda: len(house.transport.posts) == 1)
        assert alerting.groups[0].stats.failed_saves >= 2
        assert caplog.text.count("are not stored: the database") == 1
        await house.sql("ALTER TABLE elsewhere RENAME TO alert_state")
        await house.run(alerting, 15)
    async with house.alerting() as alerting:
        assert [alert.state for alert in alerting.alerts()] == [AlertState.FIRING]


Change = Callable[[str], str]


async def reload(house: House, alerting: Alerting, rules: str) -> str:
    """Have other rules used and return the report."""
    return str(await alerting.reload(house.groups(rules)))


async def test_unchanged_groups_keep_running(tmp_path: Path) -> None:
    """The same text read again is the same groups, not others like them."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        (before,) = alerting.groups
        report = await reload(house, alerting, RULES + "# a comment\n")

        assert alerting.groups[0] is before
    assert report == ("rule groups: 1 unchanged, 0 changed, 0 added, 0 removed; routing unchanged")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("== 0", "< 1"),
        lambda text: text.replace("interval: 15s", "interval: 30s"),
        lambda text: text.replace("interval: 15s", "interval: 15s\n    limit: 10"),
    ],
)
async def test_changed_group_keeps_state(tmp_path: Path, change: Change) -> None:
    """Alerts and series of rules of the same name and labels go on in a changed group."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        await house.run(alerting, 60)
        before = alerting.alerts()
        await reload(house, alerting, change(RULES))
        assert alerting.alerts() == before
        await house.run(alerting, 30)

        assert [alert.active_at_ms for alert in alerting.alerts()] == [before[0].active_at_ms]
        assert house.now("count_over_time(job:up:sum[5m])") == {"db": 6}
    assert house.store.stats.refused_duplicate_series == 0


async def test_longer_query_offset(tmp_path: Path) -> None:
    """Samples that would go back in time are left out; the rules go on and so do the alerts."""
    house = House(tmp_path)
    offset = RULES.replace("interval: 15s", "interval: 15s\n    query_offset: 45s")
    async with house.alerting() as alerting:
        await house.run(alerting, 330)
        await reload(house, alerting, offset)
        await house.run(alerting, 30)
        (group,) = alerting.rules()

        assert [rule.status.health for rule in group.rules] == ["ok", "ok"]
        assert [alert.state for alert in alerting.alerts()] == [AlertState.FIRING]
        await house.run(alerting, 60)
        assert house.now("timestamp(ALERTS) - time()") == {"db": -45}


async def test_duplicates_keep_their_places(tmp_path: Path) -> None:
    """Of rules alike in name and labels the first goes on as the first, the second as second."""
    house = House(tmp_path)
    two = RULES + "      - {alert: Down, expr: job:up:sum == 0, for: 1h}\n"
    async with house.alerting() as alerting:
        await house.run(alerting, 330)
        await reload(house, alerting, two)
        await house.run(alerting, 15)

        states = [alert.state for alert in alerting.alerts()]
    assert states == [AlertState.FIRING, AlertState.PENDING]


async def test_removed_rule(tmp_path: Path) -> None:
    """The series of a rule that left go stale with the next pass, its stored alerts are deleted."""
    house = House(tmp_path)
    less = RULES[: RULES.index("      - alert")]
    async with house.alerting() as alerting:
        await house.run(alerting, 60)
        await reload(house, alerting, less)
        assert house.now("ALERTS") == {"db": 1}
        await house.run(alerting, 15)
        assert house.now("ALERTS") == {}
    async with house.alerting() as alerting:
        assert alerting.alerts() == ()


async def test_removed_group(tmp_path: Path) -> None:
    """The series of a group that is gone go stale, and its alerts do not come back."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        await house.run(alerting, 60)
        await house.clock.advance(5)
        report = await reload(house, alerting, "")
        assert house.now("job:up:sum") == {}
        assert house.now("ALERTS") == {}
        assert "1 removed" in report
    async with house.alerting() as alerting:
        assert alerting.alerts() == ()


async def test_renamed_group(tmp_path: Path) -> None:
    """A renamed group goes on with its series; back again it does so too."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        for name in ("g", "other", "g"):
            await reload(house, alerting, RULES.replace("name: g", f"name: {name}"))
            await house.run(alerting, 30)

        assert house.now("count_over_time(job:up:sum[5m])") == {"db": 6}
    assert house.store.stats.refused_duplicate_series == 0


async def test_rule_moves_between_groups(tmp_path: Path) -> None:
    """A rule that is in another group now writes its series on without a gap."""
    house = House(tmp_path)
    head, alert = RULES.split("      - alert")
    moved = "groups:\n  - name: h\n    interval: 15s\n    rules:\n" + head.split("rules:\n")[1]
    moved += head.split("groups:\n")[1].split("      - record")[0] + "      - alert" + alert
    async with house.alerting() as alerting:
        await house.run(alerting, 60)
        await reload(house, alerting, moved)
        await house.run(alerting, 30)

        assert house.now("count_over_time(job:up:sum[5m])") == {"db": 6}
        assert [alert.state for alert in alerting.alerts()] == [AlertState.PENDING]
    assert house.store.stats.refused_duplicate_series == 0


async def test_other_routes(tmp_path: Path) -> None:
    """Routes change while an alert fires: its end goes where the new ones say."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        await house.run(alerting, 330)
        await until(house.clock, lambda: len(house.transport.posts) == 1)
        routing = routing_of(ROUTING % "two")
        reloaded = await alerting.reload(house.groups(RULES), routing)
        await house.run(alerting, 30, up=1)
        await until(house.clock, lambda: alerting.receiver_stats["ops"].delivered == 2)

    assert (reloaded.unchanged, reloaded.routing) == (1, True)
    assert [post.url for post in house.transport.posts] == ["http://one/hook", "http://two/hook"]


async def test_alert_that_waits_in_a_group_survives_other_routes(tmp_path: Path) -> None:
    """An alert routing has not told yet is told by the new routes."""
    house = House(tmp_path)
    slow = ROUTING.replace("group_wait: 0s", "group_wait: 1m")
    async with house.alerting() as alerting:
        await alerting.reload(house.groups(RULES), routing_of(slow % "one"))
        await house.run(alerting, 300 + 15)
        await alerting.reload(house.groups(RULES), routing_of(slow % "two"))
        await house.clock.advance(75)
        await until(house.clock, lambda: len(house.transport.posts) == 1)

    assert house.transport.posts[0].url == "http://two/hook"


async def test_storage_fails_on_reload(tmp_path: Path) -> None:
    """When routes cannot be changed nothing is, the rules included."""
    house = House(tmp_path)
    async with house.alerting() as alerting:
        before = alerting.groups
        await house.sql("ALTER TABLE outbox RENAME TO elsewhere")
        with pytest.raises(StorageError):
            await alerting.reload((), routing_of(ROUTING % "two"))

        await house.sql("ALTER TABLE elsewhere RENAME TO outbox")
        assert alerting.groups == before
        await house.run(alerting, 330)
        await until(house.clock, lambda: len(house.transport.posts) == 1)


async def test_bad_file(tmp_path: Path) -> None:
    """What cannot be read never gets as far as the rules that run."""
    with pytest.raises(DocumentError, match=r"^r\.yaml:\d+:\d+: "):
        House(tmp_path).groups(RULES.replace("== 0", "== == 0"))
