"""The order in which Alertmanager's API has groups and the alerts in them.

Source: Alertmanager, dispatch/dispatch.go (AlertGroups), alert/alert.go (AlertSlice);
prometheus/common, model/labelset.go (Before).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cmp_to_key

from alerts.routing.views import AlertView, GroupView
from alerts.series.labels import Labels


def ordered_groups(groups: Iterable[GroupView]) -> list[GroupView]:
    """Return groups by their labels, then by receiver."""
    return sorted(groups, key=lambda group: (_rank(group.labels), group.receiver))


def ordered_alerts(views: Iterable[AlertView]) -> list[AlertView]:
    """Return alerts by job, then by instance, then by all labels; those without come last."""

    def rank(view: AlertView) -> tuple[object, ...]:
        labels = view.alert.labels
        job, instance = labels.get("job"), labels.get("instance")
        return job is None, job or "", instance is None, instance or "", _rank(labels)

    return sorted(views, key=rank)


def _compare(one: Labels, other: Labels) -> int:
    if len(one) != len(other):
        return len(one) - len(other)
    for (name, value), (other_name, other_value) in zip(one.pairs, other.pairs, strict=True):
        if name != other_name:
            return 1 if name < other_name else -1  # a label that is absent comes first
        if value != other_value:
            return -1 if value < other_value else 1
    return 0


_rank = cmp_to_key(_compare)
