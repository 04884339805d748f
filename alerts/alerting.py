"""The library put together: rules to alerts to groups to notifications.

Everything comes in by argument; this is the only module that knows all the parts. Who runs it
schedules ``evaluate`` for each group and reads the counts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Self

from opentelemetry.trace import SpanContext

from alerts.clock import Clock
from alerts.model import Alert
from alerts.notify.channel import Channel, LogChannel
from alerts.notify.delivery import (
    CLOSE_DEADLINE_S,
    Backoff,
    Delivery,
    DeliveryContext,
    ReceiverStats,
)
from alerts.notify.log import NotificationLog
from alerts.notify.outbox import Outbox
from alerts.notify.transport import Transport
from alerts.notify.webhook import Encode, WebhookChannel
from alerts.notify.webhook_reader import WebhookEntry
from alerts.routing.dispatcher import Dispatcher, DispatcherContext
from alerts.routing.model import Receiver, RoutingConfig
from alerts.rules.alerting import AlertingRule, AlertInstance, AlertState, External
from alerts.rules.group import RESEND_DELAY_S, GroupContext, RuleGroup
from alerts.rules.member import RuleStatus
from alerts.rules.model import GroupDefinition, RuleEngine, SeriesTarget
from alerts.rules.recording import RecordingRule
from alerts.rules.succession import hand_over_series
from alerts.series.errors import SeriesError
from alerts.series.labels import Labels
from alerts.storage.alert_states import AlertStates
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.telemetry import AlertsTelemetry

_LOG: Final = logging.getLogger(__name__)

SEVERITY: Final = "severity"
"""The label by which alerts are counted."""


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class AlertingOptions:
    """What can be tuned.

    Attributes:
        external_url: Where this process is reached by people, for links in notifications.
        external_labels: Added to every alert that leaves, unless it has them.
        resend_delay_s: How often an alert that goes on firing is handed to routing again.
        backoff: Delays between attempts to deliver.
        close_deadline_s: How long attempts in progress may go on at the end, in seconds.
        hold_absent_s: How long after a start alerts that are not found are left as they are, so
            that what they are about has time to be seen again.
        encode: Makes the JSON of webhooks.
    """

    external_url: str = ""
    external_labels: Labels = field(default_factory=Labels)
    resend_delay_s: float = RESEND_DELAY_S
    backoff: Backoff = field(default_factory=Backoff)
    close_deadline_s: float = CLOSE_DEADLINE_S
    hold_absent_s: float = 0.0
    encode: Encode = _encode


@dataclass(frozen=True, slots=True)
class RuleSnapshot:
    """A rule at one moment.

    Attributes:
        rule: The rule; ``rule.definition`` is what the file says.
        status: How its newest evaluation went.
        alerts: Its pending and firing alerts; none for a recording rule.
    """

    rule: AlertingRule | RecordingRule
    status: RuleStatus
    alerts: tuple[AlertInstance, ...]


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """A group at one moment.

    Attributes:
        group: The group; ``group.definition`` is what the file says.
        rules: In file order.
    """

    group: RuleGroup
    rules: tuple[RuleSnapshot, ...]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What reading the files again changed: numbers of groups, and whether routing did."""

    unchanged: int
    changed: int
    added: int
    removed: int
    routing: bool

    def __str__(self) -> str:
        routes = "changed" if self.routing else "unchanged"
        return (
            f"rule groups: {self.unchanged} unchanged, {self.changed} changed, {self.added} added, "
            f"{self.removed} removed; routing {routes}"
        )


