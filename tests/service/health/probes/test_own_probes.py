"""Probes of the process itself, on real things."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alerts.clock import ManualClock
from alerts.storage.database import Database
from service.errors import GatewatchError
from service.health.probes.export import ExportProbe
from service.health.probes.process import DiskProbe, EventLoopProbe, OpenFilesProbe
from service.health.probes.stores import BrokerProbe, StorageProbe
from service.telemetry.export import ExportStats
from tests.support.alerts import database_url


async def test_the_event_loop_is_judged_by_its_worst_timer():
    """Being late up to the limit is fine."""
    lags = [0.5, 0.501]
    probe = EventLoopProbe(lambda: lags.pop(0), max_lag_s=0.5)
    fine, late = await probe.run(1), await probe.run(1)

    assert (fine.success, fine.reason) == (True, "at most a timer ran 500ms late")
    assert (late.success, late.error_type, late.attributes) == (False, "lag", {"lag_s": 0.501})
    assert "blocks its event loop" in late.reason


async def test_a_disk_with_room_and_one_without(tmp_path: Path):
    """The directory need not be there yet."""
    fine = await DiskProbe(tmp_path / "not" / "yet", min_free=1).run(1)
    full = await DiskProbe(tmp_path, min_free=1 << 60).run(1)

    assert fine.success
    assert 0 < int(fine.attributes["free"]) <= int(fine.attributes["total"])
    assert (full.success, full.error_type) == (False, "full")
    assert "make room" in full.reason


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
async def test_open_files_are_counted():
    """One more open file is one more, and a small enough share fails."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    before = await OpenFilesProbe(max_share=1.0).run(1)
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        after = await OpenFilesProbe(max_share=1 / limit).run(1)
    finally:
        os.close(descriptor)

    assert before.success
    assert (after.success, after.error_type) == (False, "limit")
    assert int(after.attributes["open"]) == int(before.attributes["open"]) + 1
    assert after.attributes["limit"] == limit


async def test_a_database_answers_or_says_why_not(tmp_path: Path):
    """Whether it is open, in its own words."""
    database = Database(database_url(tmp_path))
    async with database:
        fine = await StorageProbe(database).run(1)
    closed = await StorageProbe(database).run(1)

    assert fine.success
    assert (closed.success, closed.error_type) == (False, "storage")
    assert "is closed" in closed.reason


@dataclass
class Broker:
    """A broker that answers, or says why not."""

    address: str = "redis://localhost"
    trouble: str = ""
    pings: int = 0

    async def ping(self) -> None:
        self.pings += 1
        if self.trouble:
            raise GatewatchError(self.trouble)


async def test_a_broker_answers_or_says_why_not():
    """It is asked once each time."""
    broker = Broker()
    fine = await BrokerProbe(broker).run(1)
    broker.trouble = "nobody listens there"
    failed = await BrokerProbe(broker).run(1)

    assert (fine.success, failed.success, broker.pings) == (True, False, 2)
    assert failed.reason == "nobody listens there"
    assert BrokerProbe(broker).target == "broker redis://localhost"


@dataclass
class Queue:
    """A queue whose counts the test sets."""

    stats: ExportStats = field(default_factory=ExportStats)
    waiting: int = 0

    def __len__(self) -> int:
        return self.waiting


async def test_what_is_lost_on_its_way_to_the_collector_fails_once():
    """Only what was lost since the last run counts."""
    queue = Queue(ExportStats(dropped=7))
    probe = ExportProbe({"traces": queue}, ManualClock(), max_silence_s=60)
    first = await probe.run(1)
    queue.stats.dropped += 3
    second, third = await probe.run(1), await probe.run(1)

    assert (first.success, second.success, third.success) == (True, False, True)
    assert second.reason.startswith("3 of traces were lost")
    assert second.attributes["traces.lost"] == 3


async def test_a_collector_that_accepts_nothing_is_a_failure_after_a_while():
    """Not while nothing waits, and not once it accepts something again."""
    clock, queue = ManualClock(), Queue()
    probe = ExportProbe({"logs": queue}, clock, max_silence_s=60)
    await clock.advance(100)
    idle = await probe.run(1)
    queue.waiting = 5
    await clock.advance(60)
    waiting = await probe.run(1)
    await clock.advance(1)
    silent = await probe.run(1)
    queue.stats.sent += 1
    again = await probe.run(1)

    assert [each.success for each in (idle, waiting, silent, again)] == [True, True, False, True]
    assert silent.reason.startswith("none of logs were accepted for 1m1s")
    assert silent.attributes["logs.waiting"] == 5
