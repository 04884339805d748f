"""The scene of the tour, and what becomes of it when something does not happen."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import aiohttp
import pytest

from alerts.clock import ManualClock
from alerts.rules.model import AlertingDefinition
from service.app import App
from service.demo.scene import ALERT, CHECK, Scene, playing, write_settings
from service.demo.tour import DemoError, Tour
from service.telemetry.spans import FinishedSpans
from tests.support.app import create_app


def tour_of(app: App, scene: Scene, clock: ManualClock) -> tuple[Tour, io.StringIO]:
    """Return a tour that has not begun, and where it writes."""
    output = io.StringIO()
    return Tour(app, scene, FinishedSpans(), clock, output), output


async def test_the_shop_can_be_broken_and_webhooks_are_kept() -> None:
    """The scene answers on real sockets."""
    async with playing() as scene, aiohttp.ClientSession(scene.url) as session:
        statuses = []
        for scene.healthy in (True, False):
            async with session.get("/shop") as answer:
                statuses.append(answer.status)
        async with session.post("/webhook", json={"status": "firing"}) as answer:
            assert answer.status == 200

        assert statuses == [200, 500]
        assert scene.webhooks.get_nowait() == {"status": "firing"}


async def test_an_app_can_be_built_from_the_settings_of_the_scene(tmp_path: Path) -> None:
    """Rules and routes are good, the check is known, and the data stays in the directory."""
    scene = Scene()
    scene.url = "http://127.0.0.1:9"
    app = App(write_settings(tmp_path, scene), environment={}, log_stream=io.StringIO())

    assert [check.name for check in app.settings.health.checks] == [CHECK]
    rules = [rule for group in app._rules for rule in group.rules]
    assert ALERT in {rule.alert for rule in rules if isinstance(rule, AlertingDefinition)}
    assert app.settings.service.data_dir.is_relative_to(tmp_path)


async def test_waiting_in_vain_ends_with_what_was_waited_for(tmp_path: Path) -> None:
    """Patience is 20 s, by the clock of the tour."""
    clock = ManualClock()
    tour, _ = tour_of(create_app(tmp_path), Scene(), clock)
    waiting = asyncio.create_task(tour._wait(lambda: False, "rain"))
    await clock.advance(19.9)
    assert not waiting.done()
    await clock.advance(0.2)

    with pytest.raises(DemoError, match="waited 20 s in vain for rain"):
        await waiting


async def test_the_wrong_webhook_ends_the_tour(tmp_path: Path) -> None:
    """What is told on the terminal is what arrived, or nothing is."""
    scene = Scene()
    tour, output = tour_of(create_app(tmp_path), scene, ManualClock())
    scene.webhooks.put_nowait({"status": "resolved"})

    with pytest.raises(DemoError, match="expected a webhook that says firing, got resolved"):
        await tour._until_webhook("firing", 0.0)
    assert output.getvalue() == ""


async def test_a_webhook_is_told_with_its_alert(tmp_path: Path) -> None:
    """Receiver, status, alert, summary and how long it took."""
    scene, clock = Scene(), ManualClock()
    tour, output = tour_of(create_app(tmp_path), scene, clock)
    await clock.advance(6)
    alert = {"labels": {"alertname": "A"}, "annotations": {"summary": "it is [bad]"}}
    scene.webhooks.put_nowait({"status": "firing", "receiver": "ops", "alerts": [alert]})

    await tour._until_webhook("firing", 2.0)

    told = "  6.0 s  webhook     ops was told: firing, A (it is [bad])  (after 4.0 s)\n"
    assert output.getvalue() == told
