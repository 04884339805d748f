"""A rule in YAML, from a check that fails to the webhook, whatever dies in between."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.otlp import OTLPReceiver
from tests.support.process import serving
from tests.support.webhook import HANG, Answer, WebhookReceiver, webhook_receiver

RULES = """\
groups:
  - name: web
    interval: 1s
    rules:
      - alert: WebDown
        expr: probe_success{check="web"} == 0
        for: 1s
        labels: {severity: critical}
        annotations:
          summary: "{{ $labels.check }} is down, probe_success is {{ $value }}"
"""
ROUTES = """\
route: {receiver: on-call, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers:
  - name: on-call
    webhook_configs:
      - url: %s
"""


@dataclass
class Website:
    """What the check looks at.

    Attributes:
        status: What it answers.
        url: Where it is.
    """

    status: int = 200
    url: str = ""


@asynccontextmanager
async def website() -> AsyncIterator[Website]:
    """Run a web site on a free port."""
    site = Website()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=site.status)

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield site
    finally:
        await runner.cleanup()


def watching(directory: Path, site: Website, hook: WebhookReceiver) -> dict[str, Any]:
    """Write rules and routes and return settings that use them."""
    (directory / "rules.yaml").write_text(RULES)
    (directory / "alertmanager.yaml").write_text(ROUTES % hook.url)
    return {
        "health": {"checks": [{"name": "web", "interval": "1s", "http": {"url": site.url}}]},
        "alerts": {
            "rule_files": ["rules.yaml"],
            "default_rules": False,
            "alertmanager_config": "alertmanager.yaml",
        },
    }


async def test_a_rule_fires_and_resolves(tmp_path: Path) -> None:
    """The webhook is told both, the first despite a 500, and its request belongs to a span."""
    async with website() as site, webhook_receiver() as hook, OTLPReceiver() as collector:
        hook.answers.append(Answer(500, text="not now"))
        site.status = 500
        settings = watching(tmp_path, site, hook)
        settings["telemetry"] = {"otlp": {"endpoint": collector.url}}
        async with serving(tmp_path, settings) as process:
            refused, firing = (await hook.wait_for(2))[:2]
            site.status = 200
            resolved = (await hook.wait_for(3))[2]
            ended = await process.end(signal.SIGTERM)
        await collector.wait_for(
            lambda: [span for span in collector.spans if span.name == "notify on-call"][2:],
            10,
            "third attempt to notify",
        )

    assert ended.code == 0
    assert refused.key == firing.key != resolved.key
    assert (firing.body["version"], firing.body["status"]) == ("4", "firing")
    (alert,) = firing.body["alerts"]
    labels = {"alertname": "WebDown", "check": "web", "severity": "critical"}
    assert alert["labels"].items() >= labels.items()
    assert alert["annotations"] == {"summary": "web is down, probe_success is 0"}
    assert (resolved.body["status"], resolved.body["groupKey"]) == (
        "resolved",
        firing.body["groupKey"],
    )
    assert resolved.body["alerts"][0]["fingerprint"] == alert["fingerprint"]
    assert resolved.body["alerts"][0]["startsAt"] == alert["startsAt"]
    for received in (refused, firing, resolved):
        check_trace(collector, received.headers["traceparent"])


def check_trace(collector: OTLPReceiver, traceparent: str) -> None:
    """The request is a client span below a notify span, which links to an evaluation."""
    _, trace_id, parent_id, flags = traceparent.split("-")
    spans = {span.span_id: span for span in collector.spans}
    request = spans[parent_id]
    notify = spans[request.parent_span_id]
    assert (request.trace_id, int(flags, 16) & 1) == (trace_id, 1)
    assert (notify.name, notify.trace_id, notify.parent_span_id) == ("notify on-call", trace_id, "")
    assert [spans[link].name for link in notify.links] == ["evaluate web"]


async def test_a_notification_outlives_the_process(tmp_path: Path) -> None:
    """Killed before the receiver said yes, the next process with the same data delivers it."""
    async with website() as site, webhook_receiver() as hook:
        hook.answers.append(HANG)
        site.status = 500
        settings = watching(tmp_path, site, hook)
        async with serving(tmp_path, settings) as process:
            (lost,) = await hook.wait_for(1)
            await process.kill()
        site.status = 200
        async with serving(tmp_path, settings):
            again = (await hook.wait_for(2))[1]

    assert again.key == lost.key
    assert again.body["status"] == "firing"
    assert again.body["alerts"] == lost.body["alerts"]
