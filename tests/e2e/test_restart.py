"""Killed with -9 or stopped: what the next process still knows."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.support.process import GatewatchProcess, eventually, serving
from tests.support.webhook import webhook_receiver

RULES = """\
groups:
  - name: g
    interval: 250ms
    rules:
      - {alert: Slow, expr: vector(1), for: 6s}
      - {alert: Fast, expr: vector(1)}
"""
ROUTES = """\
route: {receiver: on-call, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers: [{name: on-call, webhook_configs: [{url: %s}]}]
"""


def settings(directory: Path, hook: str = "http://127.0.0.1:9/", **alerts: Any) -> dict[str, Any]:
    """Write rules and routes and return settings that use them."""
    (directory / "rules.yaml").write_text(RULES)
    (directory / "routes.yaml").write_text(ROUTES % hook)
    files = {"rule_files": ["rules.yaml"], "alertmanager_config": "routes.yaml"}
    return {"alerts": {**files, "default_rules": False, **alerts}}


def starts(bodies: list[dict[str, Any]], name: str) -> list[str]:
    """Return when an alert began, as each notification of it says."""
    return [
        alert["startsAt"]
        for body in bodies
        for alert in body["alerts"]
        if alert["labels"]["alertname"] == name
    ]


async def active_since(process: GatewatchProcess, name: str) -> str:
    """Return since when the expression of an alert has been true."""
    answer = json.loads(await process.operations("/api/v1/alerts"))
    (found,) = [
        alert["activeAt"]
        for alert in answer["data"]["alerts"]
        if alert["labels"]["alertname"] == name
    ]
    return str(found)


async def test_alerts_over_kills(tmp_path: Path) -> None:
    """A wait is not begun anew by kill -9, and an alert that fired is not told as another."""
    async with webhook_receiver() as hook:
        config = settings(tmp_path, hook.url)
        async with serving(tmp_path, config) as process:
            await hook.wait_for(1)
            waiting_since = await active_since(process, "Slow")
            await process.kill()

        def told(name: str) -> list[str]:
            # What arrived just before the kill may arrive again, under the same key.
            return starts([item.body for item in {r.key: r for r in hook.received}.values()], name)

        assert told("Slow") == []
        async with serving(tmp_path, config) as process:

            async def is_told() -> bool:
                return bool(told("Slow"))

            await eventually(is_told, what="the slow alert", timeout_s=30)
            # The time it took to start again is not waited again.
            assert await active_since(process, "Slow") == waiting_since

    (fast,), (slow,) = told("Fast"), told("Slow")
    assert seconds(slow) - seconds(fast) >= 6


def snapshot_of(directory: Path) -> Path:
    """Return where the series of a process are."""
    return directory / "data" / "series.snapshot"


def seconds(time: str) -> float:
    """Return the seconds within the hour of an RFC 3339 time."""
    _, minutes, rest = time.removesuffix("Z").split(":")
    return 60 * int(minutes) + float(rest)


async def test_series_over_a_stop(tmp_path: Path) -> None:
    """The next process has the series of the one before from its first moment."""
    config = settings(tmp_path)
    async with serving(tmp_path, config) as process:
        ended = await process.end(signal.SIGTERM)
    async with serving(tmp_path, config) as process:
        log = [entry["message"] for entry in process.log]

    assert ended.code == 0
    assert any("series restored" in message for message in log), log


async def test_series_over_a_kill(tmp_path: Path) -> None:
    """A kill costs no more than what came since the last snapshot, which is always whole."""
    config = settings(tmp_path, snapshot_interval="300ms")
    async with serving(tmp_path, config) as process:

        async def is_written() -> bool:
            return snapshot_of(tmp_path).exists()

        await eventually(is_written, what="a snapshot")
        await process.kill()
    async with serving(tmp_path, config) as process:
        log = [entry["message"] for entry in process.log]

    assert any("series restored" in message for message in log), log


async def test_torn_snapshot(tmp_path: Path) -> None:
    """A snapshot that is not whole is set aside with a line in the log, and all else works."""
    config = settings(tmp_path)
    async with serving(tmp_path, config) as process:
        await process.end(signal.SIGTERM)
    snapshot = snapshot_of(tmp_path)
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    async with serving(tmp_path, config) as process:
        log = json.dumps(process.log)

    assert "is not used, as it is torn" in log
    assert snapshot.with_name("series.snapshot.torn").exists()
