"""What a query may cost: samples, wall time, and whether anybody still waits for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from alerts.clock import Clock
from alerts.promql.errors import PromQLError, QueryCancelledError, QueryTimeoutError


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Limits of one query, on top of the engine's own.

    Attributes:
        timeout_s: Wall time after which the query is given up; None for no limit.
        cancelled: Set, from any thread, when nobody waits for the answer any more.
        max_samples: Samples it may load, when fewer than the engine allows.
    """

    timeout_s: float | None = None
    cancelled: threading.Event | None = None
    max_samples: int | None = None


class Budget:
    """Watches over one query: looked at between the nodes of its plan and where samples load."""

    __slots__ = ("_cancelled", "_clock", "_deadline_s", "_limit", "used")

    def __init__(self, max_samples: int, limits: QueryLimits | None, clock: Clock) -> None:
        self.used = 0
        self._limit = max_samples
        self._cancelled: threading.Event | None = None
        self._clock = clock
        self._deadline_s: float | None = None
        if limits is not None:
            self._cancelled = limits.cancelled
            if limits.max_samples is not None:
                self._limit = min(max_samples, limits.max_samples)
            if limits.timeout_s is not None:
                self._deadline_s = clock.monotonic() + limits.timeout_s

    def check(self) -> None:
        """Go on only while there is time and somebody waits.

        Raises:
            PromQLError: The query was cancelled, or its time is up.
        """
        if self._cancelled is not None and self._cancelled.is_set():
            raise QueryCancelledError("query was canceled in expression evaluation")
        if self._deadline_s is not None and self._clock.monotonic() >= self._deadline_s:
            raise QueryTimeoutError("query timed out in expression evaluation")

    def take(self, samples: int) -> None:
        """Account for samples about to be loaded.

        Raises:
            PromQLError: Together they are more than the limit; or as ``check``.
        """
        self.used += samples
        self.hold(self.used)

    def hold(self, samples: int) -> None:
        """Allow samples to be held at once, such as the result of a function.

        Raises:
            PromQLError: They are more than the limit; or as ``check``.
        """
        if samples > self._limit:
            raise PromQLError(
                "query processing would load too many samples into memory in query execution "
                f"(the limit is {self._limit}); select fewer series or a shorter range"
            )
        self.check()
