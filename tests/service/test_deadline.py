"""A time limit by a clock that is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from alerts.clock import ManualClock, Timer
from service.deadline import Deadline


async def limited(clock: ManualClock, seconds: float | None, until: asyncio.Event) -> str:
    async with Deadline(clock, seconds):
        await until.wait()
    return "done"


@pytest.mark.parametrize(("elapsed", "expired"), [(4.9, False), (5.0, True), (5.1, True)])
async def test_a_block_ends_when_its_time_is_over(elapsed, expired):
    """At the limit the block is cancelled and its owner sees a TimeoutError."""
    clock, event = ManualClock(), asyncio.Event()
    task = asyncio.create_task(limited(clock, 5.0, event))
    await clock.advance(elapsed)
    event.set()

    if expired:
        with pytest.raises(TimeoutError):
            await task
    else:
        assert await task == "done"


async def test_without_a_limit_a_block_takes_as_long_as_it_likes():
    """None means no timer at all."""
    clock, event = ManualClock(), asyncio.Event()
    task = asyncio.create_task(limited(clock, None, event))
    await clock.advance(1e6)
    event.set()

    assert await task == "done"


async def test_a_cancellation_from_outside_stays_one():
    """Whoever cancels the task is not told of a timeout."""
    clock = ManualClock()
    task = asyncio.create_task(limited(clock, 5.0, asyncio.Event()))
    await clock.settle()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_moment_wins():
    """Time over and cancelled from outside in one turn of the loop: the task ends as cancelled."""
    armed: list[Callable[[], None]] = []

    class ClockInHand(ManualClock):
        def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
            armed.append(callback)
            return super().call_later(delay_s, callback)

    task = asyncio.create_task(limited(ClockInHand(), 5.0, asyncio.Event()))
    await asyncio.sleep(0)
    armed[0]()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()


async def test_an_expired_block_leaves_the_task_usable():
    """After a timeout the task can await again without being cancelled."""
    clock = ManualClock()

    async def work() -> int:
        with pytest.raises(TimeoutError):
            await limited(clock, 1.0, asyncio.Event())
        await asyncio.sleep(0)
        task = asyncio.current_task()
        return task.cancelling() if task else -1

    task = asyncio.create_task(work())
    await clock.advance(1.0)

    assert await task == 0
