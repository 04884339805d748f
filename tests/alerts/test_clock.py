"""Clocks: the manual one is exact and ordered, and both keep contexts apart."""

import asyncio
import contextvars
from functools import partial

from alerts.clock import Clock, ManualClock, SystemClock

CONTEXT: contextvars.ContextVar[str] = contextvars.ContextVar("CONTEXT", default="empty")


async def test_a_manual_clock_stands_still():
    """Time passes only when the clock is advanced."""
    clock = ManualClock(start=100.0)

    await clock.advance(2.5)

    assert clock.time() == 102.5
    assert clock.monotonic() == 2.5


async def test_timers_run_in_order_at_their_due_time():
    """Each timer sees the time it was due at; equal ones run in the order of arming."""
    clock = ManualClock()
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.monotonic()))

    for name, delay_s in (("c", 2.0), ("a", 1.0), ("b", 1.0), ("later", 3.001)):
        clock.call_later(delay_s, partial(note, name))

    await clock.advance(3.0)

    assert seen == [("a", 1.0), ("b", 1.0), ("c", 2.0)]


async def test_a_cancelled_timer_does_not_run():
    """Cancelling is final, and doing it twice does nothing."""
    clock = ManualClock()
    seen: list[str] = []
    timer = clock.call_later(1.0, lambda: seen.append("ran"))

    timer.cancel()
    timer.cancel()
    await clock.advance(5.0)

    assert seen == []


async def test_a_timer_armed_by_a_timer_runs_in_the_same_advance():
    """A periodic job that arms itself runs as often as the time allows."""
    clock = ManualClock()
    seen: list[float] = []

    def tick() -> None:
        seen.append(clock.monotonic())
        clock.call_later(1.0, tick)

    clock.call_later(1.0, tick)
    await clock.advance(3.5)

    assert seen == [1.0, 2.0, 3.0]


async def test_sleepers_wake_at_their_time():
    """A task that sleeps goes on once the clock has come that far, and not before."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(2.0))

    await clock.advance(1.999)
    before = task.done()
    await clock.advance(0.001)

    assert (before, task.done()) == (False, True)


async def test_a_cancelled_sleeper_leaves_nothing_behind():
    """Cancelling a sleeping task is no trouble when its time comes."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.settle()

    task.cancel()
    await clock.advance(2.0)

    assert task.cancelled()


async def test_sleeping_for_no_time_only_yields():
    """A sleep of nothing needs no advance."""
    await ManualClock().sleep(0)


async def context_seen_by_a_timer(clock: Clock) -> str:
    """Arm a timer within a context, turn the clock, and return what the timer saw."""
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    CONTEXT.set("of the caller")
    clock.call_later(0.001, lambda: seen.set_result(CONTEXT.get()))
    if isinstance(clock, ManualClock):
        await clock.advance(0.001)
    return await seen


async def test_timers_of_both_clocks_run_in_an_empty_context():
    """What a timer does is no child of what armed it."""
    assert await context_seen_by_a_timer(ManualClock()) == "empty"
    assert await context_seen_by_a_timer(SystemClock()) == "empty"


async def test_the_system_clock_goes_forward():
    """Sleeping takes at least the time asked for, on a clock that never goes back."""
    clock = SystemClock()
    before = clock.monotonic()

    await clock.sleep(0.002)

    assert clock.monotonic() - before >= 0.0015
    assert clock.time() > 1_700_000_000
