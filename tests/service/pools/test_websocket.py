"""The manager of client connections: admission, sweep, drain."""

import asyncio
from contextlib import ExitStack

import pytest

from alerts.clock import ManualClock
from service.pools.websocket import (
    AdmissionError,
    CloseReason,
    ConnectionPolicy,
    QueueSpread,
    SweepReport,
    WebSocketConnectionManager,
)

IDLE = CloseReason(3000, "idle")
DEAD = CloseReason(3012, "no pong")
SHUTDOWN = CloseReason(3001, "shutdown")


class FakeConnection:
    """A connection that records what it is asked to do."""

    def __init__(self, name: str, clock: ManualClock) -> None:
        self.id = name
        self.opened_at = self.last_activity = clock.monotonic()
        self.awaiting_pong_since: float | None = None
        self.bytes_in = self.bytes_out = self.messages_in = self.messages_out = 0
        self.queued_bytes = 0
        self.pings = 0
        self.closed: list[CloseReason] = []
        self.aborted = asyncio.Event()
        self._clock = clock

    def ping(self) -> None:
        self.pings += 1
        self.awaiting_pong_since = self._clock.monotonic()

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)

    def abort(self) -> None:
        self.aborted.set()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def make(clock: ManualClock, places: int = 10) -> WebSocketConnectionManager[FakeConnection]:
    policy = ConnectionPolicy(
        max_connections=places,
        idle_timeout_s=300,
        pong_timeout_s=8,
        ping_after_s=40,
        large_queue_bytes=200,
        idle=IDLE,
        dead=DEAD,
        shutdown=SHUTDOWN,
    )
    return WebSocketConnectionManager(policy, clock=clock)


async def test_a_place_is_held_from_admission_to_the_end(clock):
    """Also while the connection is still being set up, so that a rush cannot overbook."""
    manager = make(clock, places=2)

    with manager.admit() as register, manager.admit():
        register(FakeConnection("a", clock))
        with pytest.raises(AdmissionError) as refused, manager.admit():
            pass
        assert len(manager) == 1
        assert manager.get("a") is not None
    with manager.admit():
        pass

    assert refused.value.cause == "limit"
    assert manager.stats.refused == {"limit": 1, "draining": 0}
    assert len(manager) == 0


async def test_a_connection_that_fails_gives_its_place_back(clock):
    """Whatever ends the block, the place is free."""
    manager = make(clock, places=1)

    with pytest.raises(RuntimeError), manager.admit() as register:
        register(FakeConnection("a", clock))
        raise RuntimeError("broken pipe")

    with manager.admit():
        assert manager.get("a") is None


@pytest.mark.parametrize(
    ("silent_s", "pings", "closed"),
    [(39, 0, []), (40, 1, []), (299, 1, []), (300, 0, [IDLE])],
)
async def test_the_sweep_pings_the_silent_and_closes_the_idle(clock, silent_s, pings, closed):
    """One second before a limit nothing happens, at the limit it does."""
    manager = make(clock)
    with manager.admit() as register:
        connection = FakeConnection("a", clock)
        register(connection)
        await clock.advance(silent_s)

        report = await manager.health_check()

        assert (connection.pings, connection.closed) == (pings, closed)
        assert (report.checked, report.pinged, report.closed_idle) == (1, pings, len(closed))


@pytest.mark.parametrize(("waited_s", "closed"), [(7, []), (8, [DEAD])])
async def test_the_sweep_closes_who_did_not_answer(clock, waited_s, closed):
    """A ping may stay unanswered for the pong timeout."""
    manager = make(clock)
    with manager.admit() as register:
        connection = FakeConnection("a", clock)
        register(connection)
        connection.ping()
        await clock.advance(waited_s)

        report = await manager.health_check()

        assert connection.closed == closed
        assert report.closed_dead == len(closed)


