"""The Alertmanager HTTP API, version 2: its routes, and what they ask of whoever answers them.

Alertmanager's clients (amtool, Prometheus, Grafana, karma) speak to these routes. What is read and
what is shown is in the modules beside this one. Acknowledgements and the history are additions.

Source: Alertmanager, api/v2/openapi.yaml.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol

import orjson
from aiohttp import web

from alerts.api.alertmanager_answers import (
    HistoryPage,
    NamedReceiver,
    show_acknowledgement,
    show_alert,
    show_group,
    show_history,
    show_receiver,
    show_silence,
    show_status,
)
from alerts.api.alertmanager_fields import BadRequestError
from alerts.api.alertmanager_filters import (
    AlertFilter,
    HistoryQuery,
    ParseMatchers,
    read_alert_filter,
    read_history_query,
    read_matchers,
    read_states,
    with_labels,
)
from alerts.api.alertmanager_order import ordered_alerts, ordered_groups
from alerts.api.alertmanager_requests import read_acknowledgement, read_alerts, read_silence
from alerts.api.errors import APIError
from alerts.api.parameters import Parameters
from alerts.clock import Clock
from alerts.errors import AlertsError
from alerts.model import Alert
from alerts.routing.silences import SilenceError, Silences, UnknownSilenceError
from alerts.routing.views import Acknowledgement, AlertView, GroupView
from alerts.series.labels import quote
from alerts.storage.errors import StorageError

_log: Final = logging.getLogger(__name__)

_JSON: Final = "application/json"
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}")

Endpoint = Callable[[web.Request], Awaitable[object]]
"""Returns what is answered in JSON, as a value or encoded; None for an answer without a body."""


class UnknownAlertError(AlertsError):
    """There is no alert with this fingerprint, or it has ended."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint: Final = fingerprint
        super().__init__("alert not found")


