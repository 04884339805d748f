"""Reports of things that are checked, over real HTTP to a whole process."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.app import App
from service.errors import ConfigurationError
from tests.support.app import app_settings, running_app

CHECKS = [
    {"name": "nightly backup", "push": {"token": "hush-one", "max_silence": "1d"}},
    {"name": "other", "push": {"token": "hush-two"}},
]
OPERATOR = {"Authorization": "Bearer operator"}


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[tuple[App, aiohttp.ClientSession]]:
    sections: dict[str, dict[str, Any]] = {
        "operations": {"port": 0, "auth": {"bearer_token": "operator"}},
        "health": {"checks": CHECKS},
    }
    async with running_app(directory, **sections) as app:
        async with aiohttp.ClientSession(app.operations_url) as client:
            yield app, client


async def post(
    client: aiohttp.ClientSession, path: str, token: str = "hush-one"
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with client.post(path, headers=headers) as response:
        return response.status, await response.json()


async def test_a_report_shows_at_once(tmp_path):
    """What is pushed is the check's last result when the answer comes."""
    async with house(tmp_path) as (app, client):
        path = "/health/push/nightly%20backup?success=false&reason=disk+full&duration=1m30s"
        status, body = await post(client, path)
        failed = app.monitor.check("nightly backup").status.last
        await post(client, "/health/push/nightly%20backup")
        passed = app.monitor.check("nightly backup").status.last

    assert (status, body) == (200, {"check": "nightly backup", "success": False})
    assert failed is not None
    assert (failed.success, failed.reason) == (False, "disk full")
    assert failed.attributes["push.duration"] == 90.0
    assert passed is not None
    assert passed.success


@pytest.mark.parametrize(
    ("check", "token"),
    [
        ("nightly%20backup", "hush-two"),
        ("nightly%20backup", "operator"),
        ("nightly%20backup", ""),
        ("nobody", "hush-one"),
        ("connections", "hush-one"),
    ],
)
async def test_a_report_needs_the_token_of_its_check(tmp_path, check, token):
    """No other token will do, and checks that are not there look the same."""
    async with house(tmp_path) as (_, client):
        status, body = await post(client, f"/health/push/{check}", token)
        async with client.post(f"/health/push/{check}") as response:
            without = response.status

    assert (status, without) == (401, 401)
    assert "has this token" in body["error"]


async def test_a_token_of_a_report_opens_nothing_else(tmp_path):
    """Who may report may not read or steer."""
    async with house(tmp_path) as (_, client):
        headers = {"Authorization": "Bearer hush-one"}
        async with client.get("/health/checks", headers=headers) as response:
            refused = response.status
        async with client.get("/health/checks", headers=OPERATOR) as response:
            allowed = response.status

    assert (refused, allowed) == (401, 200)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("success=maybe", "success is 'maybe'; write true or false"),
        ("duration=long", "duration: 'long' is not a duration"),
        ("duration=-1", "duration is '-1'"),
        ("duration=nan", "duration is 'nan'"),
        ("msg=ok", "unknown parameter msg; there are success, reason, duration"),
    ],
)
async def test_a_report_that_makes_no_sense_says_so(tmp_path, query, error):
    """It is answered with 400 and what would be right."""
    async with house(tmp_path) as (_, client):
        status, body = await post(client, f"/health/push/nightly%20backup?{query}")

    assert status == 400
    assert body["error"].startswith(error)


async def test_a_reload_that_fails_leaves_tokens_and_reports_as_they_are(tmp_path):
    """Only one that succeeds has new tokens, and forgets checks that wait for no report now."""
    sections: dict[str, Any] = {"health": {"checks": CHECKS}}
    rules = tmp_path / "rules.yaml"
    settings = app_settings(tmp_path, **sections)
    renewed: list[dict[str, Any]] = [
        {"name": "nightly backup", "http": {"url": "http://127.0.0.1:9/"}},
        {"name": "other", "push": {"token": "hush-three"}},
    ]
    later = app_settings(tmp_path, health={"checks": renewed}, alerts={"rule_files": (str(rules),)})
    app = App(settings, environment={}, log_stream=io.StringIO(), reread=lambda: later)
    backup, other = "/health/push/nightly%20backup", "/health/push/other"
    async with app, aiohttp.ClientSession(app.operations_url) as client:
        rules.write_text("groups: 1")
        with pytest.raises(ConfigurationError):
            await app.reload()
        failed = [
            (await post(client, backup))[0],
            (await post(client, other, "hush-two"))[0],
            (await post(client, other, "hush-three"))[0],
        ]
        rules.write_text("groups: []")
        await app.reload()
        succeeded = [
            (await post(client, backup))[0],
            (await post(client, other, "hush-two"))[0],
            (await post(client, other, "hush-three"))[0],
        ]

    assert failed == [200, 200, 401]
    assert succeeded == [401, 401, 200]
