"""Prometheus and promtool with our rules and our metrics."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.external.child import run, running
from tests.external.programs import HERE
from tests.support.process import GatewatchProcess, eventually, serving, unused_port

ROOT: Final = HERE.parent.parent
PACKS: Final = sorted((ROOT / "alerts" / "rules" / "packs").glob("*.yaml"))
CONNECTIONS: Final = 3
LINT: Final = 3
"""Exit code of promtool for metrics that it can read, but would name otherwise."""


@pytest.fixture
def folder(program: Callable[[str], Path]) -> Path:
    """Return where ``prometheus`` and ``promtool`` are."""
    return program("prometheus")


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
async def test_promtool_accepts_the_rules_we_ship(folder: Path, tmp_path: Path, pack: Path):
    """Whoever moves to Prometheus takes the rules along."""
    code, said = await run(folder / "promtool", "check", "rules", pack, folder=tmp_path)

    assert code == 0, said


async def test_promtool_accepts_the_rules_of_the_readme(folder: Path, tmp_path: Path):
    """What the README has users copy is what Prometheus takes, too."""
    for number, snippet in enumerate(rules_in((ROOT / "README.md").read_text(encoding="utf-8"))):
        path = tmp_path / f"{number}.yaml"
        path.write_text(snippet, encoding="utf-8")

        code, said = await run(folder / "promtool", "check", "rules", path, folder=tmp_path)

        assert code == 0, f"{said}\n{snippet}"


async def test_promtool_reads_the_metrics(
    folder: Path, tmp_path: Path, remark: Callable[[str], None]
):
    """The page is well-formed after traffic; what promtool would name otherwise is listed."""
    (tmp_path / "rules.yaml").write_text(A_RULE_THAT_FIRES, encoding="utf-8")
    async with serving(tmp_path, AN_EVENTFUL_LIFE) as gatewatch, clients(gatewatch):
        page = await eventually(
            lambda: metrics_with(gatewatch, 'gateway_alert_state="firing"'), what="an alert"
        )

    code, said = await run(folder / "promtool", "check", "metrics", folder=tmp_path, given=page)

    assert code in {0, LINT}, said
    for line in said.splitlines():
        remark(f"promtool: {line}")


async def test_prometheus_scrapes_and_evaluates(folder: Path, tmp_path: Path):
    """A query answers with the connections that are open, and every rule we ship evaluates."""
    async with serving(tmp_path) as gatewatch, clients(gatewatch):
        async with prometheus(folder, tmp_path, gatewatch) as server:
            await eventually(server.has_scraped, what="a scrape", timeout_s=30)
            query = "gateway_connection_count"
            assert await server.query(query) == [str(CONNECTIONS)]

            rules = await eventually(server.evaluated_rules, what="evaluations", timeout_s=30)
            assert {rule["health"] for rule in rules} == {"ok"}
            assert {rule["name"] for rule in rules} == names_of_rules()


AN_EVENTFUL_LIFE: Final = {
    "health": {
        "checks": [
            {
                "name": "nobody",
                "http": {"url": "http://127.0.0.1:1/"},
                "interval": "500ms",
                "failure_threshold": 1,
            }
        ]
    },
    "alerts": {"rule_files": ["rules.yaml"], "evaluation_interval": "500ms"},
}
"""Settings with which the counters of failures and alerts move."""
A_RULE_THAT_FIRES: Final = """
groups:
  - name: e2e
    rules:
      - {alert: NobodyAnswers, expr: 'probe_success{check="nobody"} == 0'}
"""


class Prometheus:
    """A running Prometheus, asked over its HTTP API."""

    def __init__(self, gatewatch: GatewatchProcess, url: str) -> None:
        self._http = gatewatch.http
        self._url = url

    async def has_scraped(self) -> bool:
        """Whether it runs and has read the page of metrics."""
        try:
            return await self.query("up") == ["1"]
        except OSError:
            return False

    async def query(self, expression: str) -> list[str]:
        """Return the values of an instant query."""
        data = await self._get("query", query=expression)
        return [series["value"][1] for series in data["result"]]

    async def evaluated_rules(self) -> list[dict[str, Any]]:
        """Return the state of every rule, once all were evaluated."""
        groups = (await self._get("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    async def _get(self, what: str, **parameters: str) -> Any:
        url = f"{self._url}/api/v1/{what}"
        async with self._http.get(url, params=parameters) as answer:
            if answer.status == 503:  # it is starting
                return {"result": [], "groups": []}
            body = await answer.json()
        assert body["status"] == "success", body
        return body["data"]


@asynccontextmanager
async def prometheus(
    folder: Path, tmp_path: Path, gatewatch: GatewatchProcess
) -> AsyncIterator[Prometheus]:
    """Run Prometheus with our rules on our metrics."""
    target = gatewatch.operations_url.removeprefix("http://")
    config = tmp_path / "prometheus.yml"
    settings = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(pack) for pack in PACKS],
        "scrape_configs": [{"job_name": "gatewatch", "static_configs": [{"targets": [target]}]}],
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    address = f"127.0.0.1:{unused_port()}"
    async with running(
        folder / "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={address}",
        folder=tmp_path,
    ):
        yield Prometheus(gatewatch, f"http://{address}")


@asynccontextmanager
async def clients(gatewatch: GatewatchProcess) -> AsyncIterator[None]:
    """Keep a few clients connected and subscribed, with a message on its way to them."""
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            socket = await stack.enter_async_context(
                gatewatch.http.ws_connect(gatewatch.websocket_url)
            )
            await socket.send_str(
                '{"id": 1, "connect": {}}\n{"id": 2, "subscribe": {"channel": "news"}}'
            )
            await socket.receive(timeout=10)
        await gatewatch.publish("news", 1)
        yield


async def metrics_with(gatewatch: GatewatchProcess, text: str) -> str:
    """Return the page of metrics once a text is in it."""
    page = await gatewatch.operations("/metrics")
    return page if text in page else ""


def rules_in(text: str) -> list[str]:
    """Return the YAML blocks of a Markdown text that are rule files."""
    blocks = re.findall(r"^```ya?ml[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if re.search(r"^groups:", block, re.MULTILINE)]


def names_of_rules() -> set[str]:
    """Return the names of the rules we ship."""
    documents = [yaml.safe_load(pack.read_text(encoding="utf-8")) for pack in PACKS]
    groups = [group for document in documents for group in document["groups"]]
    return {rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]}
