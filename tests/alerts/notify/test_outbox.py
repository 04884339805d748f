"""The outbox and the notification log in the database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.clock import ManualClock
from alerts.notify import outbox as outbox_module
from alerts.notify.errors import FailureReason
from alerts.notify.log import LogEntry
from alerts.notify.outbox import Outbox
from alerts.series.labels import Labels
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.storage.history import History
from tests.support.alerts import START_MS, make_alert, make_notification


@pytest.fixture
def clock() -> ManualClock:
    """The time of the outbox."""
    return ManualClock()


@pytest.fixture
def outbox(database: Database, clock: ManualClock) -> Outbox:
    """An empty outbox."""
    return Outbox(database, clock)


async def history(database: Database) -> list[tuple[str, str, dict[str, str]]]:
    """Return the kind, the alert and the detail of what the history says, oldest first."""
    page = await History(database).query(since_ms=0, until_ms=START_MS * 2, limit=100)
    return [(event.kind, event.fingerprint, dict(event.detail)) for event in reversed(page.events)]


def entry(notification_id: str = "n1", *, expires_at_ms: int = START_MS + 1000) -> LogEntry:
    """Return a log entry of group g."""
    return LogEntry(
        "g",
        "ops/webhook/0",
        notification_id,
        START_MS,
        expires_at_ms,
        Labels({"alertname": "Down"}),
        (make_alert(alertname="Down"),),
        frozenset({"aa", "bb"}),
    )


async def test_order_and_content(outbox: Outbox) -> None:
    """What was committed waits in the order it came, complete."""
    notifications = [make_notification(name, trace_parent="00-1-2-01") for name in ("b", "a", "c")]
    await outbox.commit(notifications[:2], [])
    await outbox.commit(notifications[2:], [])

    assert await outbox.waiting() == tuple(notifications)


async def test_removed(outbox: Outbox) -> None:
    """What was accepted is gone; removing it again does nothing."""
    first, second = make_notification("n1"), make_notification("n2")
    await outbox.commit([first, second], [])

    await outbox.remove_all([first.id])
    await outbox.remove_all([first.id])

    assert await outbox.waiting() == (second,)


async def test_failed(outbox: Outbox) -> None:
    """What was given up is kept with its reason, and the log forgets it was told."""
    notification = make_notification("n1")
    await outbox.commit([notification], [entry("n1")])

    await outbox.fail(notification, FailureReason.REFUSED, "the answer was 404", 1)

    assert await outbox.waiting() == ()
    assert await outbox.failed() == ((notification, "refused", "the answer was 404"),)
    assert await outbox.log_entries(START_MS) == ()


async def test_failed_after_newer_news(outbox: Outbox) -> None:
    """Giving up an old notification leaves what was told since."""
    await outbox.commit([make_notification("n1")], [entry("n1")])
    await outbox.commit([make_notification("n2")], [entry("n2")])

    await outbox.fail(make_notification("n1"), FailureReason.REFUSED, "", 1)

    assert await outbox.log_entries(START_MS) == (entry("n2"),)


async def test_failures_are_bounded(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest failures are kept."""
    monkeypatch.setattr(outbox_module, "KEPT_FAILURES", 2)
    for name in ("n1", "n2", "n3"):
        await outbox.commit([make_notification(name)], [])
        await outbox.fail(make_notification(name), FailureReason.REFUSED, "", 1)

    assert [item.id for item, _, _ in await outbox.failed()] == ["n3", "n2"]


async def test_log(outbox: Outbox) -> None:
    """The log keeps the newest entry of a group and a channel, until it expires."""
    await outbox.commit([], [entry("n1")])
    await outbox.commit([], [entry("n2", expires_at_ms=START_MS + 10)])

    assert await outbox.log_entries(START_MS + 9) == (entry("n2", expires_at_ms=START_MS + 10),)
    assert await outbox.log_entries(START_MS + 10) == ()


