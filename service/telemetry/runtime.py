"""What the process costs and how responsive its event loop is."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from opentelemetry.metrics import Histogram

from alerts.clock import Clock, Timer
from service.telemetry.instruments import (
    GC_COLLECTIONS,
    PROCESS_CPU,
    PROCESS_FILES,
    PROCESS_MEMORY,
    PROCESS_UPTIME,
)
from service.telemetry.observers import Observers

_Values = Iterable[tuple[float, Mapping[str, str]]]
_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = (Path("/proc/self/fd"), Path("/dev/fd"))


class LoopLagMonitor:
    """Measures how late the event loop runs a timer, a few times per second.

    Whatever keeps the loop from running (a long callback, a starved process) makes the timer late
    by as much.
    """

    def __init__(self, clock: Clock, histogram: Histogram, *, interval_s: float = 0.25) -> None:
        """Record into ``histogram``, in seconds, every ``interval_s`` seconds."""
        self._clock = clock
        self._histogram = histogram
        self._interval_s = interval_s
        self._worst_s = 0.0
        self._due = 0.0
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        self._arm()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._due = self._clock.monotonic() + self._interval_s
        self._timer = self._clock.call_later(self._interval_s, self._tick)

    def take_worst(self) -> float:
        """Return how late a timer ran at most, in seconds, since this was last asked."""
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s

    def _tick(self) -> None:
        lag_s = max(0.0, self._clock.monotonic() - self._due)
        self._worst_s = max(self._worst_s, lag_s)
        self._histogram.record(lag_s)
        self._arm()


class ProcessReader:
    """Reads the figures of this process from the operating system."""

    def __init__(self, clock: Clock) -> None:
        """Count the uptime from now on."""
        self._clock = clock
        self._started = clock.monotonic()

    def observe(self, observers: Observers) -> None:
        """Register everything the operating system offers."""
        observers.observe(PROCESS_CPU, self.cpu_time)
        observers.observe(PROCESS_MEMORY, self.resident_memory)
        observers.observe(PROCESS_FILES, self.open_files)
        observers.observe(PROCESS_UPTIME, self.uptime)
        observers.observe(GC_COLLECTIONS, self.collections)

    def cpu_time(self) -> _Values:
        """Return CPU seconds in user and in system mode."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return [
            (usage.ru_utime, {"cpu.mode": "user"}),
            (usage.ru_stime, {"cpu.mode": "system"}),
        ]

    def resident_memory(self) -> _Values:
        """Return bytes of resident memory; nothing where there is no /proc."""
        try:
            pages = int(_STATM.read_text("ascii").split()[1])
        except OSError:
            return []
        return [(pages * resource.getpagesize(), {})]

    def open_files(self) -> _Values:
        """Return the number of open file descriptors; nothing where it cannot be listed."""
        for folder in _DESCRIPTORS:
            try:
                # The listing itself holds one descriptor.
                return [(len(os.listdir(folder)) - 1, {})]  # noqa: PTH208 - no Path per entry
            except OSError:
                continue
        return []

    def uptime(self) -> _Values:
        """Return seconds since the reader was made."""
        return [(self._clock.monotonic() - self._started, {})]

    def collections(self) -> _Values:
        """Return garbage collections per generation."""
        if sys.implementation.name != "cpython":
            return []
        return [
            (generation["collections"], {"cpython.gc.generation": str(number)})
            for number, generation in enumerate(gc.get_stats())
        ]
