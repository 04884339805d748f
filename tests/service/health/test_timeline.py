"""How long a check was in which state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.storage.check_periods import HOUR_MS, CheckPeriod
from service.health.state import CheckState
from service.health.timeline import Timeline

UP, DOWN = CheckState.UP, CheckState.DOWN
STATES = {
    CheckState.UP: "up_ms",
    CheckState.DEGRADED: "degraded_ms",
    CheckState.DOWN: "down_ms",
    CheckState.MAINTENANCE: "maintenance_ms",
    CheckState.HELD: "held_ms",
}


def run(timeline: Timeline, at_ms: int, state: CheckState, believed_for_ms: int = 1_000) -> None:
    """Have a run of half a second end."""
    timeline.run(at_ms, state, success=state is UP, duration_s=0.5, believed_for_ms=believed_for_ms)


def test_a_state_lasts_until_the_next():
    """Each period has one state and the runs that were in it."""
    timeline = Timeline("web")
    run(timeline, 100, UP)
    run(timeline, 600, UP)
    run(timeline, 1_100, DOWN)
    periods = timeline.news(1_500)

    assert [(each.start_ms, each.end_ms) for each in periods] == [(100, 1_100), (1_100, 1_500)]
    assert [(each.times.up_ms, each.times.down_ms) for each in periods] == [(1_000, 0), (0, 400)]
    assert [(each.times.runs, each.times.failures) for each in periods] == [(2, 0), (1, 1)]
    assert periods[0].times.duration_avg_s == 0.5


def test_nothing_is_known_while_results_are_overdue():
    """The last result is believed for a while, and what comes after is not counted."""
    timeline = Timeline("web")
    run(timeline, 0, UP, believed_for_ms=1_000)
    run(timeline, 5_000, UP, believed_for_ms=1_000)

    assert [(each.start_ms, each.end_ms) for each in timeline.news(5_001)] == [
        (0, 1_000),
        (5_000, 5_001),
    ]


def test_an_open_period_is_told_again_when_it_has_grown():
    """It begins at the same moment, so it replaces what was told of it."""
    timeline = Timeline("web")
    run(timeline, 0, UP)
    first, again, then = timeline.news(10), timeline.news(10), timeline.news(20)

    assert [(each.start_ms, each.end_ms) for each in (*first, *then)] == [(0, 10), (0, 20)]
    assert again == []


def test_periods_end_with_the_hour():
    """However long a state lasts, so that no row is longer than an hour."""
    timeline = Timeline("web")
    run(timeline, HOUR_MS - 10, UP, believed_for_ms=3 * HOUR_MS)
    periods = timeline.news(2 * HOUR_MS + 5)

    assert [(each.start_ms, each.end_ms) for each in periods] == [
        (HOUR_MS - 10, HOUR_MS),
        (HOUR_MS, 2 * HOUR_MS),
        (2 * HOUR_MS, 2 * HOUR_MS + 5),
    ]


def test_a_window_without_results_is_not_known():
    """A maintenance window of a check that never ran says nothing about it."""
    timeline = Timeline("web")
    timeline.change(0, CheckState.MAINTENANCE)

    assert timeline.news(1_000) == []


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2 * HOUR_MS),
        st.sampled_from(list(CheckState)),
        st.sampled_from(["run", "change", "news"]),
        st.integers(1, HOUR_MS),
    ),
    max_size=30,
)


@given(EVENTS)
def test_every_millisecond_is_counted_once(events):
    """Stored periods never overlap, and add up to what each state lasted while it was believed."""
    timeline, stored = Timeline("web"), dict[int, CheckPeriod]()
    expected = dict.fromkeys(STATES.values(), 0)
    now, believed_until, state = 0, 0, CheckState.UNKNOWN

    for step, after, kind, believed_for in events:
        if state is not CheckState.UNKNOWN:
            expected[STATES[state]] += max(0, min(now + step, believed_until) - now)
        now += step
        if kind == "run":
            state, believed_until = after, now + believed_for
            run(timeline, now, after, believed_for)
        elif kind == "change":
            state = after
            timeline.change(now, after)
        else:
            stored |= {each.start_ms: each for each in timeline.news(now)}
    stored |= {each.start_ms: each for each in timeline.news(now)}

    periods = [stored[start] for start in sorted(stored)]
    ends = [0, *(each.end_ms for each in periods)]
    assert all(end <= each.start_ms for end, each in zip(ends, periods, strict=False))
    assert all(
        each.start_ms // HOUR_MS == (each.end_ms - 1) // HOUR_MS
        and each.times.known_ms == each.end_ms - each.start_ms
        for each in periods
    )
    assert {
        name: sum(getattr(each.times, name) for each in periods) for name in expected
    } == expected
