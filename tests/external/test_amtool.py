"""amtool and Prometheus's notifier with the running command."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.external.child import run, running
from tests.support.process import GatewatchProcess, eventually, serving, unused_port

CONFIG: Final = """\
route:
  receiver: log
  group_by: [alertname]
  routes:
    - receiver: pager
      matchers: ['severity="page"']
receivers:
  - name: log
  - name: pager
"""
UNKNOWN: Final = "0b1a2b3c-0000-4000-8000-000000000000"
RULES: Final = """
groups:
  - name: e2e
    rules:
      - alert: Always
        expr: vector(1)
        labels: {severity: page}
        annotations: {summary: "it is {{ $value }}"}
"""


@dataclass
class Amtool:
    """amtool, pointed at a running gatewatch."""

    path: Path
    folder: Path
    process: GatewatchProcess

    async def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end and return what it printed."""
        return await self.checked("--no-version-check", *arguments, code=code)

    async def checked(self, *arguments: str, code: int = 0) -> str:
        """Run a command that compares versions first."""
        ended, said = await run(
            self.path,
            f"--alertmanager.url={self.process.operations_url}",
            *arguments,
            folder=self.folder,
            environ={"HOME": str(self.folder)},
        )
        assert ended == code, said
        return said.strip()

    async def json(self, *arguments: str) -> Any:
        """Run a command and return the JSON it printed."""
        return json.loads(await self(*arguments, "--output=json"))

    async def silence(self, *matchers: str) -> str:
        """Add a silence for an hour and return its id."""
        return await self("silence", "add", "--author=ada", "--comment=why", *matchers)


@asynccontextmanager
async def alerting(folder: Path) -> AsyncIterator[GatewatchProcess]:
    """Run gatewatch with routes and without rules."""
    (folder / "routes.yml").write_text(CONFIG, encoding="utf-8")
    alerts = {"alertmanager_config": "routes.yml", "default_rules": False}
    async with serving(folder, {"alerts": alerts}) as process:
        yield process


@pytest.fixture
async def amtool(program: Callable[[str], Path], tmp_path: Path) -> AsyncIterator[Amtool]:
    path = program("alertmanager") / "amtool"
    async with alerting(tmp_path) as process:
        yield Amtool(path, tmp_path, process)


async def test_alerts_are_added_and_queried(amtool: Amtool):
    """``alert add`` posts, ``alert query`` finds by matcher, receiver and state."""
    await amtool(
        "alert", "add", "Down", "node=a", "severity=page", "--annotation=summary=it is down"
    )
    await amtool("alert", "add", "alertname=Slow", "node=b", "--generator-url=http://x/y")

    async def found(*arguments: str) -> list[str]:
        alerts = await amtool.json("alert", "query", *arguments)
        return sorted(alert["labels"]["alertname"] for alert in alerts)

    assert await found() == ["Down", "Slow"]
    assert await found("node=a") == ["Down"]
    assert await found("alertname=~S.*") == ["Slow"]
    assert await found("--receiver=pag.*") == ["Down"]
    assert await found("--silenced") == []
    table = await amtool("alert", "query", "--output=extended")
    assert 'alertname="Down" node="a" severity="page"' in table
    assert "http://x/y" in table


async def test_an_alert_may_carry_fields_amtool_does_not_know(amtool: Amtool):
    """An acknowledged alert is read like any other."""
    await amtool("alert", "add", "Down")
    (alert,) = await amtool.json("alert", "query")
    url = f"{amtool.process.operations_url}/api/v2/alert/{alert['fingerprint']}/acknowledgement"
    async with amtool.process.http.put(url, json={"by": "ada", "note": "on it"}) as answer:
        assert answer.status == 200

    (shown,) = await amtool.json("alert", "query")

    assert shown["labels"] == {"alertname": "Down"}
    (told,) = json.loads(await amtool.process.operations("/api/v2/alerts"))
    assert told["acknowledgement"]["by"] == "ada"


async def test_an_invalid_alert(amtool: Amtool):
    """amtool shows why an alert was refused."""
    said = await amtool("alert", "add", "Down", "--generator-url=not a url", code=1)

    assert "generatorURL must be of type uri" in said


