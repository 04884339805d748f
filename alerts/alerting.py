"""The library put together: rules to alerts to groups to notifications.

Everything comes in by argument; this is the only module that knows all the parts. Who runs it
schedules ``evaluate`` for each group and reads the counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Self

from alerts.alertmanager import Alertmanager, AlertmanagerOptions
from alerts.clock import Clock
from alerts.notify.delivery import ReceiverStats
from alerts.notify.transport import Transport
from alerts.routing.model import RoutingConfig
from alerts.rules.alerting import AlertingRule, AlertInstance, AlertState, External
from alerts.rules.evidence import TraceEvidence
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


@dataclass(frozen=True, slots=True)
class AlertingOptions:
    """What can be tuned.

    Attributes:
        alertmanager: Of what becomes of alerts.
        external_labels: Added to every alert that leaves, unless it has them.
        resend_delay_s: How often an alert that goes on firing is handed to routing again.
        hold_absent_s: How long after a start alerts that are not found are left as they are, so
            that what they are about has time to be seen again.
        evidence: Adds traces to alerts; None: they have none.
    """

    alertmanager: AlertmanagerOptions = field(default_factory=AlertmanagerOptions)
    external_labels: Labels = field(default_factory=Labels)
    resend_delay_s: float = RESEND_DELAY_S
    hold_absent_s: float = 0.0
    evidence: TraceEvidence | None = None


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

    Attributes:
        alertmanager: What becomes of alerts once they are raised.
        groups: The rule groups.
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
        options = options or AlertingOptions()
        self._database = database
        self._clock = clock
        self._stack = AsyncExitStack()
        self._states = AlertStates(database, options.external_labels)
        self._reloading = asyncio.Lock()
        self._store = store
        self.alertmanager = Alertmanager(
            routing=routing,
            database=database,
            transport=transport,
            clock=clock,
            random=random,
            telemetry=telemetry,
            options=options.alertmanager,
        )
        self._context = GroupContext(
            engine=engine,
            store=store,
            notify=self.alertmanager.notify,
            clock=clock,
            telemetry=telemetry,
            external=External(
                options.alertmanager.external_url.rstrip("/"), options.external_labels
            ),
            resend_delay_s=options.resend_delay_s,
            states=self._states,
            hold_absent_s=options.hold_absent_s,
            evidence=options.evidence,
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
            saved = await self._states.load({group.definition.key for group in self.groups}, now_ms)
            for group in self.groups:
                if group.definition.key in saved:
                    group.restore(saved[group.definition.key], now_ms)
            # Before anything is told: what nobody raises by then has ended.
            self.alertmanager.take_up(
                [alert for group in self.groups for alert in group.raised(now_ms)]
            )
            await stack.enter_async_context(self.alertmanager)
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
        try:
            await self.checkpoint()
        finally:
            await self._stack.aclose()

    async def keep_house(self) -> None:
        """Store and forget what is due; call it about once a minute. Failures are only logged."""
        await self.checkpoint()
        await self.alertmanager.keep_house()

    async def checkpoint(self) -> None:
        """Store until when alerts were watched.

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
            routes_differ = routing is not None and routing != self.alertmanager.routing
            if routing is not None and routes_differ:
                await self.alertmanager.reload(routing)
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
            await self._states.forget(removed, self._now_ms())
        except StorageError as error:
            # Harmless: what is stored of groups that are not there is deleted at a later start.
            _LOG.error("the alerts of removed groups are still stored: %s", error)

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
        return self.alertmanager.receiver_stats

    @property
    def queued(self) -> int:
        """Notifications in the outbox that are not accepted yet."""
        return self.alertmanager.queued

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
