"""The tree of routes, read from a file: what each says itself and what it takes from above.

Receiver, grouping, waits and labels are taken from the parent where a route says nothing; time
intervals are not.

Source: Alertmanager, config/config.go (Route) and dispatch/route.go (NewRoute, Key, ID).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from alerts.routing.matcher_reader import MATCHER_KEYS, read_matchers
from alerts.routing.matchers import format_matchers, is_label_name
from alerts.routing.model import ALL_LABELS, Route
from alerts.routing.reading import placed_texts, undefined
from alerts.sections import Keys, Section

_INTERVAL_KEYS: Final = ("mute_time_intervals", "active_time_intervals")
_KEYS: Final = Keys(
    (
        *("receiver", "group_by", "group_wait", "group_interval", "repeat_interval"),
        *("labels", "continue", "routes"),
        *MATCHER_KEYS,
        *_INTERVAL_KEYS,
    )
)


@dataclass(frozen=True, slots=True)
class DefinedNames:
    """What routes can refer to.

    Attributes:
        receivers: Names of receivers.
        intervals: Names of time intervals.
    """

    receivers: Collection[str]
    intervals: Collection[str]


def read_root_route(section: Section, names: DefinedNames) -> Route:
    """Return the tree of routes; what is wrong with it is reported to the section.

    Args:
        section: The root route.
        names: What its routes may refer to.
    """
    section.check_keys(_KEYS, "a route")
    receiver = section.required_text("receiver")
    for key in (*MATCHER_KEYS, *_INTERVAL_KEYS):
        if section.data.get(key):
            message = f"the root route takes every alert at any time, so it cannot have {key}"
            section.report(key, message, of_key=True)
    if section.data.get("continue") is True:
        section.report("continue", "continue has no meaning in the root route; remove it")
    return _route(section, names, Route(receiver))


def _route(
    section: Section, names: DefinedNames, above: Route, position: int | None = None
) -> Route:
    """Return a route and all below it.

    Args:
        section: What it says itself.
        names: What it may refer to.
        above: Its parent; for the root route, what holds where it says nothing.
        position: Its index among its siblings, None for the root route.
    """
    matchers = () if position is None else read_matchers(section)
    shown = format_matchers(matchers)
    route = Route(
        receiver=above.receiver if position is None else _receiver(section, above),
        group_by=_group_by(section) if section.has("group_by") else above.group_by,
        group_wait_s=section.duration("group_wait", above.group_wait_s),
        group_interval_s=section.positive_duration("group_interval", above.group_interval_s),
        repeat_interval_s=section.positive_duration("repeat_interval", above.repeat_interval_s),
        matchers=matchers,
        continues=section.flag("continue", default=False),
        mute_time_intervals=_intervals(section, "mute_time_intervals", names),
        active_time_intervals=_intervals(section, "active_time_intervals", names),
        labels=_labels(section, above),
        path=shown if position is None else f"{above.path}/{shown}",
        id=shown if position is None else f"{above.id}/{shown}/{position}",
    )
    if section.has("receiver") and route.receiver:
        _check_receiver(section, route.receiver, names)
    children = section.sections("routes", _KEYS, "a route")
    return replace(
        route,
        routes=tuple(_route(child, names, route, index) for index, child in enumerate(children)),
    )


def _receiver(section: Section, above: Route) -> str:
    return section.text("receiver") or above.receiver


def _check_receiver(section: Section, receiver: str, names: DefinedNames) -> None:
    if receiver not in names.receivers:
        section.report("receiver", undefined("receiver", receiver, names.receivers))


def _group_by(section: Section) -> tuple[str, ...]:
    found: list[str] = []
    for placed in placed_texts(section, "group_by"):
        if placed.text in found:
            placed.report(f"the label {placed.text!r} stands here twice")
        elif not is_label_name(placed.text):
            placed.report(f"{placed.text!r} cannot be the name of a label")
        else:
            found.append(placed.text)
    if ALL_LABELS in found and len(found) > 1:
        section.report("group_by", "'...' groups by all labels and must stand alone")
    return tuple(found)


def _intervals(section: Section, key: str, names: DefinedNames) -> tuple[str, ...]:
    found: list[str] = []
    for placed in placed_texts(section, key):
        if placed.text not in names.intervals:
            placed.report(undefined("time interval", placed.text, names.intervals))
        found.append(placed.text)
    return tuple(found)


def _labels(section: Section, above: Route) -> tuple[tuple[str, str], ...]:
    own = section.text_map("labels")
    for name in own:
        if not is_label_name(name):
            section.report("labels", f"{name!r} cannot be the name of a label")
    return tuple(sorted({**dict(above.labels), **own}.items()))
