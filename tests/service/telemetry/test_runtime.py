"""What the process reports about itself."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from alerts.clock import ManualClock, Timer
from service.telemetry.definitions.process_metrics import EVENT_LOOP_LAG, GC_PAUSE
from service.telemetry.local_histograms import LocalHistogram
from service.telemetry.observers import Observers
from service.telemetry.runtime import GarbageMonitor, LoopLagMonitor, LoopReader, ProcessReader


class LateClock(ManualClock):
    """A clock whose loop runs every timer late."""

    def __init__(self, late_s: float) -> None:
        super().__init__()
        self._late_s = late_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return super().call_later(delay_s + self._late_s, callback)


@pytest.mark.parametrize("late_s", [0.0, 0.5])
async def test_the_lag_is_how_late_the_loop_ran_a_timer(late_s):
    """Each tick records the difference between when it was due and when it ran."""
    clock, reader = LateClock(late_s), InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")

    with LoopLagMonitor(clock, EVENT_LOOP_LAG.histogram(meter), interval_s=1.0):
        await clock.advance(3 * (1.0 + late_s))
    await clock.advance(10)

    data = reader.get_metrics_data()
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert (point.count, point.sum) == (3, pytest.approx(3 * late_s))  # type: ignore[union-attr]  # a histogram point


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc here")
def test_the_operating_system_is_asked():
    """Memory, descriptors and CPU time are this process's own and plausible."""
    process = ProcessReader(ManualClock())

    ((memory, _),) = process.resident_memory()
    ((files, _),) = process.open_files()
    cpu = {attributes["cpu.mode"]: value for value, attributes in process.cpu_time()}

    assert memory > 1_000_000
    assert files >= 3
    assert cpu["user"] == pytest.approx(os.times().user, abs=1.0)


def test_what_the_process_uses_and_may_use():
    """Threads, address space, open files and their limit are this process's own."""
    process = ProcessReader(ManualClock())

    ((before, _),) = process.threads()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    ((after, _),) = process.threads()
    done.set()
    thread.join()
    ((files, _),) = process.open_files()
    limits = list(process.open_files_limit())
    virtual = [value for value, _ in process.virtual_memory()]
    resident = [value for value, _ in process.resident_memory()]

    assert after == before + 1
    assert all(files < limit for limit, _ in limits)
    assert virtual > resident or not resident


def test_waits_and_page_faults_only_grow():
    """Counts of the operating system, one series for each kind."""
    process = ProcessReader(ManualClock())

    switches = [
        {item["process.context_switch.type"]: value for value, item in process.context_switches()}
        for _ in range(2)
    ]
    faults = [
        {item["system.paging.fault.type"]: value for value, item in process.page_faults()}
        for _ in range(2)
    ]

    assert switches[0].keys() == {"voluntary", "involuntary"}
    assert faults[0].keys() == {"minor", "major"}
    for before, after in (switches, faults):
        assert all(after[kind] >= before[kind] for kind in before)


def test_collections_of_garbage_are_timed_by_generation():
    """Each collection is one measurement of its generation, and none after the end."""
    histogram = LocalHistogram(GC_PAUSE)
    oldest = histogram.series({"cpython.gc.generation": "2"})

    with GarbageMonitor(histogram):
        gc.collect()
        gc.collect()
    gc.collect()

    point = oldest.point(1, 2)
    assert point is not None
    assert point.count == 2
    assert 0 < point.sum < 60


async def test_tasks_are_counted_from_another_thread():
    """Those that are not done, of the loop that was named."""
    reader = LoopReader(asyncio.get_running_loop())
    release = asyncio.Event()
    ((before, _),) = reader.tasks()
    waiting = [asyncio.create_task(release.wait()) for _ in range(3)]

    ((during, _),) = await asyncio.to_thread(reader.tasks)

    release.set()
    await asyncio.gather(*waiting)
    ((after, _),) = reader.tasks()
    assert (during - before, after - before) == (3, 0)


async def test_uptime_counts_from_the_start():
    """Uptime is the time since the reader was made."""
    clock = ManualClock()
    process = ProcessReader(clock)

    await clock.advance(42)

    ((uptime, _),) = process.uptime()
    assert uptime == pytest.approx(42)


def test_everything_is_registered():
    """All process metrics appear in a collection, collections of garbage per generation."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    ProcessReader(ManualClock()).observe(Observers(meter))

    data = reader.get_metrics_data()

    assert data is not None
    metrics = {item.name: item for item in data.resource_metrics[0].scope_metrics[0].metrics}
    assert {"process.cpu.time", "process.uptime", "process.thread.count"} <= set(metrics)
    assert len(metrics["cpython.gc.collections"].data.data_points) == 3


async def test_the_worst_lag_is_taken_once():
    """Each answer is about the time since the one before."""
    clock = LateClock(0.5)
    meter = MeterProvider([], shutdown_on_exit=False).get_meter("test")
    with LoopLagMonitor(clock, EVENT_LOOP_LAG.histogram(meter), interval_s=1.0) as monitor:
        await clock.advance(2)
        taken = [monitor.take_worst(), monitor.take_worst()]

    assert taken == [pytest.approx(0.5), 0]
