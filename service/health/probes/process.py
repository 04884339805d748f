"""Probes of the process itself: its event loop, its disk, its open files."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alerts.durations import format_duration
from service.config.types import format_size
from service.health.state import ProbeResult

_DESCRIPTORS: Final = (Path("/proc/self/fd"), Path("/dev/fd"))
_MEBIBYTE: Final = 1024 * 1024


class EventLoopProbe:
    """Fails when a timer of the event loop ran too late since the last run.

    Args:
        take_worst_lag: Returns how late a timer ran at most, in seconds, since it was last asked.
        max_lag_s: How late one may run.
    """

    def __init__(self, take_worst_lag: Callable[[], float], *, max_lag_s: float) -> None:
        self._take_worst_lag = take_worst_lag
        self._max_lag_s = max_lag_s

    @property
    def target(self) -> str:
        """Return what is looked at."""
        return "event loop"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Look at the worst since the last run."""
        lag_s = self._take_worst_lag()
        attributes = {"lag_s": lag_s}
        text = f"a timer ran {format_duration(round(lag_s, 3))} late"
        if lag_s > self._max_lag_s:
            return ProbeResult.failed(
                f"{text}: the process has too much to do, or something blocks its event loop",
                "lag",
                attributes,
            )
        return ProbeResult(True, f"at most {text}", attributes=attributes)


class DiskProbe:
    """Fails when the disk of a directory has too little room left.

    Args:
        directory: The directory; while it is not there, the nearest one above it counts.
        min_free: Bytes that must be free.
    """

    def __init__(self, directory: Path, *, min_free: int) -> None:
        self._directory = directory
        self._min_free = min_free

    @property
    def target(self) -> str:
        """Return which directory."""
        return f"disk of {self._directory}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ask the system; in a thread, as a disk on the network may not answer."""
        try:
            usage = await asyncio.to_thread(self._usage)
        except OSError as error:
            return ProbeResult.failed(
                f"the disk of {self._directory} cannot be looked at: {error.strerror}", "os"
            )
        attributes = {"free": usage.free, "total": usage.total}
        free = format_size(usage.free // _MEBIBYTE * _MEBIBYTE)
        if usage.free < self._min_free:
            return ProbeResult.failed(
                f"{free} are free, fewer than {format_size(self._min_free)}: make room",
                "full",
                attributes,
            )
        return ProbeResult(True, f"{free} are free", attributes=attributes)

    def _usage(self) -> shutil._ntuple_diskusage:
        directory = self._directory.absolute()
        there = next(path for path in (directory, *directory.parents) if path.exists())
        return shutil.disk_usage(there)


class OpenFilesProbe:
    """Fails when the process has too many of the files open that it may open.

    Args:
        max_share: Share of the limit that may be in use.
    """

    def __init__(self, *, max_share: float) -> None:
        self._max_share = max_share

    @property
    def target(self) -> str:
        """Return what is counted."""
        return "open files"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Count them."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        open_files = await asyncio.to_thread(_open_files)
        if open_files is None or limit == resource.RLIM_INFINITY:
            return ProbeResult.passed("this system does not say")
        attributes = {"open": open_files, "limit": limit}
        text = f"{open_files} of {limit} are open"
        if open_files > limit * self._max_share:
            return ProbeResult.failed(
                f"{text}: raise the limit (ulimit -n), or gateway.max_connections is too high",
                "limit",
                attributes,
            )
        return ProbeResult(True, text, attributes=attributes)


def _open_files() -> int | None:
    for folder in _DESCRIPTORS:
        try:
            # The listing itself holds one descriptor.
            return len(os.listdir(folder)) - 1  # noqa: PTH208 - no Path per entry
        except OSError:
            continue
    return None
