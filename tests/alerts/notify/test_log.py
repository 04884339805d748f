"""What channels were told, and what is left of it when they refuse."""

from __future__ import annotations

from dataclasses import replace

from alerts.notify.log import LogEntry, NotificationLog, after_refusal
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


def test_refused() -> None:
    """Only the entry of that very notification is taken back; what was known before stays known."""
    log = NotificationLog([entry("AB", notification_id="n2")])

    log.refuse(make_notification("n1"))
    assert [each.notification_id for each in log] == ["n2"]
    log.refuse(make_notification("n2", alerts=(A, B), believed=(A.fingerprint,)))
    (left,) = log
    assert (left.firing, left.resolved, left.notified_at_ms) == ((A,), frozenset(), 0)
    log.refuse(make_notification("n2"))

    assert list(log) == []


def test_a_refused_end() -> None:
    """Who refuses to hear of an end still believes the alert to fire."""
    ended = replace(A, ends_at_ms=START_MS)
    refused = make_notification("n1", alerts=(ended,), believed=(A.fingerprint,))

    left = after_refusal(entry("", "A"), refused)

    assert left is not None and left.firing == (A,)


def test_expire() -> None:
    """Entries are forgotten at their time."""
    log = NotificationLog([entry("A")])

    log.expire(START_MS + 9)
    assert len(log) == 1
    log.expire(START_MS + 10)

    assert len(log) == 0
