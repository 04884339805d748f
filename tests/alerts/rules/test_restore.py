"""Alerting rules taken up after a restart, and by a changed rule."""

from __future__ import annotations

import pytest

from alerts.rules.alerting import AlertingRule, AlertInstance, AlertState, External
from tests.support.alerts import START_MS, alerting_rule, sample

MINUTE_MS = 60_000
FOUND = (sample(0.0, job="db"),)


class Life:
    """A rule over restarts; minutes count from the start."""

    def __init__(self, *, for_min: float = 0, keep_min: float = 0) -> None:
        self.definition = alerting_rule(for_s=for_min * 60, keep_firing_for_s=keep_min * 60)
        self.rule = AlertingRule(self.definition, External())
        self.minute = 0

    def evaluate(self, *minutes: int, found: bool = True, limit: int = 0) -> int:
        """Evaluate at minutes and return how many alerts were handed on."""
        handed_on = 0
        for self.minute in minutes:
            now_ms = START_MS + self.minute * MINUTE_MS
            self.rule.evaluate(FOUND if found else (), now_ms, limit=limit)
            handed_on += len(
                self.rule.due(now_ms, resend_delay_ms=MINUTE_MS, interval_ms=MINUTE_MS)
            )
        return handed_on

    def restart(self, *, hold_until_min: int = 0) -> None:
        """Go on as another process does, an hour of outage being tolerated."""
        saved = tuple(self.rule.instances.values())
        self.rule = AlertingRule(self.definition, External())
        self.rule.restore(
            saved,
            watched_until_ms=START_MS + self.minute * MINUTE_MS,
            tolerance_ms=60 * MINUTE_MS,
            hold_until_ms=START_MS + hold_until_min * MINUTE_MS,
        )

    @property
    def alert(self) -> AlertInstance:
        """The only alert."""
        (alert,) = self.rule.instances.values()
        return alert

    def minutes(self, name: str) -> float | None:
        """Return a time of the alert in minutes."""
        moment = getattr(self.alert, name)
        return None if moment is None else (moment - START_MS) / MINUTE_MS


@pytest.mark.parametrize("for_min", [5, 2 * 60, 7 * 24 * 60])
def test_wait_goes_on(for_min: int) -> None:
    """A pending alert fires when its wait is over, counted from before the restart."""
    life = Life(for_min=for_min)
    life.evaluate(0, for_min - 3)
    life.restart()
    life.evaluate(for_min - 1)
    assert life.alert.state is AlertState.PENDING

    life.evaluate(for_min)

    assert (life.alert.state, life.minutes("fired_at_ms")) == (AlertState.FIRING, for_min)


@pytest.mark.parametrize(("outage", "active_at"), [(59, 0), (60, 0), (61, 62)])
def test_unwatched_for_too_long(outage: int, active_at: int) -> None:
    """After more than an hour without a look the wait starts over."""
    life = Life(for_min=180)
    life.evaluate(0, 1)
    life.restart()

    life.evaluate(1 + outage)

    assert life.minutes("active_at_ms") == active_at


def test_long_run_after_a_restart() -> None:
    """The outage is judged once: an hour later the wait has not started over."""
    life = Life(for_min=300)
    life.evaluate(0)
    life.restart()

    life.evaluate(1, 100, 200)

    assert life.minutes("active_at_ms") == 0


def test_firing_goes_on_whatever_the_outage() -> None:
    """A firing alert keeps when it began to fire, after a day as well."""
    life = Life(for_min=5)
    life.evaluate(0, 5)
    life.restart()

    life.evaluate(24 * 60)

    assert (life.minutes("fired_at_ms"), life.minutes("active_at_ms")) == (5, 0)


def test_first_evaluation_that_finds_it_gone() -> None:
    """A firing alert resolves, a pending one is forgotten."""
    firing, pending = Life(), Life(for_min=5)
    for life in (firing, pending):
        life.evaluate(0)
        life.restart()
        life.evaluate(1, found=False)

    assert firing.minutes("resolved_at_ms") == 1
    assert pending.rule.instances == {}


def test_keep_firing_goes_on() -> None:
    """The time an alert is kept firing counts from before the restart."""
    life = Life(keep_min=10)
    life.evaluate(0)
    life.evaluate(1, found=False)
    life.restart()
    life.evaluate(10, found=False)
    assert life.alert.state is AlertState.FIRING

    life.evaluate(11, found=False)

    assert life.minutes("resolved_at_ms") == 11


def test_everything_told_is_handed_on_once_more() -> None:
    """After a restart firing and ended alerts are handed on at once, pending ones are not."""
    firing, ended, pending = Life(), Life(), Life(for_min=10)
    for life in (firing, ended, pending):
        life.evaluate(0, 1)
    ended.evaluate(2, found=False)
    for life in (firing, ended, pending):
        life.restart()

    found = [firing.evaluate(2), ended.evaluate(2, found=False), pending.evaluate(2)]

    assert found == [1, 1, 0]


def test_end_from_before_a_long_outage() -> None:
    """An alert that ended is told after an outage longer than ends are remembered, then let go."""
    life = Life()
    life.evaluate(0)
    life.evaluate(1, found=False)
    life.restart()

    assert life.evaluate(100, found=False) == 1
    life.evaluate(101, found=False)
    assert life.rule.instances == {}


def test_held_while_series_are_not_there() -> None:
    """For a while after a start an alert that is not found is left as it is, then it is gone."""
    firing, pending = Life(), Life(for_min=10)
    for life in (firing, pending):
        life.evaluate(0)
        life.restart(hold_until_min=3)
        life.evaluate(1, 2, found=False)
    assert (firing.alert.state, pending.alert.state) == (AlertState.FIRING, AlertState.PENDING)

    pending.evaluate(10)
    firing.evaluate(3, found=False)

    assert pending.minutes("fired_at_ms") == 10
    assert firing.minutes("resolved_at_ms") == 3


def test_held_only_until_it_was_seen() -> None:
    """An alert that was found after the start and then is gone resolves at once."""
    life = Life()
    life.evaluate(0)
    life.restart(hold_until_min=10)
    life.evaluate(1)

    life.evaluate(2, found=False)

    assert life.minutes("resolved_at_ms") == 2


def test_longer_wait() -> None:
    """A firing alert waits again when the file asks for a longer wait."""
    life = Life(for_min=5)
    life.evaluate(0, 5)
    changed = AlertingRule(alerting_rule(for_s=600), External())
    changed.take_over(life.rule)
    life.rule = changed

    life.evaluate(6)
    assert (life.alert.state, life.minutes("fired_at_ms")) == (AlertState.PENDING, None)
    handed_on = life.evaluate(10)

    assert (life.minutes("fired_at_ms"), handed_on) == (10, 1)
