"""What becomes of alerts once they are raised: routing, silences, delivery, and what people do.

Alerts come from the rules (``notify``) and from outside (``post``). Everything comes in by
argument; who runs it opens the database before and calls ``keep_house`` about once a minute.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from random import Random
from types import TracebackType
from typing import Final, Self

from opentelemetry.trace import SpanContext

from alerts.acknowledging import Acknowledgements
from alerts.clock import Clock
from alerts.model import Alert
from alerts.notify.channel import Channel, LogChannel
from alerts.notify.channels import ChannelContext, build_channels
from alerts.notify.delivery import (
    CLOSE_DEADLINE_S,
    Backoff,
    Delivery,
    DeliveryContext,
    ReceiverStats,
)
from alerts.notify.http_requests import Encode
from alerts.notify.log import NotificationLog
from alerts.notify.outbox import Outbox
from alerts.notify.pacing import Pacers
from alerts.notify.transport import Transport
from alerts.recorded_silences import RecordedSilences
from alerts.routing.dispatcher import Dispatcher, DispatcherContext
from alerts.routing.model import Receiver, RoutingConfig
from alerts.routing.silences import Silences
from alerts.routing.viewing import Viewer
from alerts.routing.views import Acknowledgement, AlertView, GroupView
from alerts.series.labels import Labels
from alerts.storage.acknowledgements import AcknowledgementStore
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.storage.history import EventKind, History, HistoryEvent
from alerts.storage.posted_alerts import PostedAlerts
from alerts.storage.silences import SilenceStore
from alerts.telemetry import AlertsTelemetry

_LOG: Final = logging.getLogger(__name__)

_RETRY_START_S: Final = 1.0
HISTORY_RETENTION_S: Final = 30 * 24 * 3600.0


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class AlertmanagerOptions:
    """What can be tuned.

    Attributes:
        external_url: Where this process is reached by people, for links in notifications.
        backoff: Delays between attempts to deliver.
        close_deadline_s: How long attempts in progress may go on at the end, in seconds.
        history_retention_s: How long the history is kept, in seconds.
        allow_private: Whether the URLs of receivers may lead to private networks.
        encode: Makes the JSON of notifications.
    """

    external_url: str = ""
    backoff: Backoff = field(default_factory=Backoff)
    close_deadline_s: float = CLOSE_DEADLINE_S
    history_retention_s: float = HISTORY_RETENTION_S
    allow_private: bool = True
    encode: Encode = _encode


class Alertmanager:
    """Routing, silences, acknowledgements and delivery at work; an async context manager.

    Args:
        routing: Routes and receivers.
        database: Where everything is kept; open for as long as this is.
        transport: Sends HTTP requests.
        clock: The time of day, delays and timers.
        random: Jitter of retries, ids of notifications and silences.
        telemetry: Where attempts are recorded.
        options: What can be tuned.

    Attributes:
        silences: The silences.
    """

    def __init__(
        self,
        *,
        routing: RoutingConfig,
        database: Database,
        transport: Transport,
        clock: Clock,
        random: Random,
        telemetry: AlertsTelemetry,
        options: AlertmanagerOptions,
    ) -> None:
        self._routing = routing
        self._transport = transport
        self._clock = clock
        self._random = random
        self._telemetry = telemetry
        self._options = options
        self._log = NotificationLog()
        self._outbox = Outbox(database, clock)
        self._posted = PostedAlerts(database)
        self._posted_alerts: dict[Labels, Alert] = {}
        self._history = History(database)
        self._acknowledgements = Acknowledgements(AcknowledgementStore(database), clock)
        self._running = AsyncExitStack()
        self._delivery: Delivery | None = None
        self._pacers = Pacers(clock)
        self._taken_up: tuple[Alert, ...] = ()
        # During a reload nobody dispatches, and people are shown what there was before.
        self._dispatcher: Dispatcher | None = None
        self._shown: Dispatcher | None = None
        self._held: list[tuple[Sequence[Alert], SpanContext | None]] | None = None
        self.silences = Silences(
            RecordedSilences(SilenceStore(database)), clock=clock, random=random
        )

    async def __aenter__(self) -> Self:
        """Take up what an earlier process left and start delivering.

        Raises:
            StorageError: The database cannot be used; says what to do.
        """
        now_ms = self._now_ms()
        self._log = NotificationLog(await self._outbox.log_entries(now_ms))
        await self.silences.load()
        await self._acknowledgements.load()
        posted = await self._posted.load()
        for alert, updated_at_ms in posted:
            # One that was said to have ended is in the history as such already.
            if alert.ends_at_ms is None or alert.ends_at_ms > updated_at_ms:
                self._posted_alerts[alert.labels] = alert
        await self._start(self._routing, [*self._taken_up, *(alert for alert, _ in posted)])
        self._taken_up = ()
        return self

    def take_up(self, alerts: Sequence[Alert]) -> None:
        """Have alerts of an earlier process, firing or ended, known from the start.

        What the notification log knows to fire and is neither here nor was posted has ended.
        """
        self._taken_up = tuple(alerts)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop: no more flushes, attempts in progress end within the deadline.

        What was not accepted stays in the outbox for the next start. Alerts that come later are
        handed to nobody.
        """
        self._dispatcher = None
        await self._running.aclose()

    @property
    def routing(self) -> RoutingConfig:
        """The routes and receivers that are in use."""
        return self._routing

    @property
    def receiver_stats(self) -> dict[str, ReceiverStats]:
        """What was delivered and what was not, by receiver."""
        return {} if self._delivery is None else self._delivery.stats

    @property
    def queued(self) -> int:
        """Notifications in the outbox that are not accepted yet."""
        return 0 if self._delivery is None else self._delivery.queued

    def notify(self, alerts: Sequence[Alert], span_context: SpanContext | None) -> None:
        """Take the alerts of a rule group; never blocks. A ``NotifyFunc``."""
        if self._dispatcher is not None:
            self._dispatcher.notify(alerts, span_context)
        elif self._held is not None:
            self._held.append((alerts, span_context))

    async def post(self, alerts: Sequence[Alert]) -> None:
        """Take alerts from outside; they are committed when this returns.

        Raises:
            StorageError: None was taken.
        """
        now_ms = self._now_ms()
        until_ms = now_ms + round(self._routing.resolve_timeout_s * 1000)
        bounded = [
            alert if alert.ends_at_ms is not None else replace(alert, ends_at_ms=until_ms)
            for alert in alerts
        ]
        await self._posted.save(
            [(alert, now_ms) for alert in bounded], events=self._transitions(bounded, now_ms)
        )
        self._take_in(bounded)

    async def reload(self, routing: RoutingConfig) -> None:
        """Go on with other routes and receivers; alerts that come meanwhile are held.

        Attempts in progress get ``close_deadline_s``; what there was is shown until then.

        Raises:
            StorageError: The old ones go on.
        """
        await self._outbox.waiting()  # fails now, rather than when the old ones have stopped
        known = () if self._dispatcher is None else self._dispatcher.alerts
        self._dispatcher, self._held = None, []
        try:
            await self._running.aclose()
            try:
                await self._start(routing, known)
                self._routing = routing
            except StorageError:
                await self._start_for_sure(known)
                raise
        finally:
            held, self._held = self._held or [], None
            for alerts, span_context in held:
                self.notify(alerts, span_context)

    async def keep_house(self) -> None:
        """Forget what has ended or is too old; call it about once a minute.

        A failure is only logged: what is left is forgotten next time.
        """
        dispatcher, now_ms = self._dispatcher, self._now_ms()
        if dispatcher is None:
            return
        dispatcher.active.prune(now_ms)
        try:
            await self._forget_posted(now_ms)
            await self._acknowledgements.prune(
                lambda fingerprint: dispatcher.active.get(fingerprint) is not None
            )
            await self.silences.prune(now_ms)
            await self._history.prune(now_ms - round(self._options.history_retention_s * 1000))
        except StorageError as error:
            _LOG.error("what is too old stays in the database for now: %s", error)

    def views(self) -> tuple[AlertView, ...]:
        """Return the alerts that have not ended, with what becomes of them."""
        viewer = self._viewer()
        return () if viewer is None else viewer.alerts()

    def groups(self) -> tuple[GroupView, ...]:
        """Return the groups that have alerts."""
        viewer = self._viewer()
        return () if viewer is None else viewer.groups()

    async def acknowledge(self, fingerprint: str, by: str, note: str) -> Acknowledgement | None:
        """Have somebody look after an alert, so that it is not told again until it changes.

        Returns:
            The acknowledgement; None: there is no such alert.

        Raises:
            StorageError: Nothing was changed.
        """
        alert = self._alert(fingerprint)
        return None if alert is None else await self._acknowledgements.put(alert, by, note)

    async def withdraw_acknowledgement(self, fingerprint: str) -> bool:
        """Have nobody look after an alert any more; False: there is no such alert.

        Raises:
            StorageError: Nothing was changed.
        """
        alert = self._alert(fingerprint)
        if alert is not None:
            await self._acknowledgements.withdraw(alert)
        return alert is not None

    @property
    def history(self) -> History:
        """What happened."""
        return self._history

    def _alert(self, fingerprint: str) -> Alert | None:
        held = None if self._shown is None else self._shown.active.get(fingerprint)
        return None if held is None or held.alert.is_resolved(self._now_ms()) else held.alert

    def _viewer(self) -> Viewer | None:
        if self._shown is None:
            return None
        return Viewer(
            self._shown, self.silences.silencing, self._acknowledgements.of, self._now_ms()
        )

    def _take_in(self, alerts: Sequence[Alert]) -> None:
        """Have routing know of posted alerts."""
        now_ms = self._now_ms()
        for alert in alerts:
            if alert.is_resolved(now_ms):
                self._posted_alerts.pop(alert.labels, None)
            else:
                self._posted_alerts[alert.labels] = alert
        self.notify(alerts, None)

    def _transitions(self, alerts: Sequence[Alert], now_ms: int) -> list[HistoryEvent]:
        """Return what posted alerts change in what is known of them."""
        events: list[HistoryEvent] = []
        for alert in alerts:
            known = self._posted_alerts.get(alert.labels)
            was_firing = known is not None and not known.is_resolved(now_ms)
            is_firing = not alert.is_resolved(now_ms)
            if is_firing != was_firing:
                events.append(_event(alert, is_firing=is_firing, at_ms=now_ms))
        return events

    async def _forget_posted(self, now_ms: int) -> None:
        """Record the end of posted alerts that nobody spoke of any more, and forget them."""
        ended = [alert for alert in self._posted_alerts.values() if alert.is_resolved(now_ms)]
        events = [
            _event(alert, is_firing=False, at_ms=alert.ends_at_ms or now_ms) for alert in ended
        ]
        await self._posted.forget_ended(now_ms, events=events)
        for alert in ended:
            if self._posted_alerts.get(alert.labels) is alert:  # not posted anew meanwhile
                del self._posted_alerts[alert.labels]

    async def _start_for_sure(self, known: Sequence[Alert]) -> None:
        """Go on with the old routes as soon as the database lets us; alerts are held until then."""
        while True:
            try:
                await self._start(self._routing, known)
            except StorageError as error:
                _LOG.error("no alert is told until the database works again: %s", error)
                await self._clock.sleep(_RETRY_START_S)
            else:
                return

    async def _start(self, routing: RoutingConfig, alerts: Sequence[Alert]) -> None:
        """Start delivery and dispatcher with the alerts there are.

        The log and the outbox say where to go on.
        """
        async with AsyncExitStack() as stack:
            # One for all, as channels to the same place share its limits.
            context = ChannelContext(
                transport=self._transport,
                clock=self._clock,
                templates=routing.templates,
                external_url=self._options.external_url,
                allow_private=self._options.allow_private,
                encode=self._options.encode,
                known_pacers=self._pacers,
            )
            channels = {
                receiver.name: _channels(receiver, context)
                for receiver in routing.receivers.values()
            }
            delivery = Delivery(
                [channel for group in channels.values() for channel in group],
                DeliveryContext(
                    outbox=self._outbox,
                    log=self._log,
                    clock=self._clock,
                    random=self._random,
                    telemetry=self._telemetry,
                    backoff=self._options.backoff,
                ),
                close_deadline_s=self._options.close_deadline_s,
            )
            if self._delivery is not None:
                _carry_on(self._delivery.stats, delivery.stats)
            delivery = await stack.enter_async_context(delivery)
            dispatcher = Dispatcher(
                routing,
                DispatcherContext(
                    channels=channels,
                    outbox=self._outbox,
                    log=self._log,
                    submit=delivery.submit,
                    silencing=self.silences.silencing,
                    is_acknowledged=lambda alert: self._acknowledgements.of(alert) is not None,
                    is_waiting=delivery.is_waiting,
                    clock=self._clock,
                    random=self._random,
                ),
            )
            dispatcher.notify(alerts)
            self._dispatcher = self._shown = await stack.enter_async_context(dispatcher)
            self._delivery = delivery
            self._running = stack.pop_all()

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


def _channels(receiver: Receiver, context: ChannelContext) -> tuple[Channel, ...]:
    channels = build_channels(receiver.name, receiver.channels, context)
    return (*channels, LogChannel(receiver.name)) if receiver.logs else channels


def _event(alert: Alert, *, is_firing: bool, at_ms: int) -> HistoryEvent:
    kind = EventKind.FIRING if is_firing else EventKind.RESOLVED
    return HistoryEvent(
        at_ms, kind, alert.fingerprint, alert.labels, alert.annotations, {"source": "api"}
    )


def _carry_on(before: Mapping[str, ReceiverStats], after: dict[str, ReceiverStats]) -> None:
    """Have the counts of receivers go on over a change of the routes; gone ones keep theirs."""
    for receiver, stats in before.items():
        mine = after.setdefault(receiver, ReceiverStats())
        mine.delivered += stats.delivered
        mine.retries += stats.retries
        for reason, count in stats.failed.items():
            mine.failed[reason] = mine.failed.get(reason, 0) + count
