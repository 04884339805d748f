"""What the demo plays against: a small web service to check, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from service.codec import decode
from service.config.settings import Settings

CHECK: Final = "shop"
ALERT: Final = "ShopDown"

_RULES: Final = """\
groups:
  - name: demo
    interval: 1s
    rules:
      - alert: {alert}
        expr: probe_success{{check="{check}"}} == 0
        for: 3s
        labels: {{severity: critical}}
        annotations:
          summary: "{{{{ $labels.check }}}} does not answer"
"""
_ROUTES: Final = """\
route: {{receiver: on-call, group_by: [alertname], group_wait: 1s, group_interval: 2s}}
receivers:
  - name: on-call
    webhook_configs:
      - url: {url}/webhook
"""


class Scene:
    """A service that can be broken, and the webhooks that arrived."""

    def __init__(self) -> None:
        """Start healthy, with nothing received."""
        self.healthy = True
        self.webhooks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.url = ""

    async def shop(self, _request: web.Request) -> web.Response:
        """Answer the health check."""
        return web.Response(status=200 if self.healthy else 500)

    async def webhook(self, request: web.Request) -> web.Response:
        """Take a notification."""
        self.webhooks.put_nowait(decode(await request.read()))
        return web.Response(status=200)


@asynccontextmanager
async def playing() -> AsyncIterator[Scene]:
    """Serve the scene on a free port of this machine."""
    scene = Scene()
    application = web.Application()
    application.router.add_get("/shop", scene.shop)
    application.router.add_post("/webhook", scene.webhook)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        scene.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield scene
    finally:
        await runner.cleanup()


def write_settings(directory: Path, scene: Scene) -> Settings:
    """Write the demo's rule and routing files and return settings that use them."""
    rules, routes = directory / "rules.yaml", directory / "alertmanager.yaml"
    rules.write_text(_RULES.format(alert=ALERT, check=CHECK))
    routes.write_text(_ROUTES.format(url=scene.url))
    return Settings.model_validate(
        {
            "service": {"instance": "demo", "data_dir": directory / "data"},
            "gateway": {"port": 0, "allow_anonymous": True, "api_key": secrets.token_urlsafe()},
            "operations": {"port": 0},
            "health": {
                "checks": [
                    {
                        "name": CHECK,
                        "interval": "1s",
                        "failure_threshold": 2,
                        "http": {"url": f"{scene.url}/shop"},
                    }
                ]
            },
            "telemetry": {"collect_interval": "1s", "log_level": "error"},
            "alerts": {
                "rule_files": [str(rules)],
                "alertmanager_config": routes,
                # A shipped rule about checks would tell of the shop as well.
                "default_rules": False,
            },
        }
    )
