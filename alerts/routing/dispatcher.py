"""The dispatcher: sorts alerts into groups and, when a group is due, hands on what to tell.

One task does it all, in slices, so that the event loop gets its turn between them: it takes in
the alerts that came, then flushes the groups that are due and commits what they have to tell. An
alert that was handed in before a group became due is known when the group is looked at, so what
inhibits is known before what it inhibits is told. A group whose commit failed keeps its alerts and
is tried again soon.

Source: Alertmanager, dispatch/dispatch.go; the order of the stages is that of notify/notify.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from opentelemetry.trace import SpanContext

from alerts.clock import Clock, Timer
from alerts.model import Alert
from alerts.notify.channel import Channel
from alerts.notify.log import NotificationLog
from alerts.notify.notification import Notification, trace_parent_of
from alerts.notify.outbox import Outbox
from alerts.routing.active import ActiveAlerts
from alerts.routing.groups import AggregationGroup, Flush, Moment, group_labels
from alerts.routing.model import Route, RoutingConfig
from alerts.series.labels import Labels
from alerts.storage.errors import StorageError

_log = logging.getLogger(__name__)

_ALERTS_A_SLICE: Final = 200
"""Alerts taken in between two turns of the event loop."""
_FLUSHED_ALERTS_A_SLICE: Final = 500
"""About how many alerts the groups of one transaction hold."""
COMMIT_RETRY_S: Final = 5.0
"""When a group whose commit failed is tried again, unless its interval is shorter."""


@dataclass(slots=True)
class DispatcherStats:
    """Plain counts, read when metrics are collected."""

    alerts_received: int = 0
    flushes: int = 0
    flushes_failed: int = 0


@dataclass(frozen=True, slots=True)
class DispatcherContext:
    """What the dispatcher is handed.

    Attributes:
        channels: The channels of each receiver, by the receiver's name.
        outbox: Takes notifications in.
        log: What the channels were told; kept up to date here.
        submit: Takes notifications the outbox has committed.
        silencing: Returns the ids of the silences that fit labels at a moment.
        is_acknowledged: Whether somebody looks after an alert.
        is_waiting: Whether a channel has not accepted yet what it is told about a group, by keys.
        clock: Tells when groups are due.
        random: Makes the ids of notifications.
    """

    channels: Mapping[str, Sequence[Channel]]
    outbox: Outbox
    log: NotificationLog
    submit: Callable[[Sequence[Notification]], None]
    silencing: Callable[[Labels, int], tuple[str, ...]]
    is_acknowledged: Callable[[Alert], bool]
    is_waiting: Callable[[str, str], bool]
    clock: Clock
    random: Random


class Dispatcher:
    """Groups alerts and tells about them; an async context manager.

    Whoever starts it after another one, or another process, hands in what fires and what has
    ended lately before entering. What the log says was told as firing and nobody handed in has
    ended, and is told so. Groups that were told about go on in their rhythm.

    Attributes:
        active: The alerts that have not ended.
        stats: Plain counts.
    """

    def __init__(self, routing: RoutingConfig, context: DispatcherContext) -> None:
        self.active = ActiveAlerts(routing)
        self.stats = DispatcherStats()
        self._routing = routing
        self._context = context
        self._inbox: deque[tuple[Alert, str]] = deque()
        self._groups: dict[tuple[str, Labels], _Scheduled] = {}
        self._due: dict[tuple[str, Labels], _Scheduled] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def groups(self) -> tuple[AggregationGroup, ...]:
        """The groups there are now."""
        return tuple(scheduled.group for scheduled in self._groups.values())

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts of all groups, and those that are not sorted into one yet."""
        known = {held.alert.labels: held.alert for held in self.active}
        for scheduled in self._groups.values():
            known.update((alert.labels, alert) for alert in scheduled.group.alerts)
        return (*known.values(), *(alert for alert, _ in self._inbox))

    async def __aenter__(self) -> Self:
        self._end_forgotten()
        self._task = asyncio.create_task(self._run(), name="dispatch alerts")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for scheduled in self._groups.values():
            scheduled.cancel()
        # A commit in progress is let through: it is bounded by the database's busy timeout.
        self._is_stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def notify(self, alerts: Sequence[Alert], span_context: SpanContext | None = None) -> None:
        """Take alerts, new ones or news of known ones; never blocks. A ``NotifyFunc``."""
        trace_parent = trace_parent_of(span_context)
        self.stats.alerts_received += len(alerts)
        self._inbox.extend((alert, trace_parent) for alert in alerts)
        self._wake.set()

    def muting(self, route: Route) -> tuple[str, ...]:
        """Return the names of the time intervals that hold back all of a route now."""
        moment_ms = self._now_ms()

        def is_inside(name: str) -> bool:
            intervals = self._routing.time_intervals.get(name, ())
            return any(interval.contains(moment_ms) for interval in intervals)

        active = route.active_time_intervals
        if active and not any(map(is_inside, active)):
            return active
        return tuple(filter(is_inside, route.mute_time_intervals))

    async def _take_in(self) -> None:
        """Sort the alerts that came into groups."""
        while self._inbox and not self._is_stopping:
            now_ms = self._now_ms()
            for _ in range(min(len(self._inbox), _ALERTS_A_SLICE)):
                self._add(*self._inbox.popleft(), now_ms)
            await asyncio.sleep(0)  # the event loop's turn

    def _add(self, alert: Alert, trace_parent: str, now_ms: int) -> None:
        if alert.ends_at_ms is None:
            until_ms = now_ms + round(self._routing.resolve_timeout_s * 1000)
            alert = replace(alert, ends_at_ms=until_ms)
        held = self.active.put(alert, now_ms)
        for route in held.routes:
            self._add_to_group(route, held.alert, trace_parent, now_ms)

    def _add_to_group(self, route: Route, alert: Alert, trace_parent: str, now_ms: int) -> None:
        labels = group_labels(route, alert.labels)
        scheduled = self._groups.get((route.id, labels))
        if scheduled is None:
            scheduled = self._new_group(AggregationGroup(route, labels), alert, now_ms)
            if scheduled is None:
                return
        group = scheduled.group
        group.add(alert)
        group.trace_parent = trace_parent or group.trace_parent
        waited_ms = now_ms - alert.starts_at_ms
        if not group.has_flushed and waited_ms > route.group_wait_s * 1000:
            self._arm(scheduled, 0.0)

    def _new_group(self, group: AggregationGroup, alert: Alert, now_ms: int) -> _Scheduled | None:
        """Return a group for its first alert; None for one that ended and nobody believes in."""
        route = group.route
        told = [
            entry
            for channel in self._context.channels.get(route.receiver, ())
            if (entry := self._context.log.get(group.key, channel.key)) and entry.firing
        ]
        if not told:
            if alert.is_resolved(now_ms):
                return None  # its end was told, or nobody knew of it
            return self._schedule(group, route.group_wait_s)
        if alert.is_resolved(now_ms):
            mark = alert.fingerprint
            if not any(mark in entry.firing_fingerprints for entry in told):
                return None
        # It was told about before a start or a change of the routes: its rhythm goes on.
        group.has_flushed = True
        next_ms = max(entry.notified_at_ms for entry in told) + route.group_interval_s * 1000
        return self._schedule(
            group, min(max(0.0, (next_ms - now_ms) / 1000), route.group_interval_s)
        )

    def _end_forgotten(self) -> None:
        """Have ended what the log says was told as firing and nobody raises any more."""
        now_ms = self._now_ms()
        raised = {alert.labels for alert, _ in self._inbox}
        for entry in self._context.log:
            for alert in entry.firing:
                if alert.labels not in raised:
                    raised.add(alert.labels)
                    self._inbox.append((replace(alert, ends_at_ms=now_ms), ""))
        if self._inbox:
            self._wake.set()

    def _schedule(self, group: AggregationGroup, delay_s: float) -> _Scheduled:
        scheduled = self._groups[group.route.id, group.labels] = _Scheduled(group)
        self._arm(scheduled, delay_s)
        return scheduled

    def _arm(self, scheduled: _Scheduled, delay_s: float) -> None:
        scheduled.cancel()
        scheduled.timer = self._context.clock.call_later(delay_s, lambda: self._on_due(scheduled))

    def _on_due(self, scheduled: _Scheduled) -> None:
        if self._is_stopping:
            return
        self._arm(scheduled, scheduled.group.route.group_interval_s)
        self._due[scheduled.group.route.id, scheduled.group.labels] = scheduled
        self._wake.set()

    async def _run(self) -> None:
        while not self._is_stopping:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._take_in()
            except Exception:  # noqa: BLE001 - supervises the task: a defect must not end notification for good; the alert comes again with its rule's next news
                _log.exception("an alert could not be taken in")
                self._wake.set()
            due, self._due = self._due, {}
            self._context.log.expire(self._now_ms())
            for groups in _slices(due.values()):
                try:
                    await self._flush(groups)
                except Exception:  # noqa: BLE001 - supervises the task, see above; the groups come again an interval later
                    _log.exception("%d group(s) of alerts could not be looked at", len(groups))
                    self.stats.flushes_failed += len(groups)
            if due:
                self.active.prune(self._now_ms())

    async def _flush(self, due: list[_Scheduled]) -> None:
        context = self._context
        flushes = [(item, self._look_at(item.group)) for item in due]
        notifications = [item for _, flush in flushes for item in flush.notifications]
        entries = [entry for _, flush in flushes for entry in flush.entries]
        try:
            if entries:
                await context.outbox.commit(notifications, entries)
        except StorageError as error:
            self.stats.flushes_failed += len(due)
            _log.error("%d group(s) of alerts must wait: %s", len(due), error)
            for item in due:
                self._arm(item, min(COMMIT_RETRY_S, item.group.route.group_interval_s))
            return
        self.stats.flushes += len(due)
        for entry in entries:
            context.log.put(entry)
        context.submit(notifications)
        for scheduled, flush in flushes:
            self._settle(scheduled, flush)
        await asyncio.sleep(0)  # as a lot that told nothing has awaited nothing

    def _look_at(self, group: AggregationGroup) -> Flush:
        """Decide what to tell of a group: what is inhibited, muted or silenced is not."""
        context, now_ms = self._context, self._now_ms()
        is_muted = bool(self.muting(group.route))

        def is_held_back(alert: Alert) -> bool:
            return (
                is_muted
                or bool(self.active.inhibiting(alert.labels, now_ms))
                or bool(context.silencing(alert.labels, now_ms))
            )

        return group.flush(
            context.channels.get(group.route.receiver, ()),
            Moment(
                now_ms,
                context.log,
                self._new_id,
                is_held_back,
                context.is_acknowledged,
                context.is_waiting,
            ),
        )

    def _settle(self, scheduled: _Scheduled, flush: Flush) -> None:
        group = scheduled.group
        group.settle(flush)
        if not group.alerts:
            scheduled.cancel()
            key = group.route.id, group.labels
            # The commit may have taken so long that the group came up again meanwhile.
            for known in (self._groups, self._due):
                if known.get(key) is scheduled:
                    del known[key]

    def _now_ms(self) -> int:
        return int(self._context.clock.time() * 1000)

    def _new_id(self) -> str:
        return str(UUID(int=self._context.random.getrandbits(128), version=4))


@dataclass(slots=True)
class _Scheduled:
    """A group and the timer that makes it due."""

    group: AggregationGroup
    timer: Timer | None = None

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def _slices(groups: Iterable[_Scheduled]) -> Iterator[list[_Scheduled]]:
    """Yield groups in lots that are looked at and committed together."""
    lot: list[_Scheduled] = []
    size = 0
    for scheduled in groups:
        lot.append(scheduled)
        size += len(scheduled.group.alerts)
        if size >= _FLUSHED_ALERTS_A_SLICE:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot
