"""What the process hands to the Alertmanager HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from alerts.alertmanager import Alertmanager
from alerts.api.alertmanager import UnknownAlertError, alertmanager_routes
from alerts.api.alertmanager_answers import HistoryPage
from alerts.api.alertmanager_filters import HistoryQuery
from alerts.clock import Clock
from alerts.model import Alert
from alerts.routing.matchers import parse_matchers
from alerts.routing.model import Receiver
from alerts.routing.silences import Silences
from alerts.routing.views import Acknowledgement, AlertView, GroupView
from alerts.storage.history import EventKind, HistoryCursor
from service import __version__

FindAlertmanager = Callable[[], Alertmanager]
"""Returns what becomes of alerts; raises a 503 until it is there."""


class AlertmanagerAccess:
    """An ``AlertmanagerBackend``: the process's alertmanager, once it has started.

    Args:
        find: Where it is; asked at each request.
        started_at_ms: When the process started, in Unix milliseconds.
    """

    version: Final = __version__

    def __init__(self, find: FindAlertmanager, *, started_at_ms: int) -> None:
        self._find = find
        self.started_at_ms = started_at_ms

    @property
    def silences(self) -> Silences:
        """The silences."""
        return self._find().silences

    def views(self) -> Sequence[AlertView]:
        """Return all alerts that have not ended."""
        return self._find().views()

    def groups(self) -> Sequence[GroupView]:
        """Return all groups with their alerts."""
        return self._find().groups()

    async def post(self, alerts: Sequence[Alert]) -> None:
        """Take alerts in; raises StorageError."""
        await self._find().post(alerts)

    def receivers(self) -> Sequence[Receiver]:
        """Return the receivers in the order of the configuration."""
        return tuple(self._find().routing.receivers.values())

    def original_config(self) -> str:
        """Return the configuration file without its secrets."""
        return self._find().routing.original

    async def acknowledge(self, fingerprint: str, by: str, note: str) -> Acknowledgement:
        """Record that somebody looks after an alert; raises UnknownAlertError, StorageError."""
        acknowledgement = await self._find().acknowledge(fingerprint, by, note)
        if acknowledgement is None:
            raise UnknownAlertError(fingerprint)
        return acknowledgement

    async def withdraw_acknowledgement(self, fingerprint: str) -> None:
        """Take an acknowledgement back; raises UnknownAlertError, StorageError."""
        if not await self._find().withdraw_acknowledgement(fingerprint):
            raise UnknownAlertError(fingerprint)

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Return a part of what happened; raises ValueError, StorageError."""
        page = await self._find().history.query(
            since_ms=query.since_ms,
            until_ms=query.until_ms,
            fingerprint=query.fingerprint,
            kinds=[EventKind(kind) for kind in query.kinds],
            matchers=query.matchers,
            limit=query.limit,
            before=None if query.before is None else HistoryCursor.parse(query.before),
        )
        return HistoryPage(page.events, str(page.following) if page.following else None)


def alertmanager_api_routes(find: FindAlertmanager, *, clock: Clock) -> list[web.RouteDef]:
    """Return the routes below ``/api/v2``; ``find`` is asked at each request."""
    return alertmanager_routes(
        AlertmanagerAccess(find, started_at_ms=int(clock.time() * 1000)),
        clock=clock,
        parse_matchers=parse_matchers,
        history_kinds=[kind.value for kind in EventKind],
    )
