"""What becomes of alerts: posted ones, silences, acknowledgements, over stops and changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from alerts.alertmanager import Alertmanager, AlertmanagerOptions
from alerts.clock import ManualClock
from alerts.routing.model import InhibitRule, Receiver, Route, RoutingConfig
from alerts.routing.silence import Silence
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.telemetry import AlertsTelemetry
from tests.support.alerts import START_MS, FakeTransport, database_url, make_alert, until

DOWN = make_alert(START_MS, None, alertname="Down", node="a")
FIVE_MINUTES_MS = 300_000


def equals(name: str, value: str) -> Matcher:
    return Matcher(MatchOp.EQUAL, name, value)


ROUTING = RoutingConfig(
    Route("log", ("alertname",), 10.0, 60.0, 600.0),
    {"log": Receiver("log", logs=True), "other": Receiver("other", logs=True)},
)


class FlakyDatabase(Database):
    """Fails some transactions, counted from when it is told to."""

    failing: range = range(0)
    failures = 0
    _asked = 0

    def fail(self, failing: range) -> None:
        """Have transactions fail, by their numbers from now."""
        self.failing, self._asked = failing, 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        self._asked += 1
        if self._asked - 1 in self.failing:
            self.failures += 1
            raise StorageError("the disk is full")
        async with super().transaction() as connection:
            yield connection


class House:
    """One database and one clock; a process after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.database: FlakyDatabase

    @asynccontextmanager
    async def process(self, routing: RoutingConfig = ROUTING) -> AsyncIterator[Alertmanager]:
        """Run until the end of the block."""
        async with FlakyDatabase(database_url(self.directory)) as database:
            self.database = database
            manager = Alertmanager(
                routing=routing,
                database=database,
                transport=FakeTransport(self.clock),
                clock=self.clock,
                random=Random(1),
                telemetry=AlertsTelemetry.disabled(),
                options=AlertmanagerOptions(close_deadline_s=0.2),
            )
            async with manager:
                yield manager

    async def advance(self, manager: Alertmanager, seconds: float) -> None:
        """Move on, and let what became due come to its end: transactions wait for each other."""
        for _ in range(round(seconds / 10)):
            await self.clock.advance(10)
            for _ in ("commit", "deliver", "remove"):
                await manager.history.query(since_ms=0, until_ms=1, limit=1)
                await self.clock.settle()

    async def told(self, manager: Alertmanager) -> list[str]:
        """Return what the history says, oldest first."""
        page = await manager.history.query(since_ms=0, until_ms=2**53, limit=1000)
        return [event.kind.value for event in reversed(page.events)]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_posted_alerts_end_when_nobody_speaks_of_them(house: House) -> None:
    """Without an end they last for resolve_timeout after they were last posted."""
    async with house.process() as manager:
        await manager.post([DOWN])
        await house.advance(manager, 200)
        await manager.post([DOWN])
        await house.advance(manager, 200)
        (view,) = manager.views()
        await house.advance(manager, 200)
        await manager.keep_house()

        assert view.alert.ends_at_ms == START_MS + 200_000 + FIVE_MINUTES_MS
        assert view.alert.starts_at_ms == START_MS
        assert manager.views() == ()
        assert await house.told(manager) == ["firing", "notified", "resolved", "notified"]


async def test_posted_alerts_survive_a_stop(house: House) -> None:
    """What was acknowledged to its sender is told by the next process, once, and its end too."""
    async with house.process() as manager:
        await manager.post([DOWN])
    async with house.process() as manager:
        await house.advance(manager, 30)
        (view,) = manager.views()
        ended = replace(DOWN, ends_at_ms=START_MS + 30_000)
        await manager.post([ended])
        await house.advance(manager, 60)

        assert view.receivers == ("log",)
        assert (manager.views(), manager.groups()) == ((), ())
        assert await house.told(manager) == ["firing", "notified", "resolved", "notified"]


async def test_silences_hold_back_and_survive(house: House) -> None:
    """A silenced alert is shown as such and not told; the silence is there after a restart."""
    silence = Silence("", (equals("node", "a"),), START_MS, START_MS + 600_000, 0, "ada", "why")
    async with house.process() as manager:
        name = await manager.silences.set(silence)
        await manager.post([DOWN])
        await house.advance(manager, 30)
    async with house.process() as manager:
        await house.clock.settle()
        (view,) = manager.views()
        await house.advance(manager, 120)
        before = await house.told(manager)
        await manager.silences.expire(name)
        await manager.post([DOWN])
        await house.advance(manager, 120)

        assert (view.status.state, view.status.silenced_by) == ("suppressed", (name,))
        assert before == ["silence_created", "firing"]
        assert await house.told(manager) == [*before, "silence_expired", "notified"]


async def test_who_acknowledges_is_not_told_again(house: House) -> None:
    """Not by the next process either; an alert that begins anew is another one."""
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 10**9)])
        await house.advance(manager, 20)
        found = await manager.acknowledge(DOWN.fingerprint, "ada", "on it")
        assert await manager.acknowledge("0" * 16, "ada", "") is None
    async with house.process() as manager:
        await house.advance(manager, 1500)
        (view,) = manager.views()
        assert await house.told(manager) == ["firing", "notified", "acknowledged"]

        now_ms = round(house.clock.time() * 1000)
        await manager.post([replace(DOWN, ends_at_ms=now_ms)])
        await house.advance(manager, 60)
        await manager.keep_house()
        await manager.post([make_alert(now_ms + 60_000, 2 * now_ms, alertname="Down", node="a")])
        await house.advance(manager, 20)
        (again,) = manager.views()

    assert found is not None and view.acknowledgement == found
    assert again.acknowledgement is None


