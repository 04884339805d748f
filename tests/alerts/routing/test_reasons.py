"""When a channel has to be told, and why."""

from __future__ import annotations

import pytest

from alerts.notify.log import LogEntry
from alerts.routing.reasons import reason_to_notify
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, make_alert

A, B = make_alert(alertname="A"), make_alert(alertname="B")


def prints(names: str) -> frozenset[str]:
    """Return fingerprints of alerts named by letters."""
    return frozenset({"A": A, "B": B}[name].fingerprint for name in names)


def entry(firing: str = "", resolved: str = "") -> LogEntry:
    """Return what a channel was last told; alerts are named by letters."""
    told = tuple({"A": A, "B": B}[name] for name in firing)
    return LogEntry(
        "g", "ops/webhook/0", "n1", START_MS, START_MS + 10, Labels(), told, prints(resolved)
    )


@pytest.mark.parametrize(
    ("known", "firing", "resolved", "sends_resolved", "repeat_due", "wanted"),
    [
        (None, "A", "", True, False, "first notification"),
        (None, "", "A", True, False, None),
        (None, "", "", True, True, None),
        (entry("A"), "A", "", True, False, None),
        (entry("A"), "AB", "", True, False, "new alerts added"),
        (entry("AB"), "A", "", True, False, None),
        (entry("AB"), "A", "B", True, False, "some alerts resolved"),
        (entry("AB"), "A", "B", False, False, None),
        (entry("A", "B"), "A", "B", True, False, None),
        (entry("A"), "", "A", True, False, "all alerts resolved"),
        (entry("A"), "", "A", False, False, "all alerts resolved"),
        (entry("", "A"), "", "A", True, False, None),
        (entry("", "A"), "", "A", True, True, None),
        (entry("A"), "A", "", True, True, "repeat interval elapsed"),
    ],
)
def test_reasons(
    known: LogEntry | None,
    firing: str,
    resolved: str,
    sends_resolved: bool,
    repeat_due: bool,
    wanted: str | None,
) -> None:
    """New alerts, ended alerts and the repeat interval are told, what is known is not."""
    found = reason_to_notify(
        known,
        firing=prints(firing),
        resolved=prints(resolved),
        sends_resolved=sends_resolved,
        repeat_due=repeat_due,
    )

    assert found == wanted
