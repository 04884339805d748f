"""``/logs/level`` on the listener of operators, and the level of a reloaded configuration."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.app import App
from tests.support.app import app_settings, running_app


async def put(session: aiohttp.ClientSession, app: App, body: object) -> tuple[int, Any]:
    """Ask for a level; return status and body of the answer."""
    async with session.put(f"{app.operations_url}/logs/level", json=body) as answer:
        return answer.status, await answer.json()


async def test_levels_are_shown_and_changed(tmp_path: Path) -> None:
    """One logger for a while, then everything, then all as it was."""
    logger = logging.getLogger("service.app")
    async with running_app(tmp_path) as app, aiohttp.ClientSession() as session:
        async with session.get(f"{app.operations_url}/logs/level") as answer:
            first = await answer.json()
        wanted = {"logger": "service.app", "level": "debug", "duration": "10m"}
        status, body = await put(session, app, wanted)
        heard = logger.isEnabledFor(logging.DEBUG)
        _, everything = await put(session, app, {"level": "error"})
        await put(session, app, {"logger": "service.app", "level": None})
        _, last = await put(session, app, {"level": None})
        heard_after = logger.isEnabledFor(logging.DEBUG)

    assert first == last == {"level": "info", "overrides": []}
    assert status == 200
    (override,) = body["overrides"]
    assert (override["logger"], override["level"]) == ("service.app", "debug")
    assert override["until"] > 0
    assert everything["overrides"][0] == {"logger": "", "level": "error", "until": None}
    assert (heard, heard_after) == (True, False)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("debug", "the body is an object with a level"),
        ({}, "the body is an object with a level"),
        ({"level": "loud"}, "level is one of debug, info, warning, error"),
        ({"level": "debug", "logger": "no.such"}, "there is no logger 'no.such'"),
        ({"level": "debug", "logger": 7}, "logger is a name"),
        ({"level": "debug", "duration": "soon"}, "'soon' is not a duration"),
        ({"level": "debug", "duration": "0s"}, "duration is a time such as 10m"),
        ({"level": "debug", "duration": 5}, "duration is a time such as 10m"),
        ({"level": "debug", "for": "5m"}, "'for' is not known here"),
    ],
    ids=str,
)
async def test_what_cannot_be_done_is_refused(tmp_path: Path, body: object, message: str) -> None:
    """The answer says what would be right, and nothing changes."""
    async with running_app(tmp_path) as app, aiohttp.ClientSession() as session:
        status, answer = await put(session, app, body)
        assert app.telemetry.log_levels.overrides == {}

    assert status == 400
    assert message in answer["error"]


async def test_a_reload_takes_the_level(tmp_path: Path) -> None:
    """``telemetry.log_level`` takes effect without a restart."""
    settings = app_settings(tmp_path)
    louder = app_settings(tmp_path, telemetry={"log_level": "debug"})
    async with App(
        settings, environment={}, log_stream=io.StringIO(), reread=lambda: louder
    ) as app:
        before = logging.getLogger().level
        report = await app.reload()
        after = logging.getLogger().level

    assert (before, after) == (logging.INFO, logging.DEBUG)
    assert "restart" not in report
