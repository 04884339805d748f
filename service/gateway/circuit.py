"""A circuit breaker: leaves a part that keeps failing alone for a while. No I/O.

Closed, everything passes. After so many failures in a row it opens and nothing passes. When it has
been open for its time one call is let through: its success closes the circuit, its failure opens
it again.
"""

from __future__ import annotations

from enum import Enum
from typing import NewType

from alerts.clock import Clock


class CircuitState(Enum):
    """What passes; the values are those of the metric."""

    CLOSED = 0
    """Everything."""
    HALF_OPEN = 1
    """One call at a time, to find out."""
    OPEN = 2
    """Nothing."""


Permit = NewType("Permit", int)
"""Shows that a call was let through; every permit is given back exactly once."""


class CircuitBreaker:
    """The state of one circuit.

    A verdict counts only in the state its call was let through in: what was sent before the
    circuit opened and comes back late says nothing about now.

    Args:
        failure_threshold: Failures in a row that open it.
        open_s: Seconds it stays open.
        clock: Measures them.
    """

    def __init__(self, *, failure_threshold: int, open_s: float, clock: Clock) -> None:
        self._failure_threshold = failure_threshold
        self._open_s = open_s
        self._clock = clock
        self._state = CircuitState.CLOSED
        self._generation = 0
        self._failures = 0
        self._opened_at = 0.0
        self._trying = False

    @property
    def state(self) -> CircuitState:
        """Whether calls pass; an open circuit stays so until a call asks after its time."""
        return self._state

    def admit(self) -> Permit | None:
        """Let a call through, or say None."""
        if self._state is CircuitState.OPEN:
            if self._clock.monotonic() - self._opened_at < self._open_s:
                return None
            self._enter(CircuitState.HALF_OPEN)
        if self._state is CircuitState.HALF_OPEN:
            if self._trying:
                return None
            self._trying = True
        return Permit(self._generation)

    def succeeded(self, permit: Permit) -> None:
        """Give a permit back: the part works."""
        if permit != self._generation:
            return
        if self._state is CircuitState.HALF_OPEN:
            self._enter(CircuitState.CLOSED)
        self._failures = 0

    def failed(self, permit: Permit) -> None:
        """Give a permit back: the part does not work."""
        if permit != self._generation:
            return
        self._failures += 1
        if self._state is CircuitState.HALF_OPEN or self._failures >= self._failure_threshold:
            self._opened_at = self._clock.monotonic()
            self._enter(CircuitState.OPEN)

    def abandoned(self, permit: Permit) -> None:
        """Give a permit back without having learned anything."""
        if permit == self._generation:
            self._trying = False

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._generation += 1
        self._failures = 0
        self._trying = False
