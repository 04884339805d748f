"""What a request to the Alertmanager API wants to see: the filters in its query.

Source: Alertmanager, api/v2/api.go (alertFilter, parseFilter), api/v2/openapi.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.api.alertmanager_answers import NamedReceiver
from alerts.api.alertmanager_fields import BadRequestError
from alerts.api.parameters import TIME_BOUND_MS, Parameters
from alerts.errors import AlertsError
from alerts.routing.model import matches_all
from alerts.routing.silence import SilenceState
from alerts.routing.views import AlertView, GroupView
from alerts.series.labels import Labels, quote
from alerts.series.matchers import Matcher, compile_regex

ParseMatchers = Callable[[str], tuple[Matcher, ...]]
"""Reads Alertmanager's notation of matchers; raises a ValueError or an AlertsError."""

HISTORY_LIMIT: Final = 100
"""Events of the history in one answer where the request does not say."""

MAX_HISTORY_LIMIT: Final = 1000
"""Events of the history in one answer."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are wanted.

    Attributes:
        active: Whether those that nothing holds back are.
        silenced: Whether those that silences hold back are.
        inhibited: Whether those that other alerts hold back are.
        unprocessed: Whether those that routing has not looked at are.
        muted: Whether groups that time intervals hold back are.
        matchers: What the labels must satisfy.
        receivers: One of each of these sets must be among the receivers.
    """

    active: bool
    silenced: bool
    inhibited: bool
    unprocessed: bool
    muted: bool
    matchers: tuple[Matcher, ...]
    receivers: tuple[frozenset[str], ...]

    def takes(self, view: AlertView, now_ms: int) -> bool:
        """Whether an alert is wanted, whoever its receivers are; one that has ended is not."""
        ends_at_ms, status = view.alert.ends_at_ms, view.status
        if ends_at_ms is not None and ends_at_ms < now_ms:
            return False
        hidden = (
            (status.state == "active" and not self.active)
            or (status.state == "unprocessed" and not self.unprocessed)
            or (status.silenced_by and not self.silenced)
            or (status.inhibited_by and not self.inhibited)
        )
        return not hidden and matches_all(self.matchers, view.alert.labels)

    def takes_receivers(self, names: Iterable[str]) -> bool:
        """Whether these receivers are wanted."""
        given = frozenset(names)
        return not any(wanted.isdisjoint(given) for wanted in self.receivers)

    def takes_group(self, group: GroupView) -> bool:
        """Whether a group is wanted, apart from its alerts."""
        is_muted = any(view.status.muted_by for view in group.alerts)
        return self.takes_receivers((group.receiver,)) and (self.muted or not is_muted)


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which part of the history is wanted.

    Attributes:
        since_ms: The earliest moment, in Unix milliseconds.
        until_ms: The moment that ends it, exclusive.
        fingerprint: Of the only alert that is wanted; None: any.
        kinds: What may have happened; empty: anything.
        matchers: What the labels must satisfy.
        limit: How many events, at most.
        before: The ``next`` of the page in front; None for the first.
    """

    since_ms: int
    until_ms: int
    fingerprint: str | None
    kinds: tuple[str, ...]
    matchers: tuple[Matcher, ...]
    limit: int
    before: str | None


def read_alert_filter(
    parameters: Parameters, parse_matchers: ParseMatchers, receivers: Sequence[NamedReceiver]
) -> AlertFilter:
    """Return what a request for alerts or groups wants.

    Args:
        parameters: Of the request.
        parse_matchers: Reads matchers.
        receivers: All there are.

    Raises:
        BadRequestError: A matcher or a regular expression is none.
        APIError: A flag is neither true nor false.
    """
    return AlertFilter(
        active=_flag(parameters, "active"),
        silenced=_flag(parameters, "silenced"),
        inhibited=_flag(parameters, "inhibited"),
        unprocessed=_flag(parameters, "unprocessed"),
        muted=_flag(parameters, "muted"),
        matchers=read_matchers(parameters, "filter", parse_matchers),
        receivers=_wanted_receivers(parameters, parse_matchers, receivers),
    )


def read_states(parameters: Parameters) -> frozenset[SilenceState]:
    """Return the states of silences that are wanted.

    Raises:
        APIError: A flag is neither true nor false.
    """
    return frozenset(state for state in SilenceState if _flag(parameters, state.value))


def read_matchers(
    parameters: Parameters, name: str, parse_matchers: ParseMatchers
) -> tuple[Matcher, ...]:
    """Return the matchers of a parameter that may come several times.

    Raises:
        BadRequestError: One is none.
    """
    found: list[Matcher] = []
    for text in parameters.texts(name):
        try:
            matchers = parse_matchers(text)
        except (ValueError, AlertsError) as error:
            raise BadRequestError(f"bad matcher format: {text}: {error}") from None
        if not matchers:
            raise BadRequestError(f"bad matcher format: {quote(text)} has no matcher")
        found += matchers
    return tuple(found)


def with_labels(
    receivers: Sequence[NamedReceiver], matchers: Collection[Matcher]
) -> list[NamedReceiver]:
    """Return the receivers whose labels satisfy all matchers."""
    return [each for each in receivers if matches_all(matchers, Labels(each.labels))]


def read_history_query(
    parameters: Parameters, parse_matchers: ParseMatchers, kinds: Collection[str]
) -> HistoryQuery:
    """Return the part of the history that a request wants.

    Args:
        parameters: Of the request.
        parse_matchers: Reads matchers.
        kinds: What can happen.

    Raises:
        BadRequestError: A matcher is none, a kind is unknown, or the limit is out of bounds.
        APIError: A time or a number is none.
    """
    wanted = tuple(parameters.texts("kind"))
    for kind in wanted:
        if kind not in kinds:
            raise BadRequestError(f"kind: {quote(kind)} is none of {', '.join(sorted(kinds))}")
    limit = parameters.number("limit", HISTORY_LIMIT)
    if not 1 <= limit <= MAX_HISTORY_LIMIT:
        raise BadRequestError(f"limit must be from 1 to {MAX_HISTORY_LIMIT}, not {limit}")
    return HistoryQuery(
        since_ms=parameters.bound_ms("since", -TIME_BOUND_MS),
        until_ms=parameters.bound_ms("until", TIME_BOUND_MS),
        fingerprint=parameters.text("fingerprint") or None,
        kinds=wanted,
        matchers=read_matchers(parameters, "filter", parse_matchers),
        limit=limit,
        before=parameters.text("before") or None,
    )


def _flag(parameters: Parameters, name: str) -> bool:
    return parameters.flag(name) if parameters.text(name) else True


def _wanted_receivers(
    parameters: Parameters, parse_matchers: ParseMatchers, receivers: Sequence[NamedReceiver]
) -> tuple[frozenset[str], ...]:
    wanted = []
    if pattern := parameters.text("receiver"):
        try:
            is_wanted = compile_regex(pattern)
        except ValueError as error:
            raise BadRequestError(f"failed to parse receiver param: {error}") from None
        wanted.append(frozenset(each.name for each in receivers if is_wanted(each.name)))
    if matchers := read_matchers(parameters, "receiver_matchers", parse_matchers):
        wanted.append(frozenset(each.name for each in with_labels(receivers, matchers)))
    return tuple(wanted)
