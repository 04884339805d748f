"""Aggregation groups: what is told when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.model import Alert
from alerts.notify.channel import LogChannel
from alerts.notify.log import NotificationLog
from alerts.routing.groups import (
    AggregationGroup,
    Flush,
    Moment,
    group_labels,
    merge,
    sort_alerts,
)
from alerts.routing.model import Route
from alerts.series.labels import Labels
from tests.support.alerts import START_MS, make_alert

ROUTE = Route("log", ("alertname",))


def flush(group: AggregationGroup, log: NotificationLog, now_ms: int, **options: bool) -> Flush:
    """Flush a group as if what it tells was committed."""
    channel = LogChannel("log")
    channel.sends_resolved = options.get("sends_resolved", True)
    found = group.flush([channel], Moment(now_ms, log, lambda: f"n{now_ms}"))
    for entry in found.entries:
        log.put(entry)
    group.settle(found)
    return found


def told(found: Flush) -> list[str]:
    """Return who is told about: capital letters fire, small ones ended."""
    return [
        "".join(
            alert.labels["a"].lower() if alert.ends_at_ms is not None else alert.labels["a"]
            for alert in notification.alerts
        )
        for notification in found.notifications
    ]


@pytest.mark.parametrize(
    ("group_by", "labels"),
    [
        ((), {}),
        (("alertname",), {"alertname": "Down"}),
        (("alertname", "missing"), {"alertname": "Down"}),
        (("...",), {"alertname": "Down", "job": "a"}),
    ],
)
def test_group_labels(group_by: tuple[str, ...], labels: dict[str, str]) -> None:
    """group_by picks labels, '...' all of them."""
    found = group_labels(Route("log", group_by), Labels({"alertname": "Down", "job": "a"}))

    assert found == Labels(labels)


def test_key() -> None:
    """Group keys are written as Alertmanager writes them."""
    labels = Labels({"alertname": "Down", "job": "a"})

    assert AggregationGroup(ROUTE, labels).key == '{}:{alertname="Down", job="a"}'
    assert AggregationGroup(ROUTE, Labels()).key == "{}:{}"


def test_told_once_then_changes() -> None:
    """A group tells what is new, what ended, and otherwise nothing."""
    group, log = AggregationGroup(ROUTE, Labels()), NotificationLog()
    group.add(make_alert(a="A"))
    first = flush(group, log, START_MS)
    second = flush(group, log, START_MS + 1)
    group.add(make_alert(a="B"))
    third = flush(group, log, START_MS + 2)
    group.add(make_alert(ends_at_ms=START_MS + 3, a="A"))
    fourth = flush(group, log, START_MS + 3)
    group.add(make_alert(ends_at_ms=START_MS + 4, a="B"))
    fifth = flush(group, log, START_MS + 4)

    assert [told(item) for item in (first, second, third, fourth, fifth)] == [
        ["A"],
        [],
        ["AB"],
        ["aB"],
        ["b"],
    ]
    assert group.alerts == ()


def test_fires_and_ends_before_the_flush() -> None:
    """What fired and ended before the first flush is never told."""
    group, log = AggregationGroup(ROUTE, Labels()), NotificationLog()
    group.add(make_alert(a="A"))
    group.add(make_alert(ends_at_ms=START_MS + 1, a="A"))

    assert told(flush(group, log, START_MS + 2)) == []
    assert group.alerts == ()


def test_repeat() -> None:
    """What goes on firing is told again when the repeat interval has passed."""
    route = replace(ROUTE, repeat_interval_s=10.0)
    group, log = AggregationGroup(route, Labels()), NotificationLog()
    group.add(make_alert(a="A"))

    found = [told(flush(group, log, START_MS + second * 1000)) for second in (0, 5, 9, 10, 19, 20)]

    assert found == [["A"], [], [], ["A"], [], ["A"]]


def test_without_resolved() -> None:
    """A channel that wants no ended alerts is told of none, and the log still knows."""
    group, log = AggregationGroup(ROUTE, Labels()), NotificationLog()
    group.add(make_alert(a="A"))
    first = flush(group, log, START_MS, sends_resolved=False)
    group.add(make_alert(ends_at_ms=START_MS + 1, a="A"))
    second = flush(group, log, START_MS + 1, sends_resolved=False)
    group.add(make_alert(START_MS + 2, a="A"))
    third = flush(group, log, START_MS + 2, sends_resolved=False)

    assert [told(first), told(second), told(third)] == [["A"], [], ["A"]]
    assert len(second.entries) == 1


def test_news_during_the_commit() -> None:
    """An ended alert that fires again while its end is committed is not forgotten."""
    group, log = AggregationGroup(ROUTE, Labels()), NotificationLog()
    group.add(make_alert(ends_at_ms=START_MS + 1, a="A"))
    found = group.flush([LogChannel("log")], Moment(START_MS + 1, log, lambda: "n"))
    group.add(make_alert(START_MS + 2, a="A"))

    group.settle(found)

    assert group.alerts == (make_alert(START_MS + 2, a="A"),)


@pytest.mark.parametrize(
    ("known", "news", "starts_at_ms"),
    [
        (make_alert(10, 50), make_alert(20, 60), 10),
        (make_alert(10), make_alert(20, 60), 10),
        (make_alert(10, 15), make_alert(20, 60), 20),
        (make_alert(20, 60), make_alert(10, 70), 10),
    ],
)
def test_merge(known: Alert, news: Alert, starts_at_ms: int) -> None:
    """News keep the beginning of what had not ended, and win otherwise."""
    merged = merge(known, news)

    assert (merged.starts_at_ms, merged.ends_at_ms) == (starts_at_ms, news.ends_at_ms)


def test_sorted() -> None:
    """Alerts are sorted by job, instance, then all labels."""
    alerts = [make_alert(job=job, instance=host) for job in "ba" for host in "ba"]

    found = sort_alerts([*alerts, make_alert(alertname="Z")])

    assert [
        "".join(alert.labels.get(name, "-") for name in ("job", "instance")) for alert in found
    ] == [
        "--",
        "aa",
        "ab",
        "ba",
        "bb",
    ]


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.booleans(), st.booleans()), max_size=40))
def test_receiver_always_ends_up_right(steps: list[tuple[str, bool, bool]]) -> None:
    """Whatever happens, after a flush the receiver knows exactly what fires."""
    group, log = AggregationGroup(ROUTE, Labels()), NotificationLog()
    firing: set[str] = set()
    known: set[str] = set()
    for step, (name, fires, flushes) in enumerate(steps):
        now_ms = START_MS + step
        group.add(make_alert(now_ms, None if fires else now_ms, a=name))
        firing = firing | {name} if fires else firing - {name}
        if flushes:
            for notification in flush(group, log, now_ms).notifications:
                known = {
                    alert.labels["a"] for alert in notification.alerts if alert.ends_at_ms is None
                }

            assert known == firing
