"""The Grafana dashboards ask for what there is, in PromQL that the engine takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alerts.promql.plan import prepare
from alerts.telemetry import DEFINITIONS as ALERTS_DEFINITIONS
from service.app import App
from service.telemetry.definitions import DEFINITIONS
from service.telemetry.prometheus import label_pairs, metric_name
from tests.support.app import api_headers, running_app
from tests.support.gateway import RawClient

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docs" / "dashboards").glob("*.json"))
VARIABLES = {"$__rate_interval": "1m", "$__interval": "15s", "$job": ".+", "$instance": ".+"}
TARGET = {"job", "instance"}
OTHERS = {"ALERTS": {"alertname", "alertstate"}}
"""Series that rules write; they are no metrics."""


def known_labels() -> dict[str, set[str]]:
    """Return the labels of every name a selector may have."""
    found = {name: labels | TARGET for name, labels in OTHERS.items()}
    for item in (*DEFINITIONS, *ALERTS_DEFINITIONS):
        name = metric_name(item.name, item.unit, counter=item.kind == "counter")
        labels = {label for label, _ in label_pairs(dict.fromkeys(item.attributes, "x"))} | TARGET
        if item.kind == "histogram":
            found |= {f"{name}_{suffix}": labels for suffix in ("sum", "count")}
            found[f"{name}_bucket"] = labels | {"le"}
        else:
            found[name] = labels
    return found


def queries(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the title of each panel with each query, variables put in, and its legend."""
    for panel in json.loads(file.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression, target["legendFormat"]


def test_there_are_three() -> None:
    """Gateway, alerts and health, runtime."""
    assert [file.stem for file in FILES] == ["alerts-and-health", "gateway", "runtime"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_queries_name_metrics_and_labels_that_there_are(file: Path) -> None:
    """Also those that results are grouped by and called after."""
    known = known_labels()
    for title, expression, legend in queries(file):
        query = prepare(expression)
        labels = set.intersection(*(known[name] for name in query.metric_names))
        used = {
            name.strip()
            for names in re.findall(r"by \(([^()]*)\)", expression)
            for name in names.split(",")
        }
        used |= set(re.findall(r"\{\{(\w+)\}\}", legend))

        assert query.metric_names, title
        assert used <= labels, f"{title}: {used - labels}"
        assert "$" not in expression, title


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_have_places_of_their_own(file: Path) -> None:
    """No panel lies over another or sticks out, and numbers are used once."""
    panels: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & cells, panel["title"]
        assert all(x < 24 for x, _ in mine), panel["title"]
        cells |= mine

    assert len({panel["id"] for panel in panels}) == len(panels)


async def deliver_one(app: App, session: aiohttp.ClientSession) -> None:
    """Have a message go through."""
    url = app.gateway_url.replace("http", "ws", 1) + "/connection/websocket"
    async with session.ws_connect(url) as socket:
        client = RawClient(socket)
        await client.call(connect={})
        await client.subscribe("news")
        body = {"channel": "news", "data": {"n": 1}}
        async with session.post(
            f"{app.gateway_url}/api/publish", json=body, headers=api_headers()
        ) as answer:
            assert answer.status == 200
        await client.published()
        await app.telemetry.collection.collect_now()


async def test_queries_have_answers_over_a_running_process(tmp_path: Path) -> None:
    """Every one is evaluated without an error or a warning, and those of traffic find it."""
    async with running_app(tmp_path) as app, aiohttp.ClientSession() as session:
        await app.telemetry.collection.collect_now()
        for _ in range(2):  # what grows needs two samples
            await deliver_one(app, session)
        now_ms = round(app._clock.time() * 1000)
        answered: set[str] = set()
        for file in FILES:
            for title, expression, _ in queries(file):
                query = app.engine.prepare(expression)
                result = app.engine.range(query, now_ms - 60_000, now_ms, 15_000)
                answered |= {title} if result.series else set()

    assert {
        "Connections",
        "Delivered",
        "Delivery latency by namespace",
        "Duration of commands",
        "CPU",
        "Memory",
        "Open files",
        "Threads",
        "Log records",
        "Series",
    } <= answered
