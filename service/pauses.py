"""Pauses of the interpreter: what holds up the event loop and is none of its callbacks.

A garbage collection stands everything still. A full one looks at every object there is, which with
a thousand checks takes a third of a second. So what has once been looked at with its elders, and is
still there, is set aside, and no collection looks at it again: each has a few thousand objects to
look at, however many there are. What is set aside still goes as soon as nothing refers to it; only
circles of objects that refer to each other stay. Connections and messages leave none; for the few
there are everything is looked at once when the process has become twice as large.

Another thread that computes keeps the interpreter until its turn ends. The loop waits for that each
time it has waited for its sockets, so turns are short.
"""

from __future__ import annotations

import gc
import logging
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alerts.clock import Clock

_LOG: Final = logging.getLogger(__name__)

TURN_S: Final = 0.0005
"""How long a thread may keep others waiting; the interpreter's own default is ten times that."""

LOOK_INTERVAL_S: Final = 60.0
"""How often the size of the process is looked at."""

_NEW_OBJECTS: Final = 500
"""After so many there is a collection of those."""
_COLLECTIONS_OF_NEW: Final = 1
"""After more than so many the next one looks at what they left as well, and that is set aside."""
_NEVER: Final = 1 << 30
_GROWTH: Final = 2
_OWN_MEMORY: Final = Path("/proc/self/statm")
"""Pages: in all, resident, and others (proc(5))."""


@contextmanager
def short_pauses() -> Iterator[None]:
    """Keep collections and turns of threads short until the end of the block.

    It is for one block at a time, and for a whole process: what is set aside stays so.
    """
    thresholds, turn_s = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(_set_aside_what_stays)
    gc.set_threshold(_NEW_OBJECTS, _COLLECTIONS_OF_NEW, _NEVER)
    sys.setswitchinterval(TURN_S)
    gc.freeze()
    try:
        yield
    finally:
        sys.setswitchinterval(turn_s)
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(_set_aside_what_stays)


def sizes() -> tuple[int, int]:
    """Return how many small objects there are, and how much memory the process has, in bytes.

    It is that of now, so that what was garbage does not count the next time; where the system does
    not tell, the most there ever was.
    """
    try:
        pages = int(_OWN_MEMORY.read_bytes().split()[1])
    except OSError:
        return sys.getallocatedblocks(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return sys.getallocatedblocks(), pages * resource.getpagesize()


async def look_at_everything_when_grown(
    clock: Clock, after_s: float, measure: Callable[[], tuple[int, ...]] = sizes
) -> None:
    """Have one collection look at what was set aside, each time the process has doubled; endless.

    Args:
        clock: The time.
        after_s: When everything is there, in seconds from now: the size that counts first.
        measure: Gives sizes, of which one that has doubled is enough.
    """
    await clock.sleep(after_s)
    while True:
        known = measure()
        while all(now < _GROWTH * before for now, before in zip(measure(), known, strict=True)):
            await clock.sleep(LOOK_INTERVAL_S)
        began_s = clock.monotonic()
        gc.unfreeze()
        found = gc.collect()
        gc.freeze()
        _LOG.info(
            "the process has doubled: %d objects were garbage, which took %.3f s to find",
            found,
            clock.monotonic() - began_s,
        )


def _set_aside_what_stays(phase: str, details: Mapping[str, int]) -> None:
    if phase == "stop" and details["generation"]:
        gc.freeze()
