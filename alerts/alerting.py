"""The library put together: rules to alerts to groups to notifications.

Everything comes in by argument; this is the only module that knows all the parts. Who runs it
schedules ``evaluate`` for each group and reads the counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
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
from alerts.routing.config import Receiver, RoutingConfig
from alerts.routing.dispatcher import Dispatcher, DispatcherContext
from alerts.rules.alerting import AlertingRule, AlertInstance, AlertState, External
from alerts.rules.group import RESEND_DELAY_S, GroupContext, RuleGroup, RuleStatus
from alerts.rules.model import GroupDefinition, RuleEngine, SeriesTarget
from alerts.rules.recording import RecordingRule
from alerts.series.labels import Labels
from alerts.storage.database import Database
from alerts.telemetry import AlertsTelemetry

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
        encode: Makes the JSON of webhooks.
    """

    external_url: str = ""
    external_labels: Labels = field(default_factory=Labels)
    resend_delay_s: float = RESEND_DELAY_S
    backoff: Backoff = field(default_factory=Backoff)
    close_deadline_s: float = CLOSE_DEADLINE_S
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
        self._delivery: Delivery | None = None
        self._dispatcher: Dispatcher | None = None
        context = GroupContext(
            engine=engine,
            store=store,
            notify=self._notify,
            clock=clock,
            telemetry=telemetry,
            external=External(
                self._options.external_url.rstrip("/"), self._options.external_labels
            ),
            resend_delay_s=self._options.resend_delay_s,
        )
        self.groups = tuple(RuleGroup(definition, context) for definition in groups)

    async def __aenter__(self) -> Self:
        """Open the database, take up what an earlier process left, start delivering.

        Raises:
            StorageError: The database cannot be used; says what to do.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._database)
            outbox = Outbox(self._database)
            log = NotificationLog(await outbox.log_entries(int(self._clock.time() * 1000)))
            channels = {
                receiver.name: self._channels(receiver)
                for receiver in self._routing.receivers.values()
            }
            delivery = Delivery(
                [channel for group in channels.values() for channel in group],
                DeliveryContext(
                    outbox=outbox,
                    log=log,
                    clock=self._clock,
                    random=self._random,
                    telemetry=self._telemetry,
                    backoff=self._options.backoff,
                ),
                close_deadline_s=self._options.close_deadline_s,
            )
            self._delivery = await stack.enter_async_context(delivery)
            dispatcher = Dispatcher(
                self._routing,
                DispatcherContext(
                    channels=channels,
                    outbox=outbox,
                    log=log,
                    submit=delivery.submit,
                    clock=self._clock,
                    random=self._random,
                ),
            )
            self._dispatcher = await stack.enter_async_context(dispatcher)
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
        await self._stack.aclose()

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

    def _channels(self, receiver: Receiver) -> tuple[Channel, ...]:
        webhooks: list[Channel] = [
            WebhookChannel(
                key=f"{receiver.name}/webhook/{index}",
                receiver=receiver.name,
                config=config,
                transport=self._transport,
                clock=self._clock,
                external_url=self._options.external_url,
                encode=self._options.encode,
            )
            for index, config in enumerate(receiver.webhooks)
        ]
        return (*webhooks, LogChannel(receiver.name)) if receiver.logs else tuple(webhooks)
