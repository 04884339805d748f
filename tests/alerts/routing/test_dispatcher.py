"""The dispatcher: hours of grouping on a clock turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from alerts.clock import ManualClock
from alerts.model import Alert
from alerts.notify.channel import LogChannel
from alerts.notify.log import LogEntry, NotificationLog
from alerts.notify.notification import Notification
from alerts.notify.outbox import Outbox
from alerts.routing.dispatcher import Dispatcher, DispatcherContext
from alerts.routing.model import Receiver, Route, RoutingConfig
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from tests.support.alerts import START_MS, database_url, make_alert

ROUTE = Route("log", ("alertname",), 30.0, 300.0, 4 * 3600.0)
FOREVER_MS = START_MS + 10**10


class MemoryOutbox(Outbox):
    """Keeps commits in memory, so that the clock need not wait for a disk; fails as told."""

    def __init__(self, *, fails: int = 0) -> None:
        self.entries: dict[tuple[str, str], LogEntry] = {}
        self.fails = fails

    async def commit(
        self, notifications: Sequence[Notification], entries: Sequence[LogEntry]
    ) -> None:
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise StorageError("the disk is full")
        self.entries.update({(entry.group_key, entry.channel): entry for entry in entries})


class Bench:
    """A dispatcher, and who was told what at which second."""

    def __init__(self, outbox: Outbox, route: Route = ROUTE) -> None:
        self.clock = ManualClock()
        self.outbox = outbox
        self.route = route
        self.told: list[tuple[float, str, list[str]]] = []

    @asynccontextmanager
    async def dispatcher(self, log: NotificationLog | None = None) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher."""
        context = DispatcherContext(
            channels={"log": [LogChannel("log")]},
            outbox=self.outbox,
            log=NotificationLog() if log is None else log,
            submit=self._submit,
            clock=self.clock,
            random=Random(1),
        )
        routing = RoutingConfig(self.route, {"log": Receiver("log", logs=True)})
        async with Dispatcher(routing, context) as dispatcher:
            yield dispatcher

    def _submit(self, notifications: Sequence[Notification]) -> None:
        for item in notifications:
            names = [
                alert.labels["a"].lower() if alert.ends_at_ms is not None else alert.labels["a"]
                for alert in item.alerts
            ]
            self.told.append((self.clock.monotonic(), item.group_labels["alertname"], names))

    def alert(self, name: str, *, group: str = "g", ends_in_s: float | None = None) -> Alert:
        """Return an alert that begins now, and ends only if said so."""
        now_ms = int(self.clock.time() * 1000)
        ends_at_ms = FOREVER_MS if ends_in_s is None else now_ms + round(ends_in_s * 1000)
        return make_alert(now_ms, ends_at_ms, alertname=group, a=name)


async def test_a_day() -> None:
    """First after group_wait, news every group_interval, repeats every repeat_interval."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(10)
        dispatcher.notify([bench.alert("B")])
        await bench.clock.advance(100)
        dispatcher.notify([bench.alert("C")])
        await bench.clock.advance(5 * 3600)
        dispatcher.notify([bench.alert(name, ends_in_s=0) for name in "ABC"])
        await bench.clock.advance(600)

        assert dispatcher.groups == ()
    assert bench.told == [
        (30, "g", ["A", "B"]),
        (330, "g", ["A", "B", "C"]),
        (330 + 4 * 3600, "g", ["A", "B", "C"]),
        (30 + 300 * 61, "g", ["a", "b", "c"]),
    ]


async def test_groups_apart() -> None:
    """Alerts of different groups are told apart."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A", group="x"), bench.alert("B", group="y")])
        await bench.clock.advance(30)

    assert bench.told == [(30, "x", ["A"]), (30, "y", ["B"])]


async def test_old_alert_is_told_at_once() -> None:
    """An alert that began more than group_wait ago does not wait again."""
    bench = Bench(MemoryOutbox())
    old = bench.alert("A")
    await bench.clock.advance(31)
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([old])
        await bench.clock.advance(0)

    assert bench.told == [(31, "g", ["A"])]


async def test_end_nobody_said() -> None:
    """An alert that is not heard of until its end has ended."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A", ends_in_s=240)])
        await bench.clock.advance(1000)

    assert bench.told == [(30, "g", ["A"]), (330, "g", ["a"])]


async def test_resolve_timeout() -> None:
    """An alert without any end ends after resolve_timeout."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([make_alert(START_MS, alertname="g", a="A")])
        await bench.clock.advance(329)
        assert len(bench.told) == 1
        await bench.clock.advance(1)

    assert bench.told[1:] == [(330, "g", ["a"])]


async def test_commit_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What could not be committed is tried again an interval later, ends included."""
    bench = Bench(MemoryOutbox(fails=1))
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(330)

        assert dispatcher.stats.flushes_failed == 1
    assert bench.told == [(330, "g", ["A"])]
    assert "1 group(s) of alerts must wait: the disk is full" in caplog.text


async def test_ended_alert_nobody_knows() -> None:
    """The end of an alert whose group is gone makes no group."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A", ends_in_s=0)])

        assert dispatcher.groups == ()


async def restart(bench: Bench) -> NotificationLog:
    """Tell of alert A, stop, and return what the log of the next process holds."""
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A", ends_in_s=240)])
        await bench.clock.advance(30)
    assert isinstance(bench.outbox, MemoryOutbox)
    return NotificationLog(bench.outbox.entries.values())


async def test_restart_does_not_repeat() -> None:
    """After a restart an alert that still fires is not told again, and keeps its beginning."""
    bench = Bench(MemoryOutbox())
    log = await restart(bench)
    async with bench.dispatcher(log) as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(3600)

        ((alert,),) = (group.alerts for group in dispatcher.groups)
        assert alert.starts_at_ms == START_MS
    assert bench.told == [(30, "g", ["A"])]


async def test_restart_does_not_forget() -> None:
    """After a restart an alert that is not raised again is told to have ended."""
    bench = Bench(MemoryOutbox())
    log = await restart(bench)
    async with bench.dispatcher(log):
        await bench.clock.advance(3600)

    assert bench.told == [(30, "g", ["A"]), (330, "g", ["a"])]


async def test_restart_with_a_database(tmp_path: Path) -> None:
    """The log comes back from the database as it was."""
    async with Database(database_url(tmp_path)) as database:
        bench = Bench(Outbox(database))
        async with bench.dispatcher() as dispatcher:
            dispatcher.notify([bench.alert("A")])
            await bench.clock.advance(30)

        (entry,) = await bench.outbox.log_entries(START_MS)
        assert [alert.labels["a"] for alert in entry.firing] == ["A"]
        assert [item.id for item in await bench.outbox.waiting()] == [entry.notification_id]
