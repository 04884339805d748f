"""Delivery: one worker per channel takes notifications out of the outbox until they are accepted.

A channel that hangs or fails holds up nobody else. Within a channel several aggregation groups are
told at a time; one that fails does not hold up the others, and the notifications of a group keep
their order.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Status, StatusCode, set_span_in_context

from alerts.clock import Clock
from alerts.notify.channel import Channel
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.log import NotificationLog
from alerts.notify.notification import Notification, span_context_of
from alerts.notify.outbox import Outbox
from alerts.notify.pacing import Paced
from alerts.spans import NOTIFY
from alerts.storage.errors import StorageError
from alerts.telemetry import AlertsTelemetry

_log = logging.getLogger(__name__)

CLOSE_DEADLINE_S: Final = 5.0
"""How long attempts in progress may go on when delivery stops, in seconds."""


_UNANSWERED: Final = frozenset((FailureReason.NETWORK, FailureReason.TIMEOUT))

MAX_ATTEMPTS_AT_A_TIME: Final = 8
"""How many groups one channel is told about at a time."""

MAX_RETRY_AFTER_S: Final = 3600.0
"""The longest that a receiver's ``Retry-After`` is honoured for, in seconds."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter.

    Attributes:
        base_s: Upper limit of the first delay, in seconds.
        cap_s: Upper limit of any delay.

    Source: Amazon Builders' Library, "Timeouts, retries and backoff with jitter".
    """

    base_s: float = 1.0
    cap_s: float = 60.0

    def delay_s(self, failures: int, random: Random) -> float:
        """Return how long to wait after so many failures in a row, counted from 1."""
        # The exponent is bounded before the power is taken: an outage can last for days.
        return random.uniform(0, min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60)))


@dataclass(slots=True)
class ReceiverStats:
    """Plain counts of one receiver, read when metrics are collected."""

    delivered: int = 0
    retries: int = 0
    failed: dict[FailureReason, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """What every worker is handed.

    Attributes:
        outbox: Where notifications leave when they are accepted.
        log: Told when a notification is given up.
        clock: Times the retries.
        random: Jitter.
        telemetry: Where attempts are recorded.
        backoff: Delays between attempts.
    """

    outbox: Outbox
    log: NotificationLog
    clock: Clock
    random: Random
    telemetry: AlertsTelemetry
    backoff: Backoff = field(default_factory=Backoff)


class Delivery:
    """Delivers what is in the outbox; an async context manager.

    Entering takes up what an earlier process left; leaving lets attempts in progress end within
    the deadline. What is not accepted by then stays in the outbox.
    """

    def __init__(
        self,
        channels: Iterable[Channel],
        context: DeliveryContext,
        *,
        close_deadline_s: float = CLOSE_DEADLINE_S,
    ) -> None:
        self.stats: dict[str, ReceiverStats] = {}
        self._context = context
        self._close_deadline_s = close_deadline_s
        self._workers: dict[str, _Worker] = {}
        removals = _Removals(context.outbox)
        for channel in channels:
            stats = self.stats.setdefault(channel.receiver, ReceiverStats())
            self._workers[channel.key] = _Worker(channel, context, removals, stats)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def queued(self) -> int:
        """Notifications that are not accepted yet."""
        return sum(worker.queued for worker in self._workers.values())

    def is_waiting(self, group_key: str, channel_key: str) -> bool:
        """Whether a channel has not accepted yet what it is told about a group."""
        worker = self._workers.get(channel_key)
        return worker is not None and worker.is_waiting(group_key)

    async def __aenter__(self) -> Self:
        for notification in await self._context.outbox.waiting():
            if notification.channel in self._workers:
                self.submit((notification,))
            else:
                await self._abandon(notification)
        self._tasks = [
            asyncio.create_task(worker.run(), name=f"notify {key}")
            for key, worker in self._workers.items()
        ]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers.values():
            worker.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._close_deadline_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.queued:
            _log.info("%d notification(s) stay in the outbox for the next start", self.queued)

    def submit(self, notifications: Iterable[Notification]) -> None:
        """Take notifications that the outbox has committed."""
        for notification in notifications:
            self._workers[notification.channel].put(notification)

    async def _abandon(self, notification: Notification) -> None:
        reason = FailureReason.RECEIVER_REMOVED
        message = f"the configuration has no channel {notification.channel!r} any more"
        _log.error("a notification for %s is given up: %s", notification.receiver, message)
        await self._context.outbox.fail(notification, reason, message, attempts=0)
        self._context.log.refuse(notification)
        stats = self.stats.setdefault(notification.receiver, ReceiverStats())
        stats.failed[reason] = stats.failed.get(reason, 0) + 1


@dataclass(slots=True)
class _Queued:
    """A notification on its way; ``due_s`` is on the monotonic clock."""

    notification: Notification
    due_s: float = 0.0
    failures: int = 0
    is_accepted: bool = False


class _Removals:
    """Takes accepted notifications out of the outbox, all that wait for it in one transaction."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._accepted: dict[str, None] = {}
        self._removing = asyncio.Lock()

    async def remove(self, notification: Notification) -> None:
        """Return when a notification has left the outbox; raises StorageError."""
        self._accepted[notification.id] = None
        async with self._removing:
            if notification.id not in self._accepted:
                return  # whoever was in front has taken it along
            lot, self._accepted = self._accepted, {}
            try:
                await self._outbox.remove_all(list(lot))
            except BaseException:
                self._accepted = {**lot, **self._accepted}
                raise


