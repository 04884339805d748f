"""The dispatcher: sorts alerts into groups and, when a group is due, hands on what to tell.

One task flushes: it takes every group that is due and commits what they have to tell in one
transaction. A group whose commit failed keeps its alerts and is tried again an interval later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import TracebackType
from typing import Self
from uuid import UUID

from opentelemetry.trace import SpanContext

from alerts.clock import Clock, Timer
from alerts.model import Alert
from alerts.notify.channel import Channel
from alerts.notify.log import NotificationLog
from alerts.notify.notification import Notification, trace_parent_of
from alerts.notify.outbox import Outbox
from alerts.routing.groups import AggregationGroup, Flush, group_labels
from alerts.routing.model import RoutingConfig
from alerts.storage.errors import StorageError

_log = logging.getLogger(__name__)


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
        clock: Tells when groups are due.
        random: Makes the ids of notifications.
    """

    channels: Mapping[str, Sequence[Channel]]
    outbox: Outbox
    log: NotificationLog
    submit: Callable[[Sequence[Notification]], None]
    clock: Clock
    random: Random


class Dispatcher:
    """Groups alerts and tells about them; an async context manager.

    Entering takes up the groups an earlier process left: alerts it had told as firing are held
    to fire until ``resolve_timeout`` from now, by when their rules will have spoken.
    """

    def __init__(self, routing: RoutingConfig, context: DispatcherContext) -> None:
        self.stats = DispatcherStats()
        self._routing = routing
        self._context = context
        self._groups: dict[str, _Scheduled] = {}
        self._due: dict[str, _Scheduled] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def groups(self) -> tuple[AggregationGroup, ...]:
        """The groups there are now."""
        return tuple(scheduled.group for scheduled in self._groups.values())

    async def __aenter__(self) -> Self:
        self._restore()
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
        now_ms = self._now_ms()
        self.stats.alerts_received += len(alerts)
        for alert in alerts:
            if alert.ends_at_ms is None:
                until_ms = now_ms + round(self._routing.resolve_timeout_s * 1000)
                self._add(replace(alert, ends_at_ms=until_ms), now_ms, trace_parent)
            else:
                self._add(alert, now_ms, trace_parent)

    def _add(self, alert: Alert, now_ms: int, trace_parent: str) -> None:
        route = self._routing.route
        group = AggregationGroup(route, group_labels(route, alert.labels))
        scheduled = self._groups.get(group.key)
        if scheduled is None:
            if alert.is_resolved(now_ms):
                return  # its group is gone, so its end was told or nobody knew of it
            scheduled = self._groups[group.key] = _Scheduled(group)
            self._arm(scheduled, route.group_wait_s)
        group = scheduled.group
        group.add(alert)
        group.trace_parent = trace_parent or group.trace_parent
        waited_ms = now_ms - alert.starts_at_ms
        if not group.has_flushed and waited_ms > route.group_wait_s * 1000:
            self._arm(scheduled, 0.0)

    def _restore(self) -> None:
        now_ms = self._now_ms()
        route = self._routing.route
        held_until_ms = now_ms + round(self._routing.resolve_timeout_s * 1000)
        channels = {channel.key for channel in self._context.channels.get(route.receiver, ())}
        for entry in self._context.log:
            group = AggregationGroup(route, entry.group_labels)
            if group.key != entry.group_key or entry.channel not in channels or not entry.firing:
                continue
            scheduled = self._groups.get(group.key)
            if scheduled is None:
                scheduled = self._groups[group.key] = _Scheduled(group)
                group.has_flushed = True
                self._arm(scheduled, route.group_interval_s)
            for alert in entry.firing:
                scheduled.group.add(replace(alert, ends_at_ms=held_until_ms))

    def _arm(self, scheduled: _Scheduled, delay_s: float) -> None:
        scheduled.cancel()
        scheduled.timer = self._context.clock.call_later(delay_s, lambda: self._on_due(scheduled))

    def _on_due(self, scheduled: _Scheduled) -> None:
        if self._is_stopping:
            return
        self._arm(scheduled, self._routing.route.group_interval_s)
        self._due[scheduled.group.key] = scheduled
        self._wake.set()

    async def _run(self) -> None:
        while not self._is_stopping:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, {}
            if not due:
                continue
            try:
                await self._flush(list(due.values()))
            except Exception:  # noqa: BLE001 - supervises the task; see below
                # A defect must not end notification for good: the groups come again an interval
                # later.
                _log.exception("%d group(s) of alerts could not be looked at", len(due))
                self.stats.flushes_failed += len(due)

    async def _flush(self, due: list[_Scheduled]) -> None:
        now_ms = self._now_ms()
        context = self._context
        context.log.expire(now_ms)
        channels = context.channels.get(self._routing.route.receiver, ())
        flushes = [
            (item, item.group.flush(channels, context.log, now_ms=now_ms, new_id=self._new_id))
            for item in due
        ]
        notifications = [item for _, flush in flushes for item in flush.notifications]
        entries = [entry for _, flush in flushes for entry in flush.entries]
        try:
            if entries:
                await context.outbox.commit(notifications, entries)
        except StorageError as error:
            self.stats.flushes_failed += len(due)
            _log.error("%d group(s) of alerts must wait: %s", len(due), error)
            return
        self.stats.flushes += len(due)
        for entry in entries:
            context.log.put(entry)
        context.submit(notifications)
        for scheduled, flush in flushes:
            self._settle(scheduled, flush)

    def _settle(self, scheduled: _Scheduled, flush: Flush) -> None:
        group = scheduled.group
        group.settle(flush)
        if not group.alerts:
            scheduled.cancel()
            self._groups.pop(group.key, None)

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
