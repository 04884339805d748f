"""What the checks found, over HTTP: lists, one check with its history, badges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from alerts.clock import Clock
from alerts.storage.check_history import SavedChange, SavedResult
from alerts.storage.check_periods import StateTimes
from alerts.storage.errors import StorageError
from service.codec import encode
from service.health.badges import (
    Badge,
    BadgeKind,
    as_svg,
    latency_badge,
    percentile_badge,
    state_badge,
    uptime_badge,
)
from service.health.maintenance import Period
from service.health.monitor import HealthMonitor, UnknownCheckError
from service.health.recorder import SHARES, WINDOWS_S, HealthRecorder, Latency
from service.health.snapshot import CheckSnapshot
from service.health.state import CheckState, ProbeResult

MOST_HISTORY: Final = 10_000
"""Results of one check in an answer at most."""

_DEFAULT_HISTORY: Final = 100
_DEFAULT_WINDOW: Final = "24h"
_FILTERS: Final = ("group", "state", "check", "history")

FindRecorder = Callable[[], HealthRecorder | None]
"""Returns who knows the history; None until the database is open."""

Uptimes = Mapping[str, Mapping[str, StateTimes]]


def health_routes(
    monitor: HealthMonitor, find_recorder: FindRecorder, clock: Clock
) -> list[web.RouteDef]:
    """Return the routes about checks.

    Args:
        monitor: The checks.
        find_recorder: Asked at each request.
        clock: The time of day.
    """
    handlers = _Handlers(monitor, find_recorder, clock)
    return [
        web.get("/health/checks", handlers.checks),
        web.get("/health/checks/{name}", handlers.check),
        web.get("/health/badges/{name}/{kind}.svg", handlers.badge),
    ]


class _Handlers:
    """The handlers of the routes."""

    def __init__(self, monitor: HealthMonitor, find_recorder: FindRecorder, clock: Clock) -> None:
        self._monitor = monitor
        self._find_recorder = find_recorder
        self._clock = clock

    async def checks(self, request: web.Request) -> web.Response:
        """List checks, all of them or those that filters let through."""
        try:
            shown = self._shown(request)
            history = _history(request, 0)
        except ValueError as error:
            return _refused(error)
        recorder = self._find_recorder()
        try:
            uptimes: Uptimes = {} if recorder is None else await recorder.uptime()
            checks = [check_body(check, uptimes.get(check.name)) for check in shown]
            if history and recorder is not None:
                for body, check in zip(checks, shown, strict=True):
                    results = await recorder.results(check.name, history)
                    body["history"] = [_saved_result_body(each) for each in results]
        except StorageError as error:
            return _unavailable(error)
        return _json({"now": self._clock.time(), "checks": checks})

    async def check(self, request: web.Request) -> web.Response:
        """Show one check with its newest results and changes of state."""
        try:
            check = self._monitor.check(request.match_info["name"])
            history = _history(request, _DEFAULT_HISTORY)
        except UnknownCheckError as error:
            return _json({"error": str(error)}, status=404)
        except ValueError as error:
            return _refused(error)
        recorder = self._find_recorder()
        if recorder is None:
            return _json({**check_body(check, None), "now": self._clock.time()})
        try:
            uptimes = await recorder.uptime(check.name)
            results = await recorder.results(check.name, history)
            changes = await recorder.changes(check.name, history)
            latencies = await recorder.latencies(check.name)
        except StorageError as error:
            return _unavailable(error)
        return _json(
            {
                "now": self._clock.time(),
                **check_body(check, uptimes.get(check.name)),
                "latency": {window: _latency_body(each) for window, each in latencies.items()},
                "history": [_saved_result_body(each) for each in results],
                "changes": [_change_body(each) for each in changes],
            }
        )

    async def badge(self, request: web.Request) -> web.Response:
        """Draw a badge."""
        window = request.query.get("window", _DEFAULT_WINDOW)
        try:
            check = self._monitor.check(request.match_info["name"])
            kind = BadgeKind(request.match_info["kind"])
        except UnknownCheckError as error:
            return _json({"error": str(error)}, status=404)
        except ValueError:
            kinds = ", ".join(f"{kind}.svg" for kind in BadgeKind)
            return _json({"error": f"there is no such badge; there are {kinds}"}, status=404)
        if window not in WINDOWS_S:
            return _refused(
                ValueError(f"window {window!r} is not kept; take one of {', '.join(WINDOWS_S)}")
            )
        try:
            badge = await self._badge(check, kind, window)
        except StorageError as error:
            return _unavailable(error)
        return web.Response(
            body=as_svg(badge),
            content_type="image/svg+xml",
            headers={"Cache-Control": "no-cache, max-age=0"},
        )

    async def _badge(self, check: CheckSnapshot, kind: BadgeKind, window: str) -> Badge:
        if kind is BadgeKind.STATE:
            return state_badge(check.name, check.state)
        recorder = self._find_recorder()
        if kind in SHARES:
            latency = None if recorder is None else await recorder.latency(check.name, window)
            return percentile_badge(kind, window, latency)
        uptimes: Uptimes = {} if recorder is None else await recorder.uptime(check.name)
        times = uptimes.get(check.name, {}).get(window)
        return (
            uptime_badge(window, times)
            if kind is BadgeKind.UPTIME
            else latency_badge(window, times)
        )

    def _shown(self, request: web.Request) -> list[CheckSnapshot]:
        """Return the checks that pass the filters.

        Raises:
            ValueError: A filter that is none.
        """
        for key in request.query:
            if key not in _FILTERS:
                raise ValueError(f"there is no filter {key!r}; there are {', '.join(_FILTERS)}")
        groups, names = request.query.getall("group", []), request.query.getall("check", [])
        states = request.query.getall("state", [])
        known = [state.label for state in CheckState]
        for state in states:
            if state not in known:
                raise ValueError(f"{state!r} is no state; there are {', '.join(known)}")
        return [
            check
            for check in self._monitor.checks()
            if (not groups or check.group in groups)
            and (not names or check.name in names)
            and (not states or check.state.label in states)
        ]


def check_body(check: CheckSnapshot, uptimes: Mapping[str, StateTimes] | None) -> dict[str, object]:
    """Return a check as JSON shows it; times are Unix seconds.

    Args:
        check: The check.
        uptimes: How it was, by window; None: nothing is known.
    """
    status = check.status
    return {
        "name": check.name,
        "group": check.group,
        "target": check.target,
        "interval_s": check.interval_s,
        "timeout_s": check.timeout_s,
        "state": check.state.label,
        "since": check.since_s,
        "state_by_results": status.state.label,
        "depends_on": list(check.depends_on),
        "held_by": list(check.held_by),
        "maintenance": _period_body(check.maintenance),
        "consecutive_failures": status.failures,
        "consecutive_successes": status.successes,
        "last_run": status.last_at_s,
        "last_result": None if status.last is None else _result_body(status.last),
        "uptime": {
            window: _uptime_body(times, WINDOWS_S[window])
            for window, times in (uptimes or {}).items()
        },
    }


def _uptime_body(times: StateTimes, window_s: float) -> dict[str, object]:
    return {
        "uptime": times.uptime,
        # How much of the window is known, as a share; the rest is counted neither way.
        "coverage": times.known_ms / 1000 / window_s,
        "seconds": {
            "up": times.up_ms / 1000,
            "degraded": times.degraded_ms / 1000,
            "down": times.down_ms / 1000,
            "maintenance": times.maintenance_ms / 1000,
            "held": times.held_ms / 1000,
        },
        "runs": times.runs,
        "failures": times.failures,
        "latency_s": {
            "min": times.duration_min_s if times.runs else None,
            "avg": times.duration_avg_s,
            "max": times.duration_max_s if times.runs else None,
        },
    }


def _latency_body(latency: Latency) -> dict[str, object]:
    return {
        **{f"{name}_s": latency.percentiles_s.get(name) for name in SHARES},
        "runs": latency.runs,
        "exact": latency.is_exact,
    }


def _result_body(result: ProbeResult) -> dict[str, object]:
    return {
        "success": result.success,
        "reason": result.reason,
        "error_type": result.error_type,
        "duration_s": result.duration_s,
        "attributes": dict(result.attributes),
    }


def _saved_result_body(result: SavedResult) -> dict[str, object]:
    return {
        "at": result.at_ms / 1000,
        "success": result.success,
        "state": result.state,
        "duration_s": result.duration_s,
        "error_type": result.error_type,
        "reason": result.reason,
    }


def _change_body(change: SavedChange) -> dict[str, object]:
    return {
        "at": change.at_ms / 1000,
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
    }


def _period_body(period: Period | None) -> dict[str, object] | None:
    if period is None:
        return None
    return {"name": period.name, "start": period.start_ms / 1000, "end": period.end_ms / 1000}


def _history(request: web.Request, default: int) -> int:
    """Return how many results are asked for.

    Raises:
        ValueError: What was given is no such number.
    """
    text = request.query.get("history", str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) <= MOST_HISTORY):
        raise ValueError(f"history is {text!r}; give the number of results, {MOST_HISTORY} at most")
    return int(text)


def _refused(error: ValueError) -> web.Response:
    return _json({"error": str(error)}, status=400)


def _unavailable(error: StorageError) -> web.Response:
    return _json({"error": str(error)}, status=503)


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
