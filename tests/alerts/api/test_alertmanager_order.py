"""The order of groups and alerts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.api.alertmanager_order import ordered_alerts, ordered_groups
from alerts.routing.views import GroupView
from alerts.series.labels import Labels
from tests.support.alertmanager import make_view

LABELS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"), max_size=3).map(Labels)


def is_before(one: Labels, other: Labels) -> bool:
    """Whether one set comes first, told as Alertmanager tells it: name by name of both sets."""
    if len(one) != len(other):
        return len(one) < len(other)
    for name in sorted({*one, *other}):
        if name not in one or name not in other:
            return name not in one
        if one[name] != other[name]:
            return one[name] < other[name]
    return False


@given(st.lists(LABELS, max_size=6))
def test_groups_by_their_labels(sets: list[Labels]):
    """No group stands behind one that it comes before."""
    found = ordered_groups(GroupView(labels, Labels(), "log", ()) for labels in sets)

    labels = [group.labels for group in found]
    pairs = [(one, other) for n, one in enumerate(labels) for other in labels[n:]]
    assert not any(is_before(other, one) for one, other in pairs)


def test_groups_of_the_same_labels():
    """Groups of the same labels come by receiver."""
    groups = [GroupView(Labels({"a": "b"}), Labels(), name, ()) for name in ("b", "a")]

    assert [group.receiver for group in ordered_groups(groups)] == ["a", "b"]


def test_alerts():
    """Alerts come by job and instance; those without a job or an instance come last."""
    views = [
        make_view(alertname="0"),
        make_view(alertname="1", instance="a"),
        make_view(alertname="2", job="b"),
        make_view(alertname="3", job="b", instance="b"),
        make_view(alertname="4", job="b", instance="a", more="x"),
        make_view(alertname="5", job="b", instance="a"),
        make_view(alertname="6", job="a"),
    ]

    names = [view.alert.labels["alertname"] for view in ordered_alerts(views)]

    assert names == ["6", "5", "4", "3", "2", "1", "0"]
