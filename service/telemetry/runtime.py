"""What the process costs and how responsive its event loop is."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from opentelemetry.metrics import Histogram

from alerts.clock import Clock, Timer
from service.telemetry.definitions.process_metrics import (
    EVENT_LOOP_TASKS,
    GC_COLLECTED,
    GC_COLLECTIONS,
    GC_UNCOLLECTABLE,
    PROCESS_CONTEXT_SWITCHES,
    PROCESS_CPU,
    PROCESS_FILES,
    PROCESS_FILES_LIMIT,
    PROCESS_MEMORY,
    PROCESS_PAGE_FAULTS,
    PROCESS_THREADS,
    PROCESS_UPTIME,
    PROCESS_VIRTUAL_MEMORY,
)
from service.telemetry.local_histograms import HistogramSeries, LocalHistogram
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


class GarbageMonitor:
    """Measures how long garbage collections take.

    The interpreter calls it in whatever thread the collection runs, with everything else at a
    stand: it records into a local histogram, as that takes no lock the thread may hold already.
    """

    def __init__(self, histogram: LocalHistogram) -> None:
        """Record into ``histogram``, in seconds, one series for each generation."""
        self._series: dict[int, HistogramSeries] = {
            number: histogram.series({"cpython.gc.generation": str(number)})
            for number in range(len(gc.get_threshold()))
        }
        self._began_s: float | None = None

    def __enter__(self) -> Self:
        gc.callbacks.append(self._on_collection)
        return self

    def __exit__(self, *_exception: object) -> None:
        gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, details: dict[str, int]) -> None:
        # The machine's clock: a test's clock stands still while the interpreter collects.
        now_s = time.perf_counter()
        if phase == "start":
            self._began_s = now_s
        elif self._began_s is not None:
            self._series[details["generation"]].record(now_s - self._began_s)
            self._began_s = None


class LoopReader:
    """Counts the tasks of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop."""
        self._loop = loop

    def observe(self, observers: Observers) -> None:
        """Register the count."""
        observers.observe(EVENT_LOOP_TASKS, self.tasks)

    def tasks(self) -> _Values:
        """Return the number of tasks that are not done; may be asked from any thread."""
        return [(len(asyncio.all_tasks(self._loop)), {})]


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
        observers.observe(PROCESS_VIRTUAL_MEMORY, self.virtual_memory)
        observers.observe(PROCESS_FILES, self.open_files)
        observers.observe(PROCESS_FILES_LIMIT, self.open_files_limit)
        observers.observe(PROCESS_THREADS, self.threads)
        observers.observe(PROCESS_CONTEXT_SWITCHES, self.context_switches)
        observers.observe(PROCESS_PAGE_FAULTS, self.page_faults)
        observers.observe(PROCESS_UPTIME, self.uptime)
        observers.observe(GC_COLLECTIONS, lambda: self.garbage("collections"))
        observers.observe(GC_COLLECTED, lambda: self.garbage("collected"))
        observers.observe(GC_UNCOLLECTABLE, lambda: self.garbage("uncollectable"))

    def cpu_time(self) -> _Values:
        """Return CPU seconds in user and in system mode."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return [
            (usage.ru_utime, {"cpu.mode": "user"}),
            (usage.ru_stime, {"cpu.mode": "system"}),
        ]

    def resident_memory(self) -> _Values:
        """Return bytes of resident memory; nothing where there is no /proc."""
        return _memory(1)

    def virtual_memory(self) -> _Values:
        """Return bytes of address space; nothing where there is no /proc."""
        return _memory(0)

    def open_files(self) -> _Values:
        """Return the number of open file descriptors; nothing where it cannot be listed."""
        for folder in _DESCRIPTORS:
            try:
                # The listing itself holds one descriptor.
                return [(len(os.listdir(folder)) - 1, {})]  # noqa: PTH208 - no Path per entry
            except OSError:
                continue
        return []

    def open_files_limit(self) -> _Values:
        """Return how many file descriptors may be open; nothing when there is no limit."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return [] if limit == resource.RLIM_INFINITY else [(limit, {})]

    def threads(self) -> _Values:
        """Return the number of threads that Python knows."""
        return [(threading.active_count(), {})]

    def context_switches(self) -> _Values:
        """Return how often the process lost its core."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return [
            (usage.ru_nvcsw, {"process.context_switch.type": "voluntary"}),
            (usage.ru_nivcsw, {"process.context_switch.type": "involuntary"}),
        ]

    def page_faults(self) -> _Values:
        """Return how often a page was not in memory."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return [
            (usage.ru_minflt, {"system.paging.fault.type": "minor"}),
            (usage.ru_majflt, {"system.paging.fault.type": "major"}),
        ]

    def uptime(self) -> _Values:
        """Return seconds since the reader was made."""
        return [(self._clock.monotonic() - self._started, {})]

    def garbage(self, what: str) -> _Values:
        """Return one of the interpreter's counts of its collections, per generation."""
        if sys.implementation.name != "cpython":
            return []
        return [
            (generation[what], {"cpython.gc.generation": str(number)})
            for number, generation in enumerate(gc.get_stats())
        ]


def _memory(field: int) -> _Values:
    """Return a field of statm in bytes."""
    try:
        pages = int(_STATM.read_text("ascii").split()[field])
    except OSError:
        return []
    return [(pages * resource.getpagesize(), {})]
