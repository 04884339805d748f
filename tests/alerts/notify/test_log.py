"""When a channel has to be told: the rules of the notification log."""

from __future__ import annotations

import pytest

from alerts.notify.log import LogEntry, NotificationLog, needs_update
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, make_alert, make_notification

A, B = make_alert(alertname="A"), make_alert(alertname="B")


def entry(firing: str = "", resolved: str = "", notification_id: str = "n1") -> LogEntry:
    """Return an entry; alerts are named by letters."""
    alerts = {"A": A, "B": B}
    return LogEntry(
        "g",
        "ops/webhook/0",
        notification_id,
        START_MS,
        START_MS + 10,
        Labels(),
        tuple(alerts[name] for name in firing),
        prints(resolved),
    )


def prints(names: str) -> frozenset[str]:
    """Return fingerprints of alerts named by letters."""
    return frozenset({"A": A, "B": B}[name].fingerprint for name in names)


@pytest.mark.parametrize(
    ("known", "firing", "resolved", "sends_resolved", "repeat_due", "wanted"),
    [
        (None, "A", "", True, False, True),
        (None, "", "A", True, False, False),
        (None, "", "", True, True, False),
        (entry("A"), "A", "", True, False, False),
        (entry("A"), "AB", "", True, False, True),
        (entry("AB"), "A", "", True, False, False),
        (entry("AB"), "A", "B", True, False, True),
        (entry("AB"), "A", "B", False, False, False),
        (entry("A", "B"), "A", "B", True, False, False),
        (entry("A"), "", "A", True, False, True),
        (entry("A"), "", "A", False, False, True),
        (entry("", "A"), "", "A", True, False, False),
        (entry("", "A"), "", "A", True, True, False),
        (entry("A"), "A", "", True, True, True),
    ],
)
def test_needs_update(
    known: LogEntry | None,
    firing: str,
    resolved: str,
    sends_resolved: bool,
    repeat_due: bool,
    wanted: bool,
) -> None:
    """New alerts, ended alerts and the repeat interval are told, what is known is not."""
    found = needs_update(
        known,
        firing=prints(firing),
        resolved=prints(resolved),
        sends_resolved=sends_resolved,
        repeat_due=repeat_due,
    )

    assert found is wanted


def test_forget() -> None:
    """Only the entry of that very notification is forgotten."""
    log = NotificationLog([entry("A", notification_id="n2")])

    log.forget(make_notification("n1"))
    assert len(log) == 1
    log.forget(make_notification("n2"))

    assert list(log) == []


def test_expire() -> None:
    """Entries are forgotten at their time."""
    log = NotificationLog([entry("A")])

    log.expire(START_MS + 9)
    assert len(log) == 1
    log.expire(START_MS + 10)

    assert len(log) == 0