class _Worker:
    """Sends what one channel is told, a few groups at a time."""

    def __init__(
        self,
        channel: Channel,
        context: DeliveryContext,
        removals: _Removals,
        stats: ReceiverStats,
    ) -> None:
        self._channel = channel
        self._context = context
        self._removals = removals
        self._stats = stats
        self._groups: dict[str, deque[_Queued]] = {}
        # The groups nobody works on, by when their first notification is due.
        self._due: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._busy = 0
        self._is_failing = False
        self._not_before_s = 0.0
        self._changed = asyncio.Event()
        self._is_stopping = False

    @property
    def queued(self) -> int:
        return sum(len(group) for group in self._groups.values())

    def is_waiting(self, group_key: str) -> bool:
        return group_key in self._groups

    def put(self, notification: Notification) -> None:
        key = notification.group_key
        group = self._groups.setdefault(key, deque())
        group.append(_Queued(notification))
        if len(group) == 1:
            self._release(key)

    def stop(self) -> None:
        self._is_stopping = True
        self._changed.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as attempts:
            while not self._is_stopping:
                self._changed.clear()
                delay_s = self._delay_s()
                if delay_s is None:
                    await self._changed.wait()
                elif delay_s > 0:
                    await self._wait(delay_s)
                else:
                    _, _, key = heapq.heappop(self._due)
                    self._busy += 1
                    attempts.create_task(self._work(key), name=f"notify {self._channel.key}: {key}")
                    await asyncio.sleep(0)  # so that it counts before the next one is considered

    def _delay_s(self) -> float | None:
        """Return how long until the next attempt; None: until something changes."""
        # One that does not answer must not take the connections of all others.
        most = 1 if self._is_failing else MAX_ATTEMPTS_AT_A_TIME
        if not self._due or self._busy >= most:
            return None
        due_s = max(self._due[0][0], self._not_before_s)
        return max(due_s - self._context.clock.monotonic(), self._paced_s())

    def _paced_s(self) -> float:
        """Return how long its receiver's limit keeps the channel from sending, in seconds."""
        channel = self._channel
        return channel.ready_in_s() if isinstance(channel, Paced) else 0.0

    async def _wait(self, delay_s: float) -> None:
        timer = self._context.clock.call_later(delay_s, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def _work(self, key: str) -> None:
        """Do what is next for a group."""
        try:
            await self._handle(self._groups[key][0])
        finally:
            self._busy -= 1
            if self._groups[key]:
                self._release(key)
            else:
                del self._groups[key]
                self._changed.set()

    def _release(self, key: str) -> None:
        """Have somebody work on a group when its first notification is due."""
        heapq.heappush(self._due, (self._groups[key][0].due_s, next(self._order), key))
        self._changed.set()

    async def _handle(self, item: _Queued) -> None:
        """Make one attempt and do what follows from it."""
        try:
            if not item.is_accepted:
                await self._attempt(item)
                item.is_accepted = True
                self._is_failing = False
            await self._removals.remove(item.notification)
        except DeliveryError as error:
            await self._failed(item, error)
        except StorageError as error:
            # What was accepted is only removed again, not sent again.
            self._retry_later(item, DeliveryError(str(error), FailureReason.STORAGE))
        except Exception as error:  # noqa: BLE001 - supervises the channel: a defect in one must not end its worker; logged with its traceback, counted as a retry
            _log.error("the channel %s broke", self._channel.key, exc_info=error)
            self._retry_later(item, DeliveryError(type(error).__name__, FailureReason.UNEXPECTED))
        else:
            self._stats.delivered += 1
            self._done(item)

    async def _attempt(self, item: _Queued) -> None:
        context, receiver = self._context, self._channel.receiver
        link = span_context_of(item.notification.trace_parent)
        started = context.clock.monotonic()
        attributes = {"gateway.receiver": receiver}
        measured_in = Context()
        try:
            span = NOTIFY.start(
                context.telemetry.tracer,
                {"receiver": receiver},
                context=Context(),
                links=[] if link is None else [Link(link)],
                attributes={
                    **attributes,
                    "gateway.alert.group_key": item.notification.group_key,
                    "http.request.resend_count": item.failures,
                },
            )
            # What an exception says may come from anywhere; only the reason is recorded.
            with trace.use_span(
                span, end_on_exit=True, record_exception=False, set_status_on_exception=False
            ):
                measured_in = set_span_in_context(span)
                try:
                    await self._channel.deliver(item.notification)
                except DeliveryError as error:
                    attributes["error.type"] = error.reason.value
                    span.set_attribute("error.type", error.reason.value)
                    span.set_status(Status(StatusCode.ERROR, str(error)))
                    raise
        finally:
            elapsed_s = context.clock.monotonic() - started
            context.telemetry.notification_duration.record(elapsed_s, attributes, measured_in)

    async def _failed(self, item: _Queued, error: DeliveryError) -> None:
        if not error.permanent:
            self._retry_later(item, error)
            return
        notification = item.notification
        try:
            await self._context.outbox.fail(
                notification, error.reason, str(error), item.failures + 1
            )
        except StorageError as storage_error:
            self._retry_later(item, DeliveryError(str(storage_error), FailureReason.STORAGE))
            return
        self._context.log.refuse(notification)
        self._stats.failed[error.reason] = self._stats.failed.get(error.reason, 0) + 1
        _log.error(
            "a notification for %s about %s is given up: %s",
            self._channel.receiver,
            notification.group_key,
            error,
        )
        self._done(item)

    def _retry_later(self, item: _Queued, error: DeliveryError) -> None:
        context = self._context
        self._is_failing = self._is_failing or error.reason in _UNANSWERED
        item.failures += 1
        self._stats.retries += 1
        now_s = context.clock.monotonic()
        delay_s = context.backoff.delay_s(item.failures, context.random)
        asked_s = min(error.retry_after_s or 0.0, MAX_RETRY_AFTER_S)
        item.due_s = now_s + max(delay_s, asked_s)
        # Who asks to be left alone means all requests, not only this one.
        self._not_before_s = max(self._not_before_s, now_s + asked_s)
        _log.warning(
            "a notification for %s failed (attempt %d), next attempt in %.1f s: %s",
            self._channel.receiver,
            item.failures,
            item.due_s - now_s,
            error,
        )

    def _done(self, item: _Queued) -> None:
        self._groups[item.notification.group_key].popleft()