async def test_an_acknowledgement_can_be_withdrawn(house: House) -> None:
    """Then the alert is repeated as before."""
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 10**9)])
        await house.advance(manager, 20)
        await manager.acknowledge(DOWN.fingerprint, "ada", "")
        assert await manager.withdraw_acknowledgement(DOWN.fingerprint)
        assert not await manager.withdraw_acknowledgement("0" * 16)
        await house.advance(manager, 700)

        told = await house.told(manager)
    assert told[2:] == ["acknowledged", "acknowledgement_withdrawn", "notified"]


async def test_other_routes_take_over_what_fires(house: House) -> None:
    """After a change of routes alerts go where those say, and nothing inhibited gets out."""
    changed = replace(
        ROUTING,
        route=replace(ROUTING.route, receiver="other"),
        inhibit_rules=(InhibitRule((equals("alertname", "Down"),), (equals("kind", "x"),)),),
    )
    effect = make_alert(START_MS, START_MS + 10**9, alertname="Slow", kind="x")
    async with house.process() as manager:
        await manager.post([effect, replace(DOWN, ends_at_ms=START_MS + 10**9)])
        await manager.reload(changed)
        await house.advance(manager, 60)

        views = {view.alert.labels["alertname"]: view for view in manager.views()}
        (group,) = (group for group in manager.groups() if group.labels["alertname"] == "Down")
        stats = manager.receiver_stats
    assert views["Down"].receivers == ("other",)
    assert views["Slow"].status.inhibited_by == (DOWN.fingerprint,)
    assert group.receiver == "other"
    assert stats["other"].delivered == 1
    assert "log" not in stats or not stats["log"].delivered


async def test_a_reload_that_meets_a_full_disk_goes_on_with_the_old_routes(house: House) -> None:
    """As soon as the disk lets it; alerts that come meanwhile are told then."""
    changed = replace(ROUTING, route=replace(ROUTING.route, receiver="other"))
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 10**9)])
        await house.advance(manager, 20)
        house.database.fail(range(1, 4))  # after the first question, and twice for the old routes
        reloading = asyncio.create_task(manager.reload(changed))
        await until(
            house.clock, lambda: not house.database.failing.stop > house.database._asked + 1
        )
        shown = manager.views()
        manager.notify([make_alert(START_MS, START_MS + 10**9, alertname="Meanwhile")], None)
        await house.clock.advance(5)
        with pytest.raises(StorageError):
            await reloading
        await house.advance(manager, 60)

        assert len(shown) == 1
        assert manager.routing == ROUTING
        assert len(manager.views()) == 2
        assert (await house.told(manager)).count("notified") == 2


async def test_what_is_posted_anew_while_it_is_forgotten_stays(house: House) -> None:
    """The housekeeping deletes what has ended, not what was committed in the same moment."""
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 5_000)])
        await house.advance(manager, 20)
        later = replace(DOWN, starts_at_ms=START_MS + 10_000, ends_at_ms=START_MS + 10**9)
        await asyncio.gather(manager.post([later]), manager.keep_house())
        await asyncio.gather(manager.keep_house(), manager.post([later]))
    async with house.process() as manager:
        await house.advance(manager, 20)
        (view,) = manager.views()

    assert view.alert.ends_at_ms == later.ends_at_ms


async def test_an_acknowledgement_outlives_the_housekeeping_of_its_moment(house: House) -> None:
    """What is acknowledged while old acknowledgements are forgotten stays."""
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 10**9)])
        await house.advance(manager, 20)
        await asyncio.gather(
            manager.keep_house(), manager.acknowledge(DOWN.fingerprint, "ada", "on it")
        )
        await asyncio.gather(
            manager.acknowledge(DOWN.fingerprint, "bob", "me too"), manager.keep_house()
        )
    async with house.process() as manager:
        await house.advance(manager, 20)
        (view,) = manager.views()

    assert view.acknowledgement is not None and view.acknowledgement.by == "bob"


async def test_what_ended_while_nothing_ran_is_told_and_recorded(house: House) -> None:
    """The next process knows it to have ended from the start, and says so once."""
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 60_000)])
        await house.advance(manager, 20)
    await house.clock.advance(100)
    async with house.process() as manager:
        shown = manager.views()
        await house.advance(manager, 120)
        await manager.keep_house()
        told = await house.told(manager)

    assert shown == ()
    assert sorted(told) == ["firing", "notified", "notified", "resolved"]


async def test_what_cannot_be_committed_is_not_taken(house: House) -> None:
    """A posted alert, a silence and an acknowledgement are refused, and nothing is in effect."""
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 10**9)])
        await house.advance(manager, 20)
        async with Database(database_url(house.directory)) as other:
            async with other.transaction() as connection:
                for table in ("posted_alert", "silence", "acknowledgement"):
                    await connection.exec_driver_sql(f"DROP TABLE {table}")

        with pytest.raises(StorageError):
            await manager.post([make_alert(START_MS, None, alertname="New")])
        with pytest.raises(StorageError):
            await manager.silences.set(
                Silence("", (equals("node", "a"),), START_MS, START_MS + 10**6, 0, "ada", "why")
            )
        with pytest.raises(StorageError):
            await manager.acknowledge(DOWN.fingerprint, "ada", "")

        (view,) = manager.views()
    assert view.alert.labels == Labels({"alertname": "Down", "node": "a"})
    assert view.status.state == "active"
    assert view.acknowledgement is None


async def test_the_history_is_pruned(house: House) -> None:
    """What is older than its retention is forgotten by the housekeeping."""
    async with house.process() as manager:
        await manager.post([replace(DOWN, ends_at_ms=START_MS + 1000)])
        await house.advance(manager, 60)
        await manager.keep_house()
        assert await house.told(manager)

        await house.clock.advance(31 * 86_400)
        await manager.keep_house()

        assert await house.told(manager) == []
