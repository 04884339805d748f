"""The dispatcher: hours of grouping on a clock turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from alerts.clock import ManualClock
from alerts.model import Alert
from alerts.notify.channel import LogChannel
from alerts.notify.log import LogEntry, NotificationLog
from alerts.notify.notification import Notification
from alerts.notify.outbox import Outbox
from alerts.routing.dispatcher import Dispatcher, DispatcherContext
from alerts.routing.model import InhibitRule, Receiver, Route, RoutingConfig
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from tests.support.alerts import START_MS, database_url, make_alert, until

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


class SlowOutbox(MemoryOutbox):
    """Commits only while it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.held = asyncio.Event()

    async def commit(
        self, notifications: Sequence[Notification], entries: Sequence[LogEntry]
    ) -> None:
        await self.held.wait()
        await super().commit(notifications, entries)


class SteppingClock(ManualClock):
    """A clock whose time of day can be set, as people and time servers do."""

    step_s = 0.0

    def time(self) -> float:
        return super().time() + self.step_s


class Bench:
    """A dispatcher, and who was told what at which second."""

    def __init__(self, outbox: Outbox, route: Route = ROUTE, **routing: Any) -> None:
        self.clock = SteppingClock()
        self.outbox = outbox
        names = [route.receiver, *(each.receiver for each in route.walk())]
        receivers = {name: Receiver(name, logs=True) for name in names}
        self.routing = RoutingConfig(route, receivers, **routing)
        self.silenced: set[str] = set()
        self.acknowledged: set[str] = set()
        self.is_waiting = False
        self.told: list[tuple[float, str, list[str]]] = []
        self.receivers: list[str] = []
        self.reasons: list[str] = []

    @asynccontextmanager
    async def dispatcher(
        self, log: NotificationLog | None = None, raised: Sequence[Alert] = ()
    ) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher that was handed in alerts before it started."""
        context = DispatcherContext(
            channels={name: [LogChannel(name)] for name in self.routing.receivers},
            outbox=self.outbox,
            log=NotificationLog() if log is None else log,
            submit=self._submit,
            silencing=lambda labels, _: ("s",) if labels["a"] in self.silenced else (),
            is_acknowledged=lambda alert: alert.labels["a"] in self.acknowledged,
            is_waiting=lambda *_: self.is_waiting,
            clock=self.clock,
            random=Random(1),
        )
        dispatcher = Dispatcher(self.routing, context)
        dispatcher.notify(raised)
        async with dispatcher:
            yield dispatcher

    def stopped(self) -> NotificationLog:
        """Return the log as the next process reads it."""
        assert isinstance(self.outbox, MemoryOutbox)
        return NotificationLog(self.outbox.entries.values())

    def _submit(self, notifications: Sequence[Notification]) -> None:
        for item in notifications:
            names = [
                alert.labels["a"].lower() if alert.ends_at_ms is not None else alert.labels["a"]
                for alert in item.alerts
            ]
            group = item.group_labels.get("alertname", "")
            self.told.append((self.clock.monotonic(), group, names))
            self.receivers.append(item.receiver)
            self.reasons.append(item.reason)

    def alert(
        self, name: str, *, group: str = "g", ends_in_s: float | None = None, **labels: str
    ) -> Alert:
        """Return an alert that begins now, and ends only if said so."""
        now_ms = int(self.clock.time() * 1000)
        ends_at_ms = FOREVER_MS if ends_in_s is None else now_ms + round(ends_in_s * 1000)
        return make_alert(now_ms, ends_at_ms, alertname=group, a=name, **labels)


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
        assert len(dispatcher.active) == 0
    assert bench.reasons == [
        "first notification",
        "new alerts added",
        "repeat interval elapsed",
        "all alerts resolved",
    ]
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
    """What could not be committed is tried again soon."""
    bench = Bench(MemoryOutbox(fails=1))
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(330)

        assert dispatcher.stats.flushes_failed == 1
    assert bench.told == [(35, "g", ["A"])]
    assert "1 group(s) of alerts must wait: the disk is full" in caplog.text


async def test_ended_alert_nobody_knows() -> None:
    """The end of an alert whose group is gone makes no group."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A", ends_in_s=0)])
        await bench.clock.settle()

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


