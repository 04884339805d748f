"""The state of a health check as a pure function of its results; no clock, no loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

AttributeValue = str | int | float


class CheckState(IntEnum):
    """What is known of the thing that is checked; the values are those of the metric.

    Results lead to the first four. The last two are what is reported instead: see
    ``reported_state``.
    """

    UNKNOWN = 0
    UP = 1
    DEGRADED = 2
    DOWN = 3
    MAINTENANCE = 4
    HELD = 5

    @property
    def label(self) -> str:
        """The word for it in answers, logs and spans."""
        return self.name.lower()

    @property
    def is_failing(self) -> bool:
        """Whether the newest results are failures, or too few successes after them."""
        return self in (CheckState.DEGRADED, CheckState.DOWN)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one run of a probe found.

    Attributes:
        success: Whether the thing works.
        reason: Why it does not, or a remark; for a person, one line.
        error_type: Why it does not, as one of few words fit for a metric; empty on success.
        duration_s: How long the run took, in seconds.
        attributes: More findings, such as ``http.response.status_code``.
    """

    success: bool
    reason: str = ""
    error_type: str = ""
    duration_s: float = 0.0
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)

    @classmethod
    def passed(cls, reason: str = "", **attributes: AttributeValue) -> Self:
        """Return the result of a thing that works."""
        return cls(True, reason, attributes=attributes)

    @classmethod
    def failed(
        cls, reason: str, error_type: str, attributes: Mapping[str, AttributeValue] | None = None
    ) -> Self:
        """Return the result of a thing that does not work."""
        return cls(False, reason, error_type, attributes=attributes or {})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many results in a row change the state.

    Attributes:
        failure: Failures in a row that make a check down; fewer make it degraded.
        success: Successes in a row that bring a check up again that was down.
    """

    failure: int = 3
    success: int = 1


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """The state a check's results lead to, and how it came to it.

    Attributes:
        state: The state; never ``MAINTENANCE`` or ``HELD``.
        since_s: Unix time of the result that brought it.
        failures: Failures in a row until now.
        successes: Successes in a row until now.
        last: The last result; None before the first.
        last_at_s: Unix time of the last result.
    """

    state: CheckState
    since_s: float
    failures: int = 0
    successes: int = 0
    last: ProbeResult | None = None
    last_at_s: float | None = None

    @classmethod
    def initial(cls, at_s: float) -> Self:
        """Return the status of a check that has never run."""
        return cls(CheckState.UNKNOWN, at_s)

    def after(self, result: ProbeResult, at_s: float, thresholds: Thresholds) -> CheckStatus:
        """Return the status a result leads to.

        Args:
            result: What the probe found.
            at_s: When, in Unix seconds.
            thresholds: How many results in a row change the state.
        """
        failures = 0 if result.success else self.failures + 1
        successes = self.successes + 1 if result.success else 0
        state = _next_state(self.state, failures, successes, thresholds)
        return CheckStatus(
            state=state,
            since_s=self.since_s if state is self.state else at_s,
            failures=failures,
            successes=successes,
            last=result,
            last_at_s=at_s,
        )


def reported_state(
    by_results: CheckState, *, in_maintenance: bool, dependency_fails: bool
) -> CheckState:
    """Return the state to report of a check.

    Maintenance comes first: what is found then says nothing. A failure is held back while
    something the check depends on fails as well, as that is the likely cause; what works in spite
    of it is up.

    Args:
        by_results: Where the check's own results lead.
        in_maintenance: Whether a maintenance window is open.
        dependency_fails: Whether something it depends on, however indirectly, fails.
    """
    if in_maintenance:
        return CheckState.MAINTENANCE
    if dependency_fails and by_results.is_failing:
        return CheckState.HELD
    return by_results


def _next_state(
    state: CheckState, failures: int, successes: int, thresholds: Thresholds
) -> CheckState:
    """Return the state after a result; exactly one of the counts is not 0."""
    if failures >= thresholds.failure:
        return CheckState.DOWN
    if state is CheckState.DOWN and successes < thresholds.success:
        return CheckState.DOWN  # neither a success nor a failure too few brings it back early
    return CheckState.UP if successes else CheckState.DEGRADED
