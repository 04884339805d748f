"""The end of the process: what was accepted is delivered, clients are told, the code is 0."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.codec import decode
from tests.support.gateway import RawClient
from tests.support.process import Ended, GatewatchProcess, serving
from tests.support.sdk import connected, subscribed

pytestmark = pytest.mark.usefixtures("installed")

CHANNEL = "news"
RAW_CLIENTS = 4
WORKERS = 6


class Listener:
    """A client that keeps what it receives, and the code its connection ended with."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.code: int | None = None

    async def listen(self, client: RawClient) -> None:
        async for message in client.socket:
            assert message.type is aiohttp.WSMsgType.TEXT
            for line in message.data.split("\n"):
                push = decode(line).get("push")
                self.received += [push["pub"]["data"]] if push else []
        self.code = client.socket.close_code


@asynccontextmanager
async def raw_client(process: GatewatchProcess, **options: Any) -> AsyncIterator[RawClient]:
    """Have a subscribed client that shows frames as they are."""
    async with process.http.ws_connect(process.websocket_url, **options) as socket:
        client = RawClient(socket)
        await client.call(connect={})
        await client.subscribe(CHANNEL)
        yield client


async def publish_until_refused(
    process: GatewatchProcess, numbers: itertools.count[int], accepted: list[int]
) -> None:
    """Publish one number after the other; keep those that were acknowledged."""
    while True:
        number = next(numbers)
        try:
            status, answer = await process.post("publish", {"channel": CHANNEL, "data": number})
        except aiohttp.ClientError:
            return
        if status != 200:
            assert (status, answer) == (503, "shutting down\n")
            return
        assert answer == {"result": {}}
        accepted.append(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_messages_flow_loses_none_of_them(
    tmp_path: Path, number: signal.Signals
) -> None:
    """All that was acknowledged reaches all subscribers; they are told 3001; the code is 0."""
    accepted: list[int] = []
    listeners = [Listener() for _ in range(RAW_CLIENTS)]
    async with serving(tmp_path) as process, AsyncExitStack() as stack:
        sdk, events = await stack.enter_async_context(connected(process.websocket_url))
        await subscribed(sdk, events, CHANNEL)
        clients = [await stack.enter_async_context(raw_client(process)) for _ in listeners]
        async with asyncio.TaskGroup() as group:
            for listener, client in zip(listeners, clients, strict=True):
                group.create_task(listener.listen(client))
            numbers = itertools.count()
            for _ in range(WORKERS):
                group.create_task(publish_until_refused(process, numbers, accepted))
            for _ in range(200):
                await events.published()  # by now messages flow
            ended = await process.end(number)
        assert await events.told() == 3001

    seen_by_sdk = events.publications.qsize()
    assert ended.code == 0
    assert len(accepted) > 200
    assert seen_by_sdk + 200 >= len(accepted)
    for listener in listeners:
        assert set(accepted) <= set(listener.received)
        assert len(set(listener.received)) == len(listener.received)
        assert listener.code == 3001


LARGE_QUEUE = {"max_queue_size": "64MiB"}


@asynccontextmanager
async def stuck_client(process: GatewatchProcess) -> AsyncIterator[None]:
    """Have a client that stopped reading, with more for it than any kernel's buffers take.

    ``LARGE_QUEUE`` keeps it from being cut off as slow.
    """
    async with raw_client(process) as stuck, raw_client(process) as reader:
        connection = stuck.socket._response.connection
        assert connection is not None
        transport: Any = connection.transport
        transport.pause_reading()
        for _ in range(30):
            await process.publish(CHANNEL, "x" * 800_000)
            await reader.published()
        saying_goodbye = asyncio.create_task(reader.closed())
        yield
        transport.abort()
        await saying_goodbye


async def test_a_client_that_stopped_reading_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """It is cut off in time; the process ends within service.shutdown_timeout, with code 0."""

    async def stop(directory: Path, gateway: dict[str, Any]) -> Ended:
        settings = {
            "gateway": {**LARGE_QUEUE, **gateway},
            "service": {"shutdown_timeout": "3s"},
        }
        async with serving(directory, settings) as process, stuck_client(process):
            return await process.end(signal.SIGTERM)

    settings: dict[str, dict[str, Any]] = {"shorter": {"drain_timeout": "1s"}, "longer": {}}
    for name in settings:
        (tmp_path / name).mkdir()
    outcomes = await asyncio.gather(
        *(stop(tmp_path / name, gateway) for name, gateway in settings.items())
    )

    for ended in outcomes:
        assert ended.code == 0, ended.err
        assert "1 cut off" in ended.err
        assert ended.seconds < 3.5


async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """Whoever insists gets the end at once, by the signal itself, as shells know it."""

    async def insist(number: signal.Signals) -> Ended:
        directory = tmp_path / number.name
        await asyncio.to_thread(directory.mkdir)
        async with (
            serving(directory, {"gateway": LARGE_QUEUE}) as process,
            stuck_client(process),
        ):
            process.send(number)
            await process.logged("stopping")
            return await process.end(number)

    term, interrupt = await asyncio.gather(insist(signal.SIGTERM), insist(signal.SIGINT))

    assert (term.code, interrupt.code) == (-signal.SIGTERM, -signal.SIGINT)
    assert max(term.seconds, interrupt.seconds) < 2
    assert "Traceback" not in term.err + interrupt.err