async def test_what_ended_meanwhile_is_never_told_to_fire_again() -> None:
    """An end while no process ran is told in the group's rhythm, and nothing before it."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A"), bench.alert("B")])
        await bench.clock.advance(100)
    raised = [bench.alert("A", ends_in_s=0), bench.alert("B")]
    async with bench.dispatcher(bench.stopped(), raised) as dispatcher:
        await bench.clock.settle()
        now_ms = round(bench.clock.time() * 1000)
        firing = [each.alert for each in dispatcher.active if not each.alert.is_resolved(now_ms)]
        assert [alert.labels["a"] for alert in firing] == ["B"]
        await bench.clock.advance(400)

    assert bench.told == [(30, "g", ["A", "B"]), (330, "g", ["a", "B"])]


async def test_an_end_that_was_held_back_is_told_after_a_restart() -> None:
    """The receiver still believes the alert to fire; what ended does not rise again."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(30)
        bench.silenced = {"A"}
        dispatcher.notify([bench.alert("A", ends_in_s=0)])
        await bench.clock.advance(300)
        assert dispatcher.groups == ()
    bench.silenced = set()
    async with bench.dispatcher(bench.stopped()) as dispatcher:
        await bench.clock.advance(3600)

    assert [names for _, _, names in bench.told] == [["A"], ["a"]]


async def test_many_restarts_do_not_starve_a_group() -> None:
    """A group goes on in its rhythm, however often the routes are changed."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(40)
    alerts = [make_alert(START_MS, FOREVER_MS, alertname="g", a=name) for name in "AB"]
    for _ in range(10):
        async with bench.dispatcher(bench.stopped(), alerts):
            await bench.clock.advance(100)

    assert bench.told[:2] == [(30, "g", ["A"]), (330, "g", ["A", "B"])]


async def test_a_commit_slower_than_the_interval_loses_no_group() -> None:
    """While the end of a group is committed an alert may begin anew; its group stays."""
    outbox = SlowOutbox()
    bench = Bench(outbox, Route("log", ("alertname",), 0.0, 10.0))
    async with bench.dispatcher() as dispatcher:
        outbox.held.set()
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(5)
        outbox.held.clear()
        dispatcher.notify([bench.alert("A", ends_in_s=0)])
        await bench.clock.advance(25)  # due again, and again, while the commit hangs
        outbox.held.set()
        await bench.clock.settle()
        dispatcher.notify([bench.alert("B")])
        await bench.clock.advance(50)

        assert len(dispatcher.groups) == 1
    assert bench.told[-1][2] == ["B"]


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


def equals(name: str, value: str) -> Matcher:
    """Return the matcher of a label's value."""
    return Matcher(MatchOp.EQUAL, name, value)


TREE = Route(
    "everybody",
    ("alertname",),
    routes=(
        Route(
            "database",
            group_wait_s=10.0,
            matchers=(equals("team", "db"),),
            path='{}/{team="db"}',
            id='{}/{team="db"}/0',
            routes=(
                Route(
                    "pager",
                    ("...",),
                    0.0,
                    matchers=(equals("severity", "page"),),
                    continues=True,
                    path='{}/{team="db"}/{severity="page"}',
                    id='{}/{team="db"}/0/{severity="page"}/0',
                ),
                Route(
                    "archive",
                    group_wait_s=20.0,
                    matchers=(equals("severity", "page"),),
                    path='{}/{team="db"}/{severity="page"}',
                    id='{}/{team="db"}/0/{severity="page"}/1',
                ),
            ),
        ),
        Route("web", matchers=(equals("team", "web"),), path='{}/{team="web"}', id="1"),
    ),
)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({}, [(30, "everybody")]),
        ({"team": "db"}, [(10, "database")]),
        ({"team": "db", "severity": "page"}, [(0, "pager"), (20, "archive")]),
        ({"team": "web", "severity": "page"}, [(30, "web")]),
    ],
)
async def test_an_alert_takes_every_route_that_fits(
    labels: dict[str, str], told: list[tuple[float, str]]
) -> None:
    """Depth first; a child that fits ends the search unless it continues; each has its waits."""
    bench = Bench(MemoryOutbox(), TREE)
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([make_alert(START_MS, FOREVER_MS, alertname="g", a="A", **labels)])
        await bench.clock.advance(100)

        (held,) = dispatcher.active
        assert list(held.receivers) == [receiver for _, receiver in told]
    found = zip((second for second, _, _ in bench.told), bench.receivers, strict=True)
    assert list(found) == told


async def test_routes_with_equal_matchers_have_groups_of_their_own() -> None:
    """Two routes may be written alike; each tells its receiver, and a restart knows both."""
    bench = Bench(MemoryOutbox(), TREE)
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A", ends_in_s=240, team="db", severity="page")])
        await bench.clock.advance(30)
    raised = bench.alert("A", ends_in_s=210, team="db", severity="page")
    async with bench.dispatcher(bench.stopped(), [raised]) as dispatcher:
        await bench.clock.advance(1000)

    assert bench.receivers == ["pager", "archive", "pager", "archive"]
    assert bench.reasons[2:] == ["all alerts resolved"] * 2


INHIBITION = InhibitRule((equals("kind", "cause"),), (equals("kind", "effect"),), ("site",))