async def test_the_sweep_reports_queues_and_ages(clock):
    """Sum and largest of what waits for clients, who lags behind, and the oldest's age."""
    manager = make(clock)
    with manager.admit() as register, manager.admit() as register_other:
        first = FakeConnection("a", clock)
        register(first)
        await clock.advance(5)
        second = FakeConnection("b", clock)
        register_other(second)
        first.queued_bytes, second.queued_bytes = 100, 300

        report = await manager.health_check()

        assert report == SweepReport(
            checked=2,
            queued_bytes=400,
            largest_queue_bytes=300,
            large_queues=1,
            oldest_s=5,
            queues=QueueSpread(100, 300, 300),
        )


@pytest.mark.parametrize(
    ("queues", "spread"),
    [
        ([], (0, 0, 0)),
        ([7], (7, 7, 7)),
        ([0, 5], (0, 5, 5)),
        (list(range(10, 0, -1)), (5, 9, 10)),
        (list(range(1, 101)), (50, 90, 99)),
        (list(range(1, 102)), (51, 91, 100)),
    ],
)
def test_the_spread_of_queues(queues, spread):
    """Each percentile is the queue of one of the connections, in whatever order they come."""
    assert QueueSpread.of(queues) == QueueSpread(*spread)


@pytest.mark.parametrize(("waiting", "large"), [(199, 0), (200, 0), (201, 2)])
async def test_queues_over_the_threshold_are_counted(clock, waiting, large):
    """Those at the threshold are not, and neither are connections that have ended."""
    manager = make(clock)
    with manager.admit() as register, manager.admit() as register_other:
        for connection in (FakeConnection("a", clock), FakeConnection("b", clock)):
            connection.queued_bytes = waiting
            (register if connection.id == "a" else register_other)(connection)
        await manager.measure_queues()
        counted = manager.stats.large_queues
    await manager.measure_queues()

    assert (counted, manager.stats.large_queues) == (large, 0)


async def test_an_empty_manager_has_nothing_to_report(clock):
    """Sweep and drain of nothing end at once."""
    manager = make(clock)

    assert await manager.health_check() == SweepReport()
    assert (await manager.drain(10)).closed == 0


async def test_a_drain_closes_all_and_waits_for_their_end(clock):
    """Who ends in time is closed, who does not is cut at the deadline."""
    manager = make(clock)
    cut = FakeConnection("cut", clock)
    polite = FakeConnection("polite", clock)

    async def serve(connection: FakeConnection, end: asyncio.Event) -> None:
        with manager.admit() as register:
            register(connection)
            await end.wait()

    goodbye = asyncio.Event()
    serving = [
        asyncio.create_task(serve(polite, goodbye)),
        asyncio.create_task(serve(cut, cut.aborted)),
    ]
    await clock.settle()
    draining = asyncio.create_task(manager.drain(10))
    await clock.settle()
    goodbye.set()
    await clock.advance(9.9)
    assert not draining.done()

    await clock.advance(0.1)

    report = await draining
    assert (report.closed, report.aborted) == (1, 1)
    assert polite.closed == cut.closed == [SHUTDOWN]
    await asyncio.gather(*serving)


async def test_a_drain_takes_nobody_in(clock):
    """Neither new ones nor those that were being set up when it began."""
    manager = make(clock)
    with manager.admit() as register:
        draining = asyncio.create_task(manager.drain(10))
        await clock.settle()
        late = FakeConnection("late", clock)
        register(late)
        with pytest.raises(AdmissionError) as refused, manager.admit():
            pass
    await draining

    assert late.closed == [SHUTDOWN]
    assert refused.value.cause == "draining"
    assert manager.draining


async def test_queues_of_thousands_are_measured_in_slices(clock):
    """Others have their turn after each few hundred connections."""
    manager = make(clock, places=2_000)
    with ExitStack() as places:
        for number in range(2_000):
            connection = FakeConnection(str(number), clock)
            connection.queued_bytes = 1
            places.enter_context(manager.admit())(connection)
        turns = 0
        task = asyncio.create_task(manager.measure_queues())
        while not task.done():
            await asyncio.sleep(0)
            turns += 1

    assert turns > 2_000 / 300
    assert manager.stats.queued_bytes == 2_000
