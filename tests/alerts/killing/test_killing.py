"""Alerts over fifty kills: everything that was raised is told, and everything that ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

import aiohttp
import pytest

from alerts.storage.database import Database
from alerts.storage.history import EventKind, History
from tests.support.webhook import Answer, WebhookReceiver, webhook_receiver

KILLS: Final = 50
STORIES: Final = 10
LONGEST_LIFE_S: Final = 0.25
AT_A_TIME: Final = 6
RULES: Final = """\
groups:
  - name: signals
    interval: 1s
    rules: [{alert: Signal, expr: signal > 0, keep_firing_for: 20ms}]
"""
ROUTES: Final = """\
route:
  {receiver: hook, group_by: [name], group_wait: 10ms, group_interval: 50ms, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: %s}]}]
"""


class Mortal:
    """The process under test, one life after the other."""

    def __init__(self, zygote: asyncio.subprocess.Process, folder: Path) -> None:
        self.folder = folder
        self._zygote = zygote
        self._pid = 0

    async def start(self) -> None:
        """Begin a life."""
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        (self.folder / "address").unlink(missing_ok=True)
        self._zygote.stdin.write(f"{self.folder}\n".encode())
        self._pid = int(await self._zygote.stdout.readline())

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it; the zygote waits for its end before it starts the next."""
        os.kill(self._pid, number)

    async def post(self, http: aiohttp.ClientSession, name: str, *, ends: bool) -> bool:
        """Raise or end an alert over the API; return whether it was acknowledged."""
        alert = {
            "labels": {"alertname": "Posted", "name": name},
            "startsAt": "2026-01-01T00:00:00Z",
        }
        if ends:
            alert["endsAt"] = "2026-01-01T00:00:01Z"
        with suppress(FileNotFoundError, aiohttp.ClientError):
            url = (self.folder / "address").read_text()
            async with http.post(f"{url}/api/v2/alerts", json=[alert]) as answer:
                return answer.status == 200
        return False


@asynccontextmanager
async def mortal(folder: Path) -> AsyncIterator[Mortal]:
    """Run the zygote until the end of the block."""
    zygote = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.alerts.killing.mortal"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Mortal(zygote, folder)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(zygote.pid, signal.SIGKILL)
        await zygote.wait()


class Story:
    """One alert from the moment it is raised until its end was told."""

    def __init__(self, name: str, *, is_posted: bool) -> None:
        self.name = name
        self.is_posted = is_posted
        self.raised = False
        self.ended = False

    def told(self, hook: WebhookReceiver, status: str) -> bool:
        """Whether the receiver said yes to being told."""
        return any(
            alert["labels"]["name"] == self.name and alert["status"] == status
            for received in hook.accepted
            for alert in received.body["alerts"]
        )


async def go_on(
    stories: list[Story], hook: WebhookReceiver, process: Mortal, http: aiohttp.ClientSession
) -> list[Story]:
    """Raise what is not raised, end what was told, and return what is not over."""
    for story in stories:
        if story.raised and not story.ended and story.told(hook, "firing"):
            story.ended = not story.is_posted or await process.post(http, story.name, ends=True)
        elif not story.raised:
            story.raised = not story.is_posted or await process.post(http, story.name, ends=False)
    signals = {
        story.name: float(story.raised and not story.ended)
        for story in stories
        if not story.is_posted
    }
    written = process.folder / "signals.new"
    written.write_text(json.dumps(signals))
    written.replace(process.folder / "signals.json")
    return [story for story in stories if not story.told(hook, "resolved")]


@pytest.mark.timeout(120)
async def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    """Whenever it is killed: each alert was told to fire and to end, and the state says so."""
    random = Random(os.environ.get("GATEWATCH_KILL_SEED", "1"))
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "signals.json").write_text("{}")
    stories: list[Story] = []
    kills = count = 0
    async with (
        webhook_receiver() as hook,
        mortal(tmp_path) as process,
        aiohttp.ClientSession() as http,
    ):
        (tmp_path / "routes.yaml").write_text(ROUTES % hook.url)
        await process.start()
        async with asyncio.timeout(100):
            # A slow machine gets less done in a life, and so has more of them.
            while (trying := kills < KILLS or count < STORIES) or stories:
                while trying and len(stories) < AT_A_TIME:
                    stories.append(Story(f"A{count}", is_posted=count % 3 == 2))
                    count += 1
                if random.random() < 0.2:
                    hook.answers.append(Answer(503))
                stories = await go_on(stories, hook, process, http)
                # The moment of the kill is what is tried out, nothing waits for it.
                await asyncio.sleep(random.uniform(0, LONGEST_LIFE_S))
                if trying:
                    process.kill()
                    kills += 1
                    await process.start()
        process.kill(signal.SIGTERM)
        await process.start()  # returns when the one before has ended
        process.kill()

    async with Database(f"sqlite:///{tmp_path / 'alerts.db'}") as database:
        page = await History(database).query(
            since_ms=0, until_ms=2**53, kinds=(EventKind.FIRING, EventKind.RESOLVED), limit=1000
        )
        async with database.transaction() as connection:
            waiting = await connection.exec_driver_sql("SELECT count(*) FROM outbox")
            firing = await connection.exec_driver_sql(
                "SELECT count(*) FROM alert_state WHERE state <> 'inactive'"
            )
            assert (waiting.scalar(), firing.scalar()) == (0, 0)
    lives: dict[str, list[str]] = {}
    for event in reversed(page.events):
        lives.setdefault(event.labels["name"], []).append(event.kind.value)
    assert count >= STORIES
    assert lives == {f"A{number}": ["firing", "resolved"] for number in range(count)}
