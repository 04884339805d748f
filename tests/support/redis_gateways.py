"""Gateways that share a Redis, in the test's own process."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from service.gateway.redis.broker import RedisBroker
from tests.support.gateway import RunningGateway, running_gateway, until
from tests.support.redis import RedisServer

KEPT = {
    "history_size": 1000,
    "history_ttl": "1h",
    "force_recovery": True,
    "presence": True,
    "allow_publish_for_subscriber": True,
    "allow_history_for_subscriber": True,
    "allow_presence_for_subscriber": True,
}
"""Options of channels in which nobody misses anything."""


def redis_settings(url: str, **more: Any) -> dict[str, Any]:
    """Return ``gateway.broker`` with a prefix that no other test uses."""
    settings = {"url": url, "prefix": f"test-{uuid.uuid4().hex[:8]}", "max_backoff": "100ms"}
    return {"type": "redis", "redis": {**settings, **more}}


@asynccontextmanager
async def two_gateways(
    server: RedisServer,
    *,
    redis: dict[str, Any] | None = None,
    ready: bool = True,
    **settings: Any,
) -> AsyncIterator[tuple[RunningGateway, RunningGateway]]:
    """Run two gateways on one Redis; they can use it, unless it is not to be waited for."""
    broker = redis_settings(**{"url": server.url, **(redis or {})})
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(
                running_gateway(**{"broker": broker, "channels": KEPT, **settings})
            )
            for _ in range(2)
        ]
        if ready:
            await until(lambda: not one.gateway.broker.away and not other.gateway.broker.away)
        yield one, other


def broker_of(running: RunningGateway) -> RedisBroker:
    """Return the broker of a gateway on Redis."""
    broker = running.gateway.redis_broker
    assert broker is not None
    return broker