async def test_silences(amtool: Amtool):
    """Silences are added, queried, updated in place and expired, and hide alerts meanwhile."""
    await amtool("alert", "add", "Down", "node=a")
    silence_id = await amtool.silence("node=a")
    assert await amtool.json("alert", "query") == []
    (alert,) = await amtool.json("alert", "query", "--silenced")
    assert alert["status"]["silencedBy"] == [silence_id]

    await amtool("silence", "update", "--duration=3h", "--comment=longer", silence_id)
    (silence,) = await amtool.json("silence", "query", "node=a")
    assert (silence["id"], silence["comment"]) == (silence_id, "longer")

    await amtool("silence", "expire", silence_id)
    assert await amtool.json("silence", "query") == []
    (silence,) = await amtool.json("silence", "query", "--expired")
    assert silence["status"]["state"] == "expired"
    assert len(await amtool.json("alert", "query")) == 1


async def test_silences_with_any_matcher(amtool: Amtool):
    """All four kinds of matcher come back as amtool sent them."""
    await amtool.silence("a=b", "c=~d.*", "e!=f", "g!~h|i")

    (silence,) = await amtool.json("silence", "query")

    shown = [
        (each["name"], each["value"], each["isRegex"], each["isEqual"])
        for each in silence["matchers"]
    ]
    assert sorted(shown) == [
        ("a", "b", False, True),
        ("c", "d.*", True, True),
        ("e", "f", False, False),
        ("g", "h|i", True, False),
    ]


async def test_expiring_an_unknown_silence(amtool: Amtool):
    """amtool fails with the status."""
    assert "404" in await amtool("silence", "expire", UNKNOWN, code=1)


async def test_silences_are_imported(amtool: Amtool):
    """What was exported comes back: known ids are kept, unknown ones get a new id."""
    known = await amtool.silence("node=a")
    exported = await amtool.json("silence", "query")
    exported.append({**exported[0], "id": UNKNOWN, "comment": "from elsewhere"})
    file = amtool.folder / "silences.json"
    file.write_text(json.dumps(exported), encoding="utf-8")

    await amtool("silence", "import", str(file))

    silences = {each["comment"]: each["id"] for each in await amtool.json("silence", "query")}
    assert silences["why"] == known
    assert silences["from elsewhere"] not in {known, UNKNOWN}


async def test_the_configuration(amtool: Amtool):
    """amtool reads the configuration from the server, and routes by it."""
    assert yaml.safe_load(await amtool("config", "show")) == yaml.safe_load(CONFIG)
    assert "receiver: pager" in await amtool("config", "routes", "show")
    assert await amtool("config", "routes", "test", "severity=page") == "pager"
    await amtool("config", "routes", "test", "--verify.receivers=log", "severity=info")
    await amtool("config", "routes", "test", "--verify.receivers=log", "severity=page", code=1)

    shown = amtool.folder / "shown.yml"
    shown.write_text(await amtool("config", "show"), encoding="utf-8")
    assert "SUCCESS" in await amtool("check-config", str(shown))


async def test_the_cluster(amtool: Amtool):
    """There is no cluster, and amtool can say so."""
    assert "disabled" in await amtool("cluster", "show")


async def test_the_version(amtool: Amtool):
    """A version check warns of another version than amtool's, and nothing more."""
    said = await amtool.checked("alert", "query")

    assert "alertmanager version (0.34.0) are different" in said


async def test_the_notifier_of_prometheus(program: Callable[[str], Path], tmp_path: Path):
    """An alert that a rule of Prometheus raises arrives with everything it says."""
    folder = program("prometheus")
    (tmp_path / "rules.yml").write_text(RULES, encoding="utf-8")
    async with alerting(tmp_path) as process:
        target = process.operations_url.removeprefix("http://")
        settings = {
            "global": {"evaluation_interval": "500ms", "external_labels": {"site": "one"}},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]},
        }
        config = tmp_path / "prometheus.yml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        async with running(
            folder / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{unused_port()}",
            "--rules.alert.resend-delay=1s",  # the first comes before it has found the server
            folder=tmp_path,
        ):

            async def arrived() -> list[dict[str, Any]]:
                found: list[dict[str, Any]] = json.loads(await process.operations("/api/v2/alerts"))
                return found

            (alert,) = await eventually(arrived, what="an alert", timeout_s=30)

    assert alert["labels"] == {"alertname": "Always", "severity": "page", "site": "one"}
    assert alert["annotations"] == {"summary": "it is 1"}
    assert alert["endsAt"] > alert["startsAt"]
    assert alert["receivers"] == [{"name": "pager"}]
    assert "/graph?g0.expr=vector%281%29" in alert["generatorURL"]
