"""``/logs/level``: how much is logged, seen and changed while the process runs.

``GET`` shows the level of the settings and what was set besides. ``PUT`` sets one: ``level``, and
if wanted ``logger`` and ``duration``, after which it is as it was; a ``level`` of null takes it
back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import orjson
from aiohttp import web

from alerts.durations import parse_duration
from service.codec import encode
from service.telemetry.log_levels import LEVELS, ROOT, Level, LogLevels

PATH: Final = "/logs/level"
_KEYS: Final = frozenset(("level", "logger", "duration"))


class _RefusedError(Exception):
    """A request that cannot be done; the text says what would be right."""


def log_routes(levels: LogLevels) -> Sequence[web.AbstractRouteDef]:
    """Return the routes, for the listener of operators."""

    async def show(_request: web.Request) -> web.Response:
        return _answer(_body(levels))

    async def change(request: web.Request) -> web.Response:
        try:
            _change(levels, await request.read())
        except _RefusedError as refused:
            return _answer({"error": str(refused)}, status=400)
        return _answer(_body(levels))

    return [web.get(PATH, show), web.put(PATH, change)]


def _change(levels: LogLevels, body: bytes) -> None:
    try:
        wanted = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _RefusedError('the body is JSON such as {"level": "debug"}') from error
    if not isinstance(wanted, dict) or "level" not in wanted:
        raise _RefusedError('the body is an object with a level, such as {"level": "debug"}')
    if unknown := sorted(wanted.keys() - _KEYS):
        raise _RefusedError(f"{unknown[0]!r} is not known here; there are {_listed(sorted(_KEYS))}")
    name = _logger_name(wanted.get("logger", ROOT))
    if wanted["level"] is None:
        levels.take_back(name)
        return
    levels.override(name, _level(wanted["level"]), _duration_s(wanted.get("duration")))


def _logger_name(name: object) -> str:
    if not isinstance(name, str):
        raise _RefusedError("logger is a name such as service.gateway")
    # Asking for a logger makes it, and it stays: names of nothing are refused.
    if name and name not in logging.root.manager.loggerDict:
        raise _RefusedError(f"there is no logger {name!r}; the log names them")
    return name


def _level(text: object) -> Level:
    for level in LEVELS:
        if text == level:
            return level
    raise _RefusedError(f"level is one of {_listed(LEVELS)}, or null to take it back")


def _duration_s(text: object) -> float | None:
    if text is None:
        return None
    try:
        duration_s = parse_duration(text) if isinstance(text, str) else 0.0
    except ValueError as error:
        raise _RefusedError(f"duration: {error}") from error
    if duration_s <= 0:
        raise _RefusedError("duration is a time such as 10m")
    return duration_s


def _body(levels: LogLevels) -> dict[str, object]:
    return {
        "level": levels.level,
        "overrides": [
            {"logger": name, "level": each.level, "until": each.until_s}
            for name, each in sorted(levels.overrides.items())
        ],
    }


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def _answer(body: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
