"""What an Alertmanager configuration says: routes, receivers, inhibition, time intervals.

Values only; ``config`` reads them from a file, ``dispatcher`` acts on them.

Source: Alertmanager documentation, "Configuration"; dispatch/route.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from alerts.notify.channel_config import ChannelConfig
from alerts.notify.templates import TemplateLibrary
from alerts.routing.intervals import TimeInterval
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher

ALL_LABELS: Final = "..."
"""In ``group_by``: every alert is a group of its own."""


def matches_all(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether labels satisfy every matcher; a label that is absent has the empty value."""
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)


@dataclass(frozen=True, slots=True)
class Route:
    """Where alerts go and how they are gathered. Durations in seconds.

    Attributes:
        receiver: Name of the receiver.
        group_by: Labels whose values make a group; ``("...",)``: all labels.
        group_wait_s: How long a new group waits for more alerts before it is told.
        group_interval_s: How often a group is looked at after that.
        repeat_interval_s: How long until something unchanged is told again.
        matchers: What an alert must satisfy to come here; none for the root.
        continues: Whether siblings behind this route are tried when it matched.
        mute_time_intervals: Names of the intervals in which nothing is told.
        active_time_intervals: Names of the intervals outside of which nothing is told.
        labels: Templates by name, handed to receivers beside the alerts.
        routes: Children, tried in order.
        path: The route's place in the tree as Alertmanager writes it in group keys.
        id: Unique in the tree.
    """

    receiver: str
    group_by: tuple[str, ...] = ()
    group_wait_s: float = 30.0
    group_interval_s: float = 300.0
    repeat_interval_s: float = 4 * 3600.0
    matchers: tuple[Matcher, ...] = ()
    continues: bool = False
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    routes: tuple[Route, ...] = ()
    path: str = "{}"
    id: str = "{}"

    def matching(self, labels: Labels) -> tuple[Route, ...]:
        """Return the routes an alert takes, depth first; none when it does not come here."""
        if not matches_all(self.matchers, labels):
            return ()
        found: list[Route] = []
        for child in self.routes:
            taken = child.matching(labels)
            found += taken
            if taken and not child.continues:
                break
        return tuple(found) or (self,)

    def walk(self) -> Iterator[Route]:
        """Yield this route and all below it, parents first."""
        yield self
        for child in self.routes:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """While a source fires, targets with the same values of ``equal`` are not told.

    Attributes:
        source_matchers: Which alerts inhibit.
        target_matchers: Which alerts are inhibited.
        equal: Labels whose values must be the same in both.
        name: For people; may be empty.
    """

    source_matchers: tuple[Matcher, ...]
    target_matchers: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told.

    Attributes:
        name: Unique.
        channels: Its channels; none at all is a receiver that drops what it gets.
        logs: Whether alerts are written to the log.
        labels: Texts by name, for people and the API.
    """

    name: str
    channels: tuple[ChannelConfig, ...] = ()
    logs: bool = False
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """All of the file.

    Attributes:
        route: The root route.
        receivers: By name.
        resolve_timeout_s: When an alert ends whose end nobody said, in seconds.
        inhibit_rules: In file order.
        time_intervals: By name; a moment is inside when one of the intervals contains it.
        templates: The texts of notifications, those of the files included.
        original: The file with its secrets hidden, valid for Alertmanager's own tools.
    """

    route: Route
    receivers: dict[str, Receiver] = field(default_factory=dict)
    resolve_timeout_s: float = 300.0
    inhibit_rules: tuple[InhibitRule, ...] = ()
    time_intervals: Mapping[str, tuple[TimeInterval, ...]] = field(default_factory=dict)
    templates: TemplateLibrary = field(default_factory=TemplateLibrary)
    original: str = "route:\n  receiver: log\nreceivers:\n  - name: log\n"


def log_routing() -> RoutingConfig:
    """Return what is used without a file: every alert is written to the log."""
    return RoutingConfig(
        Route("log", group_by=(ALL_LABELS,), group_wait_s=0.0),
        {"log": Receiver("log", logs=True)},
    )
