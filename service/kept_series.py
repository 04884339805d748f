"""The series from one process to the next: read at the start, written at intervals and the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from alerts.series.snapshot import SNAPSHOT_FILE, SnapshotFile
from alerts.series.store import SeriesStore

_LOG: Final = logging.getLogger(__name__)


class KeptSeries:
    """Keeps the series of a store in the data directory; an async context manager."""

    def __init__(
        self, directory: Path, store: SeriesStore, *, was_started: Callable[[], bool]
    ) -> None:
        """Say which series, and where.

        Args:
            directory: The data directory.
            store: What is kept.
            was_started: Whether the process came up; one that did not leaves what it found.
        """
        self._snapshot = SnapshotFile(directory / SNAPSHOT_FILE, store)
        self._was_started = was_started

    async def __aenter__(self) -> Self:
        """Have the series of the process before."""
        size = await asyncio.to_thread(self._snapshot.load)
        if size is not None:
            _LOG.info("%d series restored, %d bytes", size.series, size.bytes)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave them to the next."""
        try:
            if self._was_started():
                await self.save()
        except OSError as failure:
            _LOG.error("the series were not written, the next start has older ones: %s", failure)

    async def save(self) -> None:
        """Write them.

        Raises:
            OSError: They cannot be written.
        """
        await asyncio.to_thread(self._snapshot.save)
