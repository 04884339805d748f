"""The outbox and the notification log in the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from alerts.notify import outbox as outbox_module
from alerts.notify.errors import FailureReason
from alerts.notify.log import LogEntry
from alerts.notify.outbox import Outbox
from alerts.series.labels import Labels
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from tests.support.alerts import START_MS, make_alert, make_notification


@pytest.fixture
async def outbox(storage_url: str) -> AsyncIterator[Outbox]:
    """An empty outbox."""
    async with Database(storage_url) as database:
        yield Outbox(database)


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

    await outbox.remove(first)
    await outbox.remove(first)

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
