"""What is secret stays out of the log, whatever goes wrong."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alerts.clock import SystemClock
from service.app import App
from service.errors import ConfigurationError
from service.health.monitor import job_name
from tests.support.app import app_settings
from tests.support.gateway import RawClient, until
from tests.support.otlp import OTLPReceiver
from tests.support.process import unused_port
from tests.support.webhook import Answer, webhook_receiver

SECRETS = {
    name: f"S3CRET-of-{name}-{'x' * 24}"
    for name in ("api", "tokens", "operations", "collector", "proxy", "hook", "path")
}
RULES = """\
groups:
  - {name: always, interval: 1h, rules: [{alert: Always, expr: vector(1)}]}
"""
ROUTES = """\
route: {receiver: on-call, group_wait: 0s}
receivers:
  - name: on-call
    webhook_configs:
      - url: %s
        http_config: {authorization: {credentials: %s}}
"""


def configured(directory: Path, hook_url: str, collector_url: str) -> dict[str, dict[str, Any]]:
    """Return sections of settings with a secret wherever one goes."""
    (directory / "rules.yaml").write_text(RULES)
    target = f"{hook_url}/{SECRETS['path']}"
    (directory / "routes.yaml").write_text(ROUTES % (target, SECRETS["hook"]))
    nowhere = f"http://127.0.0.1:{unused_port()}"
    return {
        "gateway": {
            "allow_anonymous": True,
            "api_key": SECRETS["api"],
            "token": {"hmac_secret": SECRETS["tokens"]},
            "proxy": {
                "rpc": {"endpoint": nowhere, "static_headers": {"X-Token": SECRETS["proxy"]}}
            },
        },
        "operations": {"auth": {"bearer_token": SECRETS["operations"]}},
        "telemetry": {
            "log_level": "debug",
            "shutdown_timeout": "200ms",
            "otlp": {
                "endpoint": collector_url,
                "headers": {"Authorization": f"Bearer {SECRETS['collector']}"},
            },
        },
        "health": {"checks": [{"name": "web", "http": {"url": nowhere}}]},
        "alerts": {
            "rule_files": [str(directory / "rules.yaml")],
            "default_rules": False,
            "alertmanager_config": directory / "routes.yaml",
        },
    }


async def fail_everywhere(app: App) -> None:
    """Have each part fail while it holds its secret."""
    async with aiohttp.ClientSession() as session:
        for headers in ({"X-API-Key": "wrong"}, {"X-API-Key": SECRETS["api"]}):
            async with session.post(
                f"{app.gateway_url}/api/publish", data=b"not JSON", headers=headers
            ) as answer:
                assert answer.status >= 400
        url = app.gateway_url.replace("http", "ws", 1) + "/connection/websocket"
        async with session.ws_connect(url) as socket:
            await socket.send_json({"id": 1, "connect": {"token": "a.b.c"}})
            assert (await socket.receive()).data == 3500  # invalid token
        async with session.ws_connect(url) as socket:
            client = RawClient(socket)
            await client.call(connect={})
            assert "error" in await client.call(rpc={"method": "any"})
        async with session.get(
            f"{app.operations_url}/jobs", headers={"Authorization": "Bearer wrong"}
        ) as answer:
            assert answer.status == 401
    await app.scheduler.run_now(job_name("web"))
    for group in app.alerting.groups:
        await app.alerting.evaluate(group, round(SystemClock().time() * 1000))
    await until(lambda: app.alerting.receiver_stats["on-call"].failed)
    with pytest.raises(ConfigurationError):
        await app.reload()


async def test_no_secret_is_logged(tmp_path: Path) -> None:
    """Wrong keys and tokens, back ends that are away, a collector and a receiver that refuse."""
    log = io.StringIO()

    def unreadable() -> Any:
        raise ConfigurationError([])

    async with OTLPReceiver(mode="refuse") as collector, webhook_receiver() as hook:
        hook.always = Answer(400)
        settings = app_settings(tmp_path, **configured(tmp_path, hook.url, collector.url))
        async with App(settings, environment={}, log_stream=log, reread=unreadable) as app:
            await fail_everywhere(app)
            await collector.request()
        assert collector.headers["Authorization"].endswith(SECRETS["collector"])

    # The servers of the test run in this process and log what they are asked for; ours do not.
    others = '"logger":"aiohttp.access"'
    lines = "\n".join(line for line in log.getvalue().splitlines() if others not in line)
    for expected in ("web", "on-call", "not reloaded", "Failed to export"):
        assert expected in lines
    assert {name for name, secret in SECRETS.items() if secret in lines} == set()
