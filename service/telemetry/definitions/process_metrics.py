"""The metrics of the process, its event loop and its interpreter.

The names are OpenTelemetry's where there are some.
"""

from __future__ import annotations

from typing import Final

from service.telemetry.definitions.defining import WAIT_BOUNDARIES, define

_PAUSE_BOUNDARIES: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

EVENT_LOOP_LAG: Final = define(
    "histogram",
    "gateway.event_loop.lag",
    "s",
    "How late the event loop ran a timer.",
    boundaries=WAIT_BOUNDARIES,
)
EVENT_LOOP_TASKS: Final = define(
    "up_down_counter", "gateway.event_loop.tasks", "{task}", "Tasks of asyncio that are not done."
)
PROCESS_CPU: Final = define(
    "counter", "process.cpu.time", "s", "CPU seconds of the process.", "cpu.mode"
)
PROCESS_MEMORY: Final = define(
    "up_down_counter", "process.memory.usage", "By", "Resident memory of the process."
)
PROCESS_VIRTUAL_MEMORY: Final = define(
    "up_down_counter", "process.memory.virtual", "By", "Address space of the process."
)
PROCESS_FILES: Final = define(
    "up_down_counter",
    "process.unix.file_descriptor.count",
    "{file_descriptor}",
    "Open file descriptors.",
)
PROCESS_FILES_LIMIT: Final = define(
    "up_down_counter",
    "process.unix.file_descriptor.limit",
    "{file_descriptor}",
    "File descriptors that may be open; none when there is no limit.",
)
PROCESS_THREADS: Final = define("up_down_counter", "process.thread.count", "{thread}", "Threads.")
PROCESS_CONTEXT_SWITCHES: Final = define(
    "counter",
    "process.context_switches",
    "{context_switch}",
    "Times the process lost its core: by waiting, or to others (involuntary).",
    "process.context_switch.type",
)
PROCESS_PAGE_FAULTS: Final = define(
    "counter",
    "process.paging.faults",
    "{fault}",
    "Pages that were not in memory; major ones were read from disk.",
    "system.paging.fault.type",
)
PROCESS_UPTIME: Final = define("gauge", "process.uptime", "s", "Seconds since the process started.")
GC_COLLECTIONS: Final = define(
    "counter",
    "cpython.gc.collections",
    "{collection}",
    "Garbage collections.",
    "cpython.gc.generation",
)
GC_COLLECTED: Final = define(
    "counter",
    "cpython.gc.collected_objects",
    "{object}",
    "Objects that were garbage.",
    "cpython.gc.generation",
)
GC_UNCOLLECTABLE: Final = define(
    "counter",
    "cpython.gc.uncollectable_objects",
    "{object}",
    "Garbage that could not be freed.",
    "cpython.gc.generation",
)
GC_PAUSE: Final = define(
    "histogram",
    "gateway.gc.pause",
    "s",
    "How long a garbage collection kept everything else from running.",
    "cpython.gc.generation",
    boundaries=_PAUSE_BOUNDARIES,
)

DEFINITIONS: Final = (
    EVENT_LOOP_LAG,
    EVENT_LOOP_TASKS,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_VIRTUAL_MEMORY,
    PROCESS_FILES,
    PROCESS_FILES_LIMIT,
    PROCESS_THREADS,
    PROCESS_CONTEXT_SWITCHES,
    PROCESS_PAGE_FAULTS,
    PROCESS_UPTIME,
    GC_COLLECTIONS,
    GC_COLLECTED,
    GC_UNCOLLECTABLE,
    GC_PAUSE,
)
"""All of them, in order."""
