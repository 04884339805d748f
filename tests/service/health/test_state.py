"""The state of a check as a function of its results."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.health.state import (
    CheckState,
    CheckStatus,
    ProbeResult,
    Thresholds,
    reported_state,
)

UNKNOWN, UP, DEGRADED, DOWN, MAINTENANCE, HELD = CheckState

GOOD = ProbeResult.passed("fine")
BAD = ProbeResult.failed("broken", "status")


def states(results: str, thresholds: Thresholds) -> list[CheckState]:
    """Return the states after each result, `+` for success and `-` for failure."""
    status, found = CheckStatus.initial(0.0), []
    for second, result in enumerate(results, start=1):
        status = status.after(GOOD if result == "+" else BAD, float(second), thresholds)
        found.append(status.state)
    return found


@pytest.mark.parametrize(
    ("results", "failure", "success", "expected"),
    [
        ("+", 3, 1, [UP]),
        ("+", 3, 2, [UP]),
        ("---", 3, 1, [DEGRADED, DEGRADED, DOWN]),
        ("-", 1, 1, [DOWN]),
        ("+--+", 3, 2, [UP, DEGRADED, DEGRADED, UP]),
        ("--+", 2, 1, [DEGRADED, DOWN, UP]),
        ("--++", 2, 2, [DEGRADED, DOWN, DOWN, UP]),
        ("--+-++", 2, 2, [DEGRADED, DOWN, DOWN, DOWN, DOWN, UP]),
        ("--+-+++", 2, 3, [DEGRADED, DOWN, DOWN, DOWN, DOWN, DOWN, UP]),
    ],
)
def test_thresholds_decide_the_state(results, failure, success, expected):
    """Too few failures degrade, enough bring down, and enough successes bring up again."""
    assert states(results, Thresholds(failure, success)) == expected


def test_since_is_the_time_of_the_change():
    """Results that change nothing do not move the time of the last change."""
    status = CheckStatus.initial(0.0)
    for second in (10.0, 20.0, 30.0):
        status = status.after(GOOD, second, Thresholds())

    assert (status.since_s, status.last_at_s, status.successes) == (10.0, 30.0, 3)


@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.builds(Thresholds, st.integers(1, 5), st.integers(1, 5)),
)
def test_the_state_follows_from_the_results_alone(results, thresholds):
    """Whatever happened before, runs of equal results lead where the thresholds say."""
    status = CheckStatus.initial(0.0)
    down = False
    for second, success in enumerate(results, start=1):
        status = status.after(GOOD if success else BAD, float(second), thresholds)
        row = sum(
            1
            for _ in itertools.takewhile(lambda each: each is success, results[:second][::-1])  # noqa: B023
        )
        if not success and row >= thresholds.failure:
            down = True
        elif success and row >= thresholds.success:
            down = False

        assert (status.state is DOWN) == down
        assert (status.failures, status.successes) == ((0, row) if success else (row, 0))
        assert status.state is not UNKNOWN
        assert status.since_s <= second


@pytest.mark.parametrize("in_maintenance", [False, True])
@pytest.mark.parametrize("dependency_fails", [False, True])
@pytest.mark.parametrize("by_results", [UNKNOWN, UP, DEGRADED, DOWN])
def test_what_is_reported(by_results, dependency_fails, in_maintenance):
    """Maintenance comes before everything, and only failures are held back."""
    reported = reported_state(
        by_results, in_maintenance=in_maintenance, dependency_fails=dependency_fails
    )

    if in_maintenance:
        assert reported is MAINTENANCE
    elif dependency_fails and by_results in (DEGRADED, DOWN):
        assert reported is HELD
    else:
        assert reported is by_results