class Alerting:
    """Rules, routing and notification at work; an async context manager.

    Args:
        engine: Evaluates PromQL.
        store: Takes the series that rules write.
        groups: The rule groups, as ``alerts.rules.file.load_rules`` returns them.
        routing: Routes and receivers.
        database: Where the outbox and the notification log are; opened and closed here.
        transport: Sends HTTP requests.
        clock: The time of day, delays and timers.
        random: Jitter of retries, ids of notifications.
        telemetry: Where evaluations and attempts are recorded.
        options: What can be tuned.
    """

    def __init__(  # noqa: PLR0913 - the composition of the library: one argument per collaborator
        self,
        *,
        engine: RuleEngine,
        store: SeriesTarget,
        groups: Sequence[GroupDefinition],
        routing: RoutingConfig,
        database: Database,
        transport: Transport,
        clock: Clock,
        random: Random,
        telemetry: AlertsTelemetry,
        options: AlertingOptions | None = None,
    ) -> None:
        self._options = options or AlertingOptions()
        self._routing = routing
        self._database = database
        self._transport = transport
        self._clock = clock
        self._random = random
        self._telemetry = telemetry
        self._stack = AsyncExitStack()
        self._delivering = AsyncExitStack()
        self._delivery: Delivery | None = None
        self._dispatcher: Dispatcher | None = None
        self._held: list[tuple[Sequence[Alert], SpanContext | None]] | None = None
        self._log = NotificationLog()
        self._outbox = Outbox(database)
        self._states = AlertStates(database)
        self._reloading = asyncio.Lock()
        self._store = store
        self._context = GroupContext(
            engine=engine,
            store=store,
            notify=self._notify,
            clock=clock,
            telemetry=telemetry,
            external=External(
                self._options.external_url.rstrip("/"), self._options.external_labels
            ),
            resend_delay_s=self._options.resend_delay_s,
            states=self._states,
            hold_absent_s=self._options.hold_absent_s,
        )
        self.groups = tuple(RuleGroup(definition, self._context) for definition in groups)

    async def __aenter__(self) -> Self:
        """Open the database, take up what an earlier process left, start delivering.

        Raises:
            StorageError: The database cannot be used; says what to do.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._database)
            now_ms = self._now_ms()
            self._log = NotificationLog(await self._outbox.log_entries(now_ms))
            saved = await self._states.load({group.definition.key for group in self.groups}, now_ms)
            for group in self.groups:
                if group.definition.key in saved:
                    group.restore(saved[group.definition.key], now_ms)
            await self._start_delivering(self._routing)
            for group in self.groups:
                # Now, as the first pass of a group may come later than routing waits for news.
                if firing := group.firing(now_ms):
                    self._notify(firing, None)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop: no more flushes, attempts in progress end within the deadline, the database closes.

        What was not accepted stays in the outbox for the next start. Whoever schedules the
        evaluations stops them before; one that ends later hands its alerts to nobody.
        """
        self._dispatcher = None
        try:
            await self._delivering.aclose()
            await self.checkpoint()
        finally:
            await self._stack.aclose()

    async def checkpoint(self) -> None:
        """Store until when alerts were watched; call it about once a minute.

        A failure is only logged: at worst a wait starts over after an outage of nearly an hour.
        """
        try:
            await self._states.watched(
                {
                    group.definition.key: group.last_evaluation_ms
                    for group in self.groups
                    if group.last_evaluation_ms and group.has_saved_alerts
                }
            )
        except StorageError as error:
            _LOG.error("until when alerts were watched is not stored: %s", error)

    async def reload(
        self, groups: Sequence[GroupDefinition], routing: RoutingConfig | None = None
    ) -> Reloaded:
        """Go on with other rules and routes: all of them, or on an error with what there was.

        Groups that are the same keep running. Changed ones keep the state of the rules they had
        before, waiting for a pass in progress; series of rules that are gone end, unless a rule
        of the same name and labels in another group goes on with them.

        Args:
            groups: All groups there will be, as ``alerts.rules.file.load_rules`` returns them.
            routing: Routes and receivers; None: as they are.

        Raises:
            StorageError: The routes cannot be changed; nothing was.
        """
        async with self._reloading:
            running = {group.definition.key: group for group in self.groups}
            wanted = [running.get(definition.key) for definition in groups]
            new = tuple(
                old
                if old is not None and old.definition == definition
                else RuleGroup(definition, self._context)
                for definition, old in zip(groups, wanted, strict=True)
            )
            routes_differ = routing is not None and routing != self._routing
            if routing is not None and routes_differ:
                await self._change_routing(routing)
            kept = {group.definition.key for group in new if group in self.groups}
            leaving = {key: group for key, group in running.items() if key not in kept}
            await asyncio.gather(*(group.stop() for group in leaving.values()))
            replaced = 0
            for group in new:
                old = leaving.pop(group.definition.key, None)
                if old is not None:
                    group.take_over(old)
                    replaced += 1
            for source in hand_over_series(new, running):
                self._end_series(source)
            self.groups = new
            await self._forget(leaving)
            added = len(new) - len(kept) - replaced
            return Reloaded(len(kept), replaced, added, len(leaving), routes_differ)

    def _end_series(self, source: str) -> None:
        try:
            self._store.source(source).append(self._now_ms(), ())
        except SeriesError as error:
            _LOG.warning("series of a rule that is gone did not end: %s", error)

    async def _forget(self, removed: Mapping[str, RuleGroup]) -> None:
        try:
            await self._states.forget(removed)
        except StorageError as error:
            # Harmless: what is stored of groups that are not there is deleted at a later start.
            _LOG.error("the alerts of removed groups are still stored: %s", error)

    async def _change_routing(self, routing: RoutingConfig) -> None:
        """Replace dispatcher and delivery; alerts that come meanwhile are held.

        Raises:
            StorageError: The old ones go on.
        """
        await self._outbox.waiting()  # fails now, rather than when the old ones have stopped
        known = () if self._dispatcher is None else self._dispatcher.groups
        self._dispatcher, self._held = None, []
        try:
            await self._delivering.aclose()
            try:
                await self._start_delivering(routing)
                self._routing = routing
            except StorageError:
                await self._start_delivering(self._routing)
                raise
        finally:
            held, self._held = self._held or [], None
            for group in known:
                self._notify(group.alerts, None)
            for alerts, span_context in held:
                self._notify(alerts, span_context)

    async def _start_delivering(self, routing: RoutingConfig) -> None:
        async with AsyncExitStack() as stack:
            channels = {
                receiver.name: self._channels(receiver) for receiver in routing.receivers.values()
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
                    clock=self._clock,
                    random=self._random,
                ),
            )
            self._dispatcher = await stack.enter_async_context(dispatcher)
            self._delivery = delivery
            self._delivering = stack.pop_all()

    async def evaluate(self, group: RuleGroup, timestamp_ms: int | None = None) -> None:
        """Evaluate a group at a timestamp; without one, at the newest slot that is due by now."""
        slot_ms = group.slot_ms(self._clock.time()) if timestamp_ms is None else timestamp_ms
        await group.evaluate(slot_ms)

    def alerts(self) -> tuple[AlertInstance, ...]:
        """Return all alerts that are pending or firing."""
        return tuple(
            instance
            for group in self.groups
            for rule, _ in group.rules
            if isinstance(rule, AlertingRule)
            for instance in rule.active
        )

    def rules(self) -> tuple[GroupSnapshot, ...]:
        """Return all groups with their rules and alerts."""
        return tuple(
            GroupSnapshot(
                group,
                tuple(
                    RuleSnapshot(
                        rule, status, rule.active if isinstance(rule, AlertingRule) else ()
                    )
                    for rule, status in group.rules
                ),
            )
            for group in self.groups
        )

    @property
    def alert_counts(self) -> dict[tuple[AlertState, str], int]:
        """How many alerts there are, by state and severity."""
        return dict(
            Counter(
                (instance.state, instance.labels.get(SEVERITY, "")) for instance in self.alerts()
            )
        )

    @property
    def receiver_stats(self) -> dict[str, ReceiverStats]:
        """What was delivered and what was not, by receiver."""
        return {} if self._delivery is None else self._delivery.stats

    @property
    def queued(self) -> int:
        """Notifications in the outbox that are not accepted yet."""
        return 0 if self._delivery is None else self._delivery.queued

    def _notify(self, alerts: Sequence[Alert], span_context: SpanContext | None) -> None:
        if self._dispatcher is not None:
            self._dispatcher.notify(alerts, span_context)
        elif self._held is not None:
            self._held.append((alerts, span_context))

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)

    def _channels(self, receiver: Receiver) -> tuple[Channel, ...]:
        webhooks: list[Channel] = [
            WebhookChannel(
                key=f"{receiver.name}/webhook/{index}",
                receiver=receiver.name,
                config=entry.webhook,
                transport=self._transport,
                clock=self._clock,
                external_url=self._options.external_url,
                encode=self._options.encode,
            )
            for index, entry in enumerate(receiver.channels)
            if isinstance(entry, WebhookEntry)
        ]
        return (*webhooks, LogChannel(receiver.name)) if receiver.logs else tuple(webhooks)


def _carry_on(before: Mapping[str, ReceiverStats], after: dict[str, ReceiverStats]) -> None:
    """Have the counts of receivers go on over a change of the routes; gone ones keep theirs."""
    for receiver, stats in before.items():
        mine = after.setdefault(receiver, ReceiverStats())
        mine.delivered += stats.delivered
        mine.retries += stats.retries
        for reason, count in stats.failed.items():
            mine.failed[reason] = mine.failed.get(reason, 0) + count