async def test_what_follows_from_another_alert_is_held_back() -> None:
    """While the cause fires the effect is not told, wherever they are equal; then it is."""
    bench = Bench(MemoryOutbox(), inhibit_rules=(INHIBITION,))
    async with bench.dispatcher() as dispatcher:
        effects = [
            bench.alert("E", group="e", kind="effect", site="x"),
            bench.alert("F", group="e", kind="effect", site="y"),
        ]
        # Handed in after the effects, yet before anything is told.
        dispatcher.notify(effects)
        dispatcher.notify([bench.alert("C", group="c", kind="cause", site="x", ends_in_s=400)])
        await bench.clock.advance(700)

    assert bench.told == [
        (30, "e", ["F"]),
        (30, "c", ["C"]),
        (630, "e", ["E", "F"]),
        (630, "c", ["c"]),
    ]


async def test_restored_causes_hold_back_from_the_start() -> None:
    """After a restart nothing is told that a cause of the process before still holds back."""
    bench = Bench(MemoryOutbox(), inhibit_rules=(INHIBITION,))
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("C", group="c", kind="cause", site="x")])
        await bench.clock.advance(30)
    effect = bench.alert("E", group="e", kind="effect", site="x")
    cause = bench.alert("C", group="c", kind="cause", site="x")
    async with bench.dispatcher(bench.stopped(), [effect, cause]):
        await bench.clock.advance(100)

    assert bench.told == [(30, "c", ["C"])]


async def test_silenced_alerts_are_not_told() -> None:
    """Nor counted as told: when the silence ends, the alert is news."""
    bench = Bench(MemoryOutbox())
    bench.silenced = {"A"}
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A"), bench.alert("B")])
        await bench.clock.advance(40)
        bench.silenced = {"B"}
        await bench.clock.advance(300)
        bench.silenced = {"A", "B"}
        await bench.clock.advance(5 * 3600)

    assert bench.told == [(30, "g", ["B"]), (330, "g", ["A"])]


async def test_acknowledged_alerts_are_not_repeated() -> None:
    """Until something changes: a new alert, or the end."""
    bench = Bench(MemoryOutbox())
    bench.acknowledged = {"A"}
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(9 * 3600)
        dispatcher.notify([bench.alert("B")])
        await bench.clock.advance(300)
        dispatcher.notify([bench.alert("A", ends_in_s=0)])
        await bench.clock.advance(300)

    assert [names for _, _, names in bench.told] == [["A"], ["A", "B"], ["a", "B"]]


@pytest.mark.parametrize("step_s", [-7200.0, -1.0, 7200.0])
async def test_the_time_of_day_is_set(step_s: float) -> None:
    """Backwards or forwards, while alerts fire: nothing is forgotten, repeated or held back."""
    bench = Bench(MemoryOutbox())
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(40)
        bench.clock.step_s = step_s
        for _ in range(10):  # rules repeat what fires, with ends of the new time
            dispatcher.notify([bench.alert("A"), bench.alert("B")])
            await bench.clock.advance(60)
        dispatcher.notify([bench.alert(name, ends_in_s=0) for name in "AB"])
        await bench.clock.advance(600)

        assert dispatcher.groups == ()
    assert bench.told == [(30, "g", ["A"]), (330, "g", ["A", "B"]), (930, "g", ["a", "b"])]


async def test_nothing_is_repeated_that_still_waits() -> None:
    """An outage of a receiver gathers no repeats; news and ends are told all the same."""
    bench = Bench(MemoryOutbox())
    bench.is_waiting = True
    async with bench.dispatcher() as dispatcher:
        dispatcher.notify([bench.alert("A")])
        await bench.clock.advance(30 * 3600)
        dispatcher.notify([bench.alert("B")])
        await bench.clock.advance(300)
        bench.is_waiting = False
        await bench.clock.advance(5 * 3600)

    assert [names for _, _, names in bench.told] == [["A"], ["A", "B"], ["A", "B"]]


async def test_ten_thousand_alerts_leave_the_loop_its_turns() -> None:
    """Alerts are taken in and told in slices; between them the loop runs."""
    bench = Bench(MemoryOutbox())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with bench.dispatcher() as dispatcher, asyncio.TaskGroup() as tasks:
        counting = tasks.create_task(count())
        dispatcher.notify(
            [bench.alert(f"A{n}", group=f"g{n % 1000}", n=str(n)) for n in range(10_000)]
        )
        await until(bench.clock, lambda: len(dispatcher.active) == 10_000)
        taken_in, turns = turns, 0
        await bench.clock.advance(30)
        await until(bench.clock, lambda: len(bench.told) == 1000)
        counting.cancel()

    assert taken_in >= 50
    assert turns >= 20