async def test_expired_entries_do_not_pile_up(outbox: Outbox) -> None:
    """A commit deletes entries that have expired by its time."""
    await outbox.commit([], [replace(entry("n1"), group_key="old", expires_at_ms=START_MS)])
    await outbox.commit([], [entry("n2")])

    assert await outbox.log_entries(0) == (entry("n2"),)


async def test_all_or_nothing(outbox: Outbox) -> None:
    """When a notification cannot be stored, neither is what the log would say."""
    await outbox.commit([make_notification("n1")], [])

    with pytest.raises(StorageError):
        await outbox.commit([make_notification("n1")], [entry("n1")])

    assert await outbox.log_entries(START_MS) == ()


async def test_all_removed(outbox: Outbox, database: Database, clock: ManualClock) -> None:
    """Several accepted notifications leave at once, and the history tells of each alert."""
    alerts = (make_alert(job="a"), make_alert(ends_at_ms=START_MS, job="b"))
    notifications = [make_notification(name, alerts=alerts) for name in ("n1", "n2", "n3")]
    await outbox.commit(notifications, [])
    await clock.advance(1)
    await outbox.remove_all(["n1", "n2", "unknown"])
    await outbox.remove_all([])
    await outbox.remove_all(["n1"])

    assert await outbox.waiting() == (notifications[2],)
    told = {"receiver": "ops", "channel": "ops/webhook/0"}
    assert await history(database) == [
        ("notified", alert.fingerprint, {**told, "notification": name, "status": status})
        for name in ("n1", "n2")
        for alert, status in zip(alerts, ("firing", "resolved"), strict=True)
    ]
    page = await History(database).query(since_ms=0, until_ms=START_MS * 2, limit=100)
    assert {event.at_ms for event in page.events} == {START_MS + 1000}


async def test_failure_in_the_history(outbox: Outbox, database: Database) -> None:
    """What was given up is in the history once, without what the receiver said."""
    notification = make_notification("n1")
    await outbox.commit([notification], [])
    for _ in range(2):
        await outbox.fail(notification, FailureReason.REFUSED, "https://host/secret said no", 3)
    (event,) = await history(database)

    detail = {
        "receiver": "ops",
        "channel": "ops/webhook/0",
        "notification": "n1",
        "status": "firing",
        "reason": "refused",
        "attempts": "3",
    }
    assert event == ("failed", notification.alerts[0].fingerprint, detail)


async def test_many(outbox: Outbox) -> None:
    """Thousands of alerts in many groups and in one are committed and removed together."""
    many = [
        make_notification(f"n{number}", alerts=(make_alert(n=str(number)),) * 3)
        for number in range(700)
    ]
    large = make_notification("large", alerts=tuple(make_alert(n=str(n)) for n in range(1500)))
    notifications = [*many[:350], large, *many[350:]]
    entries = [
        replace(entry(item.id), group_key=f"g{item.id}", firing=item.alerts)
        for item in notifications
    ]
    await outbox.commit(notifications, entries)

    assert await outbox.waiting() == tuple(notifications)
    found = await outbox.log_entries(START_MS)
    assert {item.group_key: item for item in found} == {item.group_key: item for item in entries}

    await outbox.remove_all([item.id for item in notifications])
    assert await outbox.waiting() == ()


async def test_long_and_odd_keys(outbox: Outbox) -> None:
    """A group may be named by anything, however long."""
    key = '{}:{error="' + "".join(chr(code) for code in range(0x3000)) + '\x00"}'
    odd = replace(entry("n1"), group_key=key)
    notification = make_notification("n1", group=key)
    await outbox.commit([notification], [odd])
    await outbox.commit([], [replace(odd, notification_id="n2")])

    assert await outbox.waiting() == (notification,)
    assert await outbox.log_entries(START_MS) == (replace(odd, notification_id="n2"),)


async def test_without_a_clock(database: Database) -> None:
    """The machine's clock is used when none is given."""
    outbox = Outbox(database)
    await outbox.commit([make_notification("n1")], [])
    await outbox.remove_all(["n1"])
    page = await History(database).query(since_ms=START_MS + 1, until_ms=START_MS * 2, limit=9)

    assert len(page.events) == 1