class AlertmanagerBackend(Protocol):
    """What the API shows and changes."""

    @property
    def silences(self) -> Silences:
        """The silences."""

    @property
    def started_at_ms(self) -> int:
        """When the process was started, in Unix milliseconds."""

    @property
    def version(self) -> str:
        """The version of the program."""

    def views(self) -> Sequence[AlertView]:
        """Return all alerts that have not ended, with what holds them back now."""

    def groups(self) -> Sequence[GroupView]:
        """Return all groups with their alerts."""

    async def post(self, alerts: Sequence[Alert]) -> None:
        """Take alerts in and return when they are committed.

        Args:
            alerts: Valid ones; without an end where whoever raised one did not say.

        Raises:
            StorageError: None of them was committed.
        """

    def receivers(self) -> Sequence[NamedReceiver]:
        """Return the receivers in the order of the configuration."""

    def original_config(self) -> str:
        """Return a configuration file that Alertmanager's tools read, without secrets."""

    async def acknowledge(self, fingerprint: str, by: str, note: str) -> Acknowledgement:
        """Record that somebody looks after an alert and return it when it is committed.

        Raises:
            UnknownAlertError: There is no such alert.
            StorageError: It was not committed.
        """

    async def withdraw_acknowledgement(self, fingerprint: str) -> None:
        """Take an acknowledgement back; nothing is done where there is none.

        Raises:
            UnknownAlertError: There is no such alert.
            StorageError: It was not committed.
        """

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Return a part of what happened, newest first.

        Raises:
            ValueError: ``query.before`` is no cursor; says so.
            StorageError: It cannot be read.
        """


def alertmanager_routes(
    backend: AlertmanagerBackend,
    *,
    clock: Clock,
    parse_matchers: ParseMatchers,
    history_kinds: Collection[str],
) -> list[web.RouteDef]:
    """Return the routes of the Alertmanager API, below ``/api/v2``.

    Args:
        backend: What is shown and changed.
        clock: The time of day.
        parse_matchers: Reads matchers in Alertmanager's notation.
        history_kinds: What the history can tell of.
    """
    alerts = _Alerts(backend, clock, parse_matchers)
    silences = _Silences(backend, clock, parse_matchers)
    general = _General(backend, parse_matchers, history_kinds)
    gets = {
        "status": general.status,
        "receivers": general.receivers,
        "history": general.history,
        "alerts": alerts.alerts,
        "alerts/groups": alerts.groups,
        "silences": silences.silences,
        "silence/{id}": silences.silence,
    }
    acknowledgement = "/api/v2/alert/{fingerprint}/acknowledgement"
    return [
        *(web.get(f"/api/v2/{path}", _explained(endpoint)) for path, endpoint in gets.items()),
        web.post("/api/v2/alerts", _explained(alerts.post)),
        web.post("/api/v2/silences", _explained(silences.set)),
        web.delete("/api/v2/silence/{id}", _explained(silences.expire)),
        web.put(acknowledgement, _explained(alerts.acknowledge)),
        web.delete(acknowledgement, _explained(alerts.withdraw_acknowledgement)),
    ]


class _Alerts:
    """Alerts, their groups and who looks after them."""

    def __init__(
        self, backend: AlertmanagerBackend, clock: Clock, parse_matchers: ParseMatchers
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._parse_matchers = parse_matchers

    async def alerts(self, request: web.Request) -> object:
        """Return alerts by fingerprint."""
        wanted = self._filter(request)
        views, now_ms = self._backend.views(), _now_ms(self._clock)

        def show() -> bytes:
            found = [
                (view.alert.fingerprint, view)
                for view in views
                if wanted.takes_receivers(view.receivers) and wanted.takes(view, now_ms)
            ]
            found.sort(key=lambda pair: pair[0])
            return orjson.dumps([show_alert(view, fingerprint) for fingerprint, view in found])

        return await asyncio.to_thread(show)  # ten thousand alerts take a while

    async def groups(self, request: web.Request) -> object:
        """Return groups that have alerts, by labels and receiver."""
        wanted = self._filter(request)
        groups, now_ms = self._backend.groups(), _now_ms(self._clock)

        def show() -> bytes:
            shown = []
            for group in ordered_groups(groups):
                if not wanted.takes_group(group):
                    continue
                views = [view for view in group.alerts if wanted.takes(view, now_ms)]
                if views:
                    alerts = (
                        show_alert(view, view.alert.fingerprint) for view in ordered_alerts(views)
                    )
                    shown.append(show_group(group, alerts))
            return orjson.dumps(shown)

        return await asyncio.to_thread(show)

    async def post(self, request: web.Request) -> None:
        """Take alerts in; the valid ones are, even if others are not."""
        body, now_ms = await _body(request), _now_ms(self._clock)
        posted = await asyncio.to_thread(read_alerts, body, now_ms)
        if posted.alerts:
            await self._backend.post(posted.alerts)
        if posted.problems:
            raise BadRequestError(posted.explanation())

    async def acknowledge(self, request: web.Request) -> object:
        """Record who looks after an alert."""
        fingerprint = _fingerprint(request)
        wanted = read_acknowledgement(await _body(request))
        made = await self._backend.acknowledge(fingerprint, wanted.by, wanted.note)
        return show_acknowledgement(made)

    async def withdraw_acknowledgement(self, request: web.Request) -> None:
        """Forget who looks after an alert."""
        await self._backend.withdraw_acknowledgement(_fingerprint(request))

    def _filter(self, request: web.Request) -> AlertFilter:
        receivers = self._backend.receivers()
        return read_alert_filter(_parameters(request), self._parse_matchers, receivers)


class _Silences:
    """Silences."""

    def __init__(
        self, backend: AlertmanagerBackend, clock: Clock, parse_matchers: ParseMatchers
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._parse_matchers = parse_matchers

    async def silences(self, request: web.Request) -> object:
        """Return silences, the active ones first."""
        parameters = _parameters(request)
        states = read_states(parameters)
        matchers = read_matchers(parameters, "filter", self._parse_matchers)
        now_ms = _now_ms(self._clock)
        found = self._backend.silences.query(states=states, matchers=matchers)

        def show() -> bytes:
            return orjson.dumps([show_silence(silence, now_ms) for silence in found])

        return await asyncio.to_thread(show)

    async def silence(self, request: web.Request) -> object:
        """Return a silence."""
        found = self._backend.silences.get(request.match_info["id"])
        return show_silence(found, _now_ms(self._clock))

    async def set(self, request: web.Request) -> object:
        """Make or change a silence."""
        silence = read_silence(await _body(request), _now_ms(self._clock))
        return {"silenceID": await self._backend.silences.set(silence)}

    async def expire(self, request: web.Request) -> None:
        """End a silence."""
        await self._backend.silences.expire(request.match_info["id"])


class _General:
    """The process, its receivers, and what happened."""

    def __init__(
        self,
        backend: AlertmanagerBackend,
        parse_matchers: ParseMatchers,
        history_kinds: Collection[str],
    ) -> None:
        self._backend = backend
        self._parse_matchers = parse_matchers
        self._history_kinds = history_kinds

    async def status(self, _request: web.Request) -> object:
        """Return the configuration, the version, and since when it runs."""
        return show_status(
            original_config=self._backend.original_config(),
            started_at_ms=self._backend.started_at_ms,
            version=self._backend.version,
        )

    async def receivers(self, request: web.Request) -> object:
        """Return the receivers."""
        matchers = read_matchers(_parameters(request), "receiver_matchers", self._parse_matchers)
        found = with_labels(self._backend.receivers(), matchers)
        return [show_receiver(receiver) for receiver in found]

    async def history(self, request: web.Request) -> object:
        """Return a page of the history."""
        query = read_history_query(_parameters(request), self._parse_matchers, self._history_kinds)
        try:
            page = await self._backend.history(query)
        except ValueError as error:
            raise BadRequestError(f"before: {error}") from None
        return show_history(page)


def _explained(endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers errors as Alertmanager does: with a JSON text."""

    async def handler(request: web.Request) -> web.Response:
        try:
            return _response(await endpoint(request))
        except web.HTTPException as refusal:  # the body is too large, or no JSON
            return _response(refusal.text, refusal.status)
        except AlertsError as error:
            return _response(str(error), _status(error))
        except Exception as error:  # noqa: BLE001 - clients are promised a JSON text; a defect of ours is logged with its traceback and answered as an internal error
            _log.error("%s broke", request.path, exc_info=error)
            return _response(f"{type(error).__name__}; the log says more", 500)

    return handler


def _status(error: AlertsError) -> int:
    """Return the HTTP status that goes with an error."""
    match error:
        case UnknownSilenceError() | UnknownAlertError():
            return 404
        case BadRequestError() | SilenceError():
            return 400
        case APIError():
            return error.status
        case StorageError():
            return 503
        case _:
            return 500


def _response(answer: object, status: int = 200) -> web.Response:
    """Return an answer: bytes are JSON already, None is nothing at all."""
    headers = {"Cache-Control": "no-store"}
    if answer is None:
        return web.Response(status=status, headers=headers)
    body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    return web.Response(body=body, status=status, content_type=_JSON, headers=headers)


async def _body(request: web.Request) -> bytes:
    if request.content_type != _JSON:
        raise web.HTTPUnsupportedMediaType(
            text=f"unsupported media type {quote(request.content_type)}, only {_JSON} is taken"
        )
    return await request.read()


def _parameters(request: web.Request) -> Parameters:
    return Parameters(request.rel_url.raw_query_string)


def _fingerprint(request: web.Request) -> str:
    fingerprint = request.match_info["fingerprint"]
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        raise UnknownAlertError(fingerprint)
    return fingerprint


def _now_ms(clock: Clock) -> int:
    return int(clock.time() * 1000)
