"""Checks that depend on one another, from the failure to the webhook, and over a restart."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.process import GatewatchProcess, eventually, serving
from tests.support.webhook import webhook_receiver

OWN_RULES = """\
groups:
  - name: own
    interval: 500ms
    rules:
      - {alert: Failing, expr: probe_success == 0, for: 500ms}
"""
ROUTES = """\
route:
  receiver: nobody
  routes:
    - receiver: on-call
      matchers: ['check=~".+"']
      group_by: [...]
      group_wait: 2s
      group_interval: 1s
receivers:
  - name: nobody
  - name: on-call
    webhook_configs:
      - url: %s
"""
CHILDREN = [f"web-{number}" for number in range(20)]


class Outage:
    """Things that all break when one does."""

    def __init__(self) -> None:
        self.status = 200
        self.url = ""

    async def answer(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status)


@asynccontextmanager
async def outage() -> AsyncIterator[Outage]:
    made = Outage()
    application = web.Application()
    application.router.add_get("/{name}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def check(name: str, site: Outage, *needs: str) -> dict[str, Any]:
    return {
        "name": name,
        "http": {"url": f"{site.url}/{name}"},
        "interval": "1s",
        "failure_threshold": 2,
        "depends_on": list(needs),
    }


async def states(process: GatewatchProcess) -> dict[str, str]:
    body = json.loads(await process.operations("/health/checks"))
    return {each["name"]: each["state"] for each in body["checks"]}


@pytest.mark.parametrize("own", [True, False], ids=["own-rule", "shipped-rules"])
async def test_a_dependency_that_fails_is_one_alert(tmp_path: Path, own: bool) -> None:
    """Twenty checks fail with what they need: one notification says so, one that it is over."""
    (tmp_path / "rules.yaml").write_text(OWN_RULES)
    async with outage() as site, webhook_receiver() as hook:
        (tmp_path / "alertmanager.yaml").write_text(ROUTES % hook.url)
        settings = {
            "health": {
                "checks": [
                    *(check(name, site, "db") for name in CHILDREN),
                    check("db", site),
                ]
            },
            "alerts": {
                "rule_files": ["rules.yaml"] if own else [],
                "default_rules": not own,
                "evaluation_interval": "500ms",
                "alertmanager_config": "alertmanager.yaml",
            },
        }
        async with serving(tmp_path, settings) as process:

            async def all_are(child: str, parent: str) -> bool:
                found = await states(process)
                return found["db"] == parent and {found[name] for name in CHILDREN} == {child}

            await eventually(lambda: all_are("up", "up"), what="all checks up", timeout_s=30)
            site.status = 500
            await eventually(lambda: all_are("held", "down"), what="an outage", timeout_s=30)
            await hook.wait_for(1)
            site.status = 200
            await hook.wait_for(2)
            await process.end(signal.SIGTERM)

    told = [
        (received.body["status"], [alert["labels"]["check"] for alert in received.body["alerts"]])
        for received in hook.received
    ]
    assert told == [("firing", ["db"]), ("resolved", ["db"])]


async def test_what_is_known_of_checks_outlives_the_process(tmp_path: Path) -> None:
    """Killed or stopped, the next process knows state, history and uptime."""
    async with outage() as site:
        settings = {"health": {"checks": [check("web", site)]}, "alerts": {"default_rules": False}}
        async with serving(tmp_path, settings) as process:

            async def is_up() -> bool:
                return (await states(process))["web"] == "up"

            await eventually(is_up, what="a first result")
            before = json.loads(await process.operations("/health/checks/web"))
            await process.end(signal.SIGTERM)
        async with serving(tmp_path, settings) as process:
            after = json.loads(await process.operations("/health/checks/web?history=1000"))
            badge = await process.operations("/health/badges/web/state.svg")

    assert before["history"]
    assert {each["at"] for each in before["history"]} <= {each["at"] for each in after["history"]}
    assert (after["state"], round(after["since"], 3)) == ("up", round(before["since"], 3))
    assert after["changes"][-1]["after"] == "up"
    assert after["uptime"]["90d"]["uptime"] == 1.0
    assert ">up</text>" in badge
