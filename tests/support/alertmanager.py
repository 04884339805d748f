"""The Alertmanager API on a real socket, over alerts that are kept in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

import aiohttp
from aiohttp import web

from alerts.api.alertmanager import UnknownAlertError, alertmanager_routes
from alerts.api.alertmanager_answers import HistoryPage
from alerts.api.alertmanager_filters import HistoryQuery
from alerts.clock import Clock
from alerts.model import Alert
from alerts.routing.model import Receiver, Route, matches_all
from alerts.routing.silences import Silences
from alerts.routing.views import Acknowledgement, AlertStatus, AlertView, GroupView
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage.errors import StorageError
from tests.support.alerts import START_MS
from tests.support.silences import FakeSilenceSink

MAX_BODY_BYTES: Final = 262_144
KINDS: Final = ("firing", "resolved", "acknowledged")
CONFIG: Final = """\
route:
  receiver: log
  group_by: [alertname]
  routes:
    - receiver: pager
      matchers: ['severity="page"']
receivers:
  - name: log
  - name: pager
"""
_MATCHER: Final = re.compile(r'\s*([^\s=!~"{},]+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^",{}]*)\s*')


@dataclass(frozen=True)
class FakeEvent:
    at_ms: int
    kind: str
    fingerprint: str | None
    labels: Labels
    annotations: Labels = field(default_factory=Labels)
    detail: Mapping[str, str] = field(default_factory=dict)


class MemoryBackend:
    """Keeps what is posted, as the service does, without telling anybody.

    Attributes:
        posts: What each request brought.
        shown: Views that are shown instead of what was posted.
        statuses: What holds alerts back, by ``alertname``; silences come on top.
        queries: What was asked of the history.
        problem: Raised by whatever would change or read a database.
    """

    resolve_timeout_ms = 300_000

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sink = FakeSilenceSink()
        self.silences = Silences(self.sink, clock=clock, random=Random(1))
        self.started_at_ms = self.now_ms
        self.version = "1.2.3"
        self.config = CONFIG
        self.named = (Receiver("log"), Receiver("pager", labels=(("team", "ops"),)))
        self.route = Route(
            "log",
            group_by=("alertname",),
            routes=(Route("pager", matchers=(Matcher(MatchOp.EQUAL, "severity", "page"),)),),
        )
        self.posts: list[tuple[Alert, ...]] = []
        self.shown: list[AlertView] = []
        self.group_views: list[GroupView] | None = None
        self.statuses: dict[str, AlertStatus] = {}
        self.events: list[FakeEvent] = []
        self.queries: list[HistoryQuery] = []
        self.problem: Exception | None = None
        self._alerts: dict[Labels, tuple[Alert, int]] = {}
        self._acknowledgements: dict[str, Acknowledgement] = {}

    @property
    def now_ms(self) -> int:
        return int(self.clock.time() * 1000)

    def views(self) -> Sequence[AlertView]:
        held = [self._view(alert, at_ms) for alert, at_ms in self._alerts.values()]
        return [*self.shown, *held]

    def groups(self) -> Sequence[GroupView]:
        if self.group_views is not None:
            return self.group_views
        groups: dict[tuple[Labels, str], list[AlertView]] = {}
        for view in self.views():
            for receiver in view.receivers:
                key = (view.alert.labels.keep(("alertname",)), receiver)
                groups.setdefault(key, []).append(view)
        return [
            GroupView(labels, Labels(), receiver, tuple(views))
            for (labels, receiver), views in groups.items()
        ]

    async def post(self, alerts: Sequence[Alert]) -> None:
        self._check()
        self.posts.append(tuple(alerts))
        for alert in alerts:
            end_ms = alert.ends_at_ms
            if end_ms is None:
                end_ms = self.now_ms + self.resolve_timeout_ms
            self._alerts[alert.labels] = (replace(alert, ends_at_ms=end_ms), self.now_ms)

    def receivers(self) -> Sequence[Receiver]:
        return self.named

    def original_config(self) -> str:
        return self.config

    async def acknowledge(self, fingerprint: str, by: str, note: str) -> Acknowledgement:
        self._check()
        alert = self._alert(fingerprint)
        made = Acknowledgement(fingerprint, alert.starts_at_ms, by, self.now_ms, note)
        self._acknowledgements[fingerprint] = made
        return made

    async def withdraw_acknowledgement(self, fingerprint: str) -> None:
        self._check()
        self._alert(fingerprint)
        self._acknowledgements.pop(fingerprint, None)

    async def history(self, query: HistoryQuery) -> HistoryPage:
        self._check()
        self.queries.append(query)
        if query.before is not None and not query.before.isdigit():
            raise ValueError(f"{query.before!r} is no cursor")
        begin = int(query.before or 0)
        found = [
            event
            for event in self.events
            if query.since_ms <= event.at_ms < query.until_ms
            and (not query.kinds or event.kind in query.kinds)
            and query.fingerprint in (None, event.fingerprint)
            and matches_all(query.matchers, event.labels)
        ]
        end = begin + query.limit
        return HistoryPage(found[begin:end], str(end) if end < len(found) else None)

    def _view(self, alert: Alert, at_ms: int) -> AlertView:
        status = self.statuses.get(alert.labels.get("alertname", ""), AlertStatus("active"))
        if silenced_by := self.silences.silencing(alert.labels, self.now_ms):
            status = replace(status, state="suppressed", silenced_by=silenced_by)
        receivers = tuple(route.receiver for route in self.route.matching(alert.labels))
        made = self._acknowledgements.get(alert.fingerprint)
        return AlertView(alert, at_ms, receivers, status, made)

    def _alert(self, fingerprint: str) -> Alert:
        for alert, _ in self._alerts.values():
            if alert.fingerprint == fingerprint:
                return alert
        raise UnknownAlertError(fingerprint)

    def _check(self) -> None:
        if self.problem is not None:
            raise self.problem


@dataclass
class AlertmanagerServer:
    """A running API.

    Attributes:
        url: Where it listens, with ``/api/v2``.
    """

    backend: MemoryBackend
    http: aiohttp.ClientSession
    url: str

    async def get(self, path: str, *parameters: tuple[str, str]) -> Any:
        """GET and return the body of a success."""
        async with self.http.get(f"{self.url}/{path}", params=parameters) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "application/json"
            assert answer.headers["Cache-Control"] == "no-store"
            return await answer.json()

    async def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send JSON, or bytes as they are, and return status and body; None for no body."""
        if isinstance(body, bytes):
            options: dict[str, Any] = {
                "data": body,
                "headers": {"Content-Type": "application/json"},
            }
        else:
            options = {} if body is None else {"json": body}
        async with self.http.request(method, f"{self.url}/{path}", **options) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, (await answer.json() if await answer.read() else None)

    async def refusal(self, path: str, *parameters: tuple[str, str]) -> tuple[int, str]:
        """GET and return status and text of an error."""
        async with self.http.get(f"{self.url}/{path}", params=parameters) as answer:
            said = await answer.json()
            assert isinstance(said, str)
            return answer.status, said


