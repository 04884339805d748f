"""The series store: every series of the process, appended by sources, read by queries."""

from __future__ import annotations

from alerts.clock import Clock


class SeriesStore:
    """Series in memory, one time axis per source."""

    def __init__(self, *, clock: Clock, retention_s: float) -> None:
        raise NotImplementedError
