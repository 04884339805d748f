"""Collections of garbage and turns of threads are short, and garbage is found all the same."""

from __future__ import annotations

import asyncio
import gc
import mmap
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.clock import ManualClock
from service.pauses import (
    LOOK_INTERVAL_S,
    TURN_S,
    look_at_everything_when_grown,
    short_pauses,
    sizes,
)


class Circle:
    """An object that refers to itself, so that only a collection finds it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _all_is_set_aside_afterwards() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.freeze()  # as tests/conftest.py has it


def test_what_survives_with_its_elders_is_set_aside():
    """A full collection then has nothing of it to look at."""
    with short_pauses():
        circle = Circle()
        gc.collect(1)

        assert all(each is not circle for each in gc.get_objects())


def test_garbage_that_was_set_aside_is_left_alone_but_other_objects_go():
    """Without a circle an object goes with the last that refers to it."""
    with short_pauses():
        circle, plain = Circle(), Circle()
        plain.itself = circle
        found = weakref.ref(circle), weakref.ref(plain)
        gc.collect(1)
        del circle, plain
        gc.collect()

        assert [each() is None for each in found] == [False, True]


def test_threads_take_short_turns():
    """The loop waits for one that computes no longer than that."""
    with short_pauses():
        assert sys.getswitchinterval() == pytest.approx(TURN_S)


def test_everything_is_as_before_at_the_end():
    """Thresholds, turns and callbacks."""
    before = gc.get_threshold(), sys.getswitchinterval(), list(gc.callbacks)
    with short_pauses():
        assert gc.get_threshold() != before[0]

    assert (gc.get_threshold(), sys.getswitchinterval(), list(gc.callbacks)) == before


@pytest.mark.parametrize(("sizes", "is_found"), [((199, 100), False), ((150, 200), True)])
async def test_everything_is_looked_at_when_the_process_has_doubled(sizes, is_found):
    """By any of its sizes; before that, what was set aside is left alone."""
    clock, now = ManualClock(), [(100, 100)]
    task = asyncio.create_task(look_at_everything_when_grown(clock, 30, lambda: now[-1]))
    circle = Circle()
    garbage = weakref.ref(circle)
    del circle
    gc.freeze()
    try:
        await clock.advance(30)
        now.append(sizes)
        await clock.advance(LOOK_INTERVAL_S - 1)
        assert garbage() is not None

        await clock.advance(1)
        assert (garbage() is None) is is_found
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_each_doubling_counts_from_the_one_before():
    """A process that has grown once and stays so is not looked at again."""
    clock, now = ManualClock(), [(100,)]
    task = asyncio.create_task(look_at_everything_when_grown(clock, 0, lambda: now[-1]))
    try:
        await clock.advance(0)
        now.append((250,))
        await clock.advance(LOOK_INTERVAL_S)
        circle = Circle()
        garbage = weakref.ref(circle)
        del circle
        gc.freeze()
        now.append((499,))
        await clock.advance(10 * LOOK_INTERVAL_S)
        assert garbage() is not None

        now.append((500,))
        await clock.advance(LOOK_INTERVAL_S)
        assert garbage() is None
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_sizes_are_those_of_now():
    """What has gone does not count any more."""
    size = 64 << 20
    before = sizes()
    with mmap.mmap(-1, size) as memory:  # given back at once, as an allocator's is not
        memory.write(b"x" * size)
        grown = sizes()
    after = sizes()

    assert grown[1] >= before[1] + size // 2
    if Path("/proc/self/statm").exists():
        assert after[1] <= grown[1] - size // 2
