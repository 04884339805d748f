"""Clients that listen and a back end that publishes, over WebSocket and HTTP like anyone's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from alerts.clock import Clock
from service.codec import decode, encode

CHANNEL = "news"


@dataclass(slots=True)
class Listeners:
    """What all clients received together.

    Attributes:
        messages: Publications, once for each client.
        frames: WebSocket frames they came in.
        latencies_s: From publishing to receiving, for each.
    """

    messages: int = 0
    frames: int = 0
    latencies_s: list[float] = field(default_factory=list)

    def latency_ms(self, quantile: float) -> float:
        """Return a quantile of the latencies, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] * 1000 if ordered else 0


@asynccontextmanager
async def listening(
    session: aiohttp.ClientSession, gateway_url: str, *, clients: int, clock: Clock
) -> AsyncIterator[Listeners]:
    """Have clients connected and subscribed; they receive until the block ends."""
    heard = Listeners()
    url = gateway_url.replace("http://", "ws://") + "/connection/websocket"
    sockets = [await session.ws_connect(url) for _ in range(clients)]
    hello = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"' + CHANNEL.encode() + b'"}}'
    for socket in sockets:
        await socket.send_str(hello.decode())
        for _ in range(2):
            await socket.receive()
    tasks = [asyncio.create_task(_listen(socket, heard, clock)) for socket in sockets]
    # No TaskGroup: it would wrap what the block raises in a group, which nobody reports in a line.
    try:
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for socket in sockets:
            await socket.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _listen(
    socket: aiohttp.ClientWebSocketResponse[bool], heard: Listeners, clock: Clock
) -> None:
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        now = clock.monotonic()
        replies = [decode(line) for line in message.data.split("\n")]
        published = [reply["push"]["pub"]["data"] for reply in replies if "push" in reply]
        if {} in replies:
            await socket.send_str("{}")
        heard.frames += bool(published)
        heard.messages += len(published)
        heard.latencies_s += [now - data["sent"] for data in published]


class Publisher:
    """A back end that publishes over the server API."""

    def __init__(
        self, session: aiohttp.ClientSession, gateway_url: str, api_key: str, *, clock: Clock
    ) -> None:
        """Publish to a gateway."""
        self._session = session
        self._url = f"{gateway_url}/api/publish"
        self._headers = {"X-API-Key": api_key}
        self._clock = clock
        self.published = 0

    async def publish(self, data: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Publish one message."""
        body = encode({"channel": CHANNEL, "data": {**data, "sent": self._clock.monotonic()}})
        async with self._session.post(
            self._url, data=body, headers={**self._headers, **(headers or {})}
        ) as answer:
            answer.raise_for_status()
            reply = decode(await answer.read())
            if "error" in reply:
                raise RuntimeError(f"the gateway refused a message: {reply['error']}")
        self.published += 1

    async def publish_for(self, seconds: float, *, workers: int, pause_s: float) -> None:
        """Publish for a while, from several requests at once."""
        end = self._clock.monotonic() + seconds

        async def work() -> None:
            while self._clock.monotonic() < end:
                await self.publish({"number": self.published})
                await self._clock.sleep(pause_s)

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
