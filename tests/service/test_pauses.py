"""What stays for good is set aside."""

from __future__ import annotations

import asyncio
import gc

from alerts.clock import ManualClock
from service.memory import set_aside_what_stays


async def test_objects_are_set_aside_once_everything_is_there():
    """Not before its time; a collection then has nothing of it to look at."""
    before, clock = gc.get_freeze_count(), ManualClock()
    task = asyncio.create_task(set_aside_what_stays(clock, 30))
    try:
        await clock.advance(29)
        assert gc.get_freeze_count() == before

        await clock.advance(1)
        await task
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


async def test_a_stop_before_its_time_sets_nothing_aside():
    """A process that stops at once does not wait for it."""
    before, clock = gc.get_freeze_count(), ManualClock()
    task = asyncio.create_task(set_aside_what_stays(clock, 30))
    await clock.advance(1)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert gc.get_freeze_count() == before
