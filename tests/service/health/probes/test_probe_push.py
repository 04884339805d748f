"""The probe of things that report by themselves, by a clock that tests turn."""

from __future__ import annotations

from alerts.clock import ManualClock
from service.health.probes.push import PushProbe
from service.health.pushes import PushInbox


def made(clock: ManualClock) -> tuple[PushInbox, PushProbe]:
    inbox = PushInbox(clock)
    inbox.expect({"backup": "hush"})
    return inbox, PushProbe("backup", inbox, max_silence_s=60.0)


async def test_before_the_first_push_there_is_time_for_it():
    """Nothing is wrong yet when the process has just started."""
    clock = ManualClock()
    _, probe = made(clock)
    first = await probe.run(1.0)
    await clock.advance(60.0)
    last = await probe.run(1.0)
    await clock.advance(0.1)
    late = await probe.run(1.0)

    assert (first.success, first.reason) == (True, "waiting for the first push")
    assert last.success
    assert (late.success, late.error_type, late.reason) == (False, "silence", "no push for 1m")


async def test_a_push_counts_until_it_is_too_old():
    """What was reported is the result, with its age and duration."""
    clock = ManualClock()
    inbox, probe = made(clock)
    inbox.put("backup", success=True, reason="3\nfiles", duration_s=1.5)
    await clock.advance(60.0)
    result = await probe.run(1.0)
    await clock.advance(1.0)

    assert (result.success, result.reason) == (True, "3 files")
    assert result.attributes == {"push.age": 60.0, "push.duration": 1.5}
    assert not (await probe.run(1.0)).success


async def test_a_push_may_report_a_failure():
    """The thing says itself that it does not work, and why."""
    inbox, probe = made(ManualClock())
    inbox.put("backup", success=False)
    without = await probe.run(1.0)
    inbox.put("backup", success=False, reason="disk full")

    assert without.reason == "the push reports a failure"
    result = await probe.run(1.0)
    assert (result.success, result.error_type, result.reason) == (False, "pushed", "disk full")


async def test_reports_stay_when_a_check_changes_and_go_when_it_goes():
    """A new token takes effect at once, and is no reason to wait for another report."""
    clock = ManualClock()
    inbox, _ = made(clock)
    inbox.put("backup", success=True)
    inbox.put("other", success=True)
    await clock.advance(5.0)
    inbox.expect({"backup": "new", "other": "quiet"})

    assert inbox.last("other") is None
    assert inbox.silent_for_s("backup") == 5.0
    assert (inbox.accepts("backup", "new"), inbox.accepts("backup", "hush")) == (True, False)
    inbox.expect({"other": "quiet"})
    assert inbox.last("backup") is None
    assert not inbox.accepts("backup", "new")
