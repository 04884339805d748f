"""``POST /health/push/{check}``: things that are checked report by themselves.

The path has tokens of its own, one for each check, and takes no other credentials: who may report
for one check may nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from multidict import MultiMapping

from alerts.durations import parse_duration
from alerts.errors import DurationError
from service.codec import encode
from service.health.pushes import PushInbox

PUSH_PATH = "/health/push/"
"""What the path of every report begins with."""

_FLAGS = {"true": True, "1": True, "up": True, "false": False, "0": False, "down": False}
_KEYS = ("success", "reason", "duration")


def push_routes(inbox: PushInbox, look: Callable[[str], Awaitable[None]]) -> list[web.RouteDef]:
    """Return the route that takes reports.

    Args:
        inbox: Where they go.
        look: Has a check run now, so that a report shows at once.
    """

    async def push(request: web.Request) -> web.Response:
        check = request.match_info["check"]
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not inbox.accepts(check, token.strip()) or scheme.lower() != "bearer":
            # The same for checks that are not there, so that names cannot be found out.
            return _answer(
                {"error": f"no push check {check} has this token (Authorization: Bearer)"},
                status=401,
                headers={"WWW-Authenticate": 'Bearer realm="gatewatch push"'},
            )
        try:
            success, reason, duration_s = _report(request.query)
        except ValueError as error:
            return _answer({"error": str(error)}, status=400)
        inbox.put(check, success=success, reason=reason, duration_s=duration_s)
        await look(check)
        return _answer({"check": check, "success": success})

    return [web.post(f"{PUSH_PATH}{{check}}", push)]


def _report(query: MultiMapping[str]) -> tuple[bool, str, float | None]:
    """Return whether a report is one of success, its reason, and its duration in seconds.

    Raises:
        ValueError: It cannot be understood; says what would be right.
    """
    unknown = next((key for key in query if key not in _KEYS), None)
    if unknown is not None:
        raise ValueError(f"unknown parameter {unknown}; there are {', '.join(_KEYS)}")
    flag = query.get("success", "true").lower()
    if flag not in _FLAGS:
        raise ValueError(f"success is {flag!r}; write true or false")
    text = query.get("duration", "")
    return _FLAGS[flag], query.get("reason", ""), _seconds(text) if text else None


def _seconds(text: str) -> float:
    """Return the seconds of ``1.5`` or ``1m30s``."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            return parse_duration(text)
        except DurationError as error:
            raise ValueError(f"duration: {error}") from error
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"duration is {text!r}; write seconds such as 1.5, or 1m30s")
    return seconds


def _answer(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