@asynccontextmanager
async def serving_alertmanager(clock: Clock) -> AsyncIterator[AlertmanagerServer]:
    """Serve the API until the end of the block."""
    backend = MemoryBackend(clock)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_routes(
        alertmanager_routes(
            backend, clock=clock, parse_matchers=parse_matchers, history_kinds=KINDS
        )
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    async with aiohttp.ClientSession() as http:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v2"
            yield AlertmanagerServer(backend, http, url)
        finally:
            await runner.cleanup()


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of ``a="b"`` or ``{a="b", c=~d}``, without escapes but of quotes."""
    inner = text.strip().removeprefix("{").removesuffix("}")
    found: list[Matcher] = []
    position = 0
    while position < len(inner):
        match = _MATCHER.match(inner, position)
        if match is None:
            raise ValueError("expected a matcher")
        name, op, value = match.groups()
        plain = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        found.append(Matcher(MatchOp(op), name, plain if value.startswith('"') else value.strip()))
        position = match.end()
        if position < len(inner):
            if inner[position] != ",":
                raise ValueError("expected a comma")
            position += 1
    return tuple(found)


def make_view(
    *,
    status: AlertStatus | None = None,
    receivers: tuple[str, ...] = ("log",),
    acknowledgement: Acknowledgement | None = None,
    ends_at_ms: int | None = START_MS + 60_000,
    **labels: str,
) -> AlertView:
    """Return an alert that fires, as the API is shown it."""
    alert = Alert(Labels(labels), Labels({"summary": "text"}), START_MS, ends_at_ms, "http://x/y")
    return AlertView(alert, START_MS, receivers, status or AlertStatus("active"), acknowledgement)


DISK_FULL: Final = StorageError("the disk is full")
