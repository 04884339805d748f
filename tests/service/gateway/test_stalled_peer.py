"""One that does not read among a thousand that do."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tests.support.crowd import crowd, need_files
from tests.support.gateway import running_gateway, until

OTHERS = 999
AFTERWARDS = 5
"""Messages after the one was cut off."""
AT_MOST = 200
TEXT = "x" * 4000


async def test_who_stops_reading_holds_up_nobody():
    """The others get each message before the next is published; the one is cut off as slow."""
    need_files(2 * (OTHERS + 1))
    settings: dict[str, Any] = {
        "max_queue_size": "16KiB",
        "write_timeout": "1d",
        "ping_interval": "1d",
    }
    async with running_gateway(max_connections=OTHERS + 1, **settings) as running:
        connections, stats = running.gateway.connections, running.gateway.stats
        async with crowd(running.port, "news", 1) as (stalled,):
            stalled.transport.pause_reading()
            (connection,) = connections
            # Little room in the kernel, so that what is not read is soon in the queue.
            ours = connection._transport.get_extra_info("socket")
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            theirs = stalled.transport.get_extra_info("socket")
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            async with crowd(running.port, "news", OTHERS) as others:
                lagging: list[int] = []
                count = 0
                while count < len(lagging) + AFTERWARDS:
                    assert count < AT_MOST
                    count += 1
                    await running.publish("news", [count, TEXT])
                    await asyncio.gather(*(other.has_received(count) for other in others))
                    if connection.close_reason is None:
                        lagging.append(connection.queued_bytes)

                assert lagging[-1] > 0
                assert connections.stats.closed == {3008: 1}
                assert stats.dropped["slow_consumer"] == 1
                await until(lambda: len(connections) == OTHERS)
                for other in others:
                    assert other.received == [[n, TEXT] for n in range(1, count + 1)]
                    assert other.code == 0
            stalled.transport.resume_reading()
            await stalled.left

    assert len(stalled.received) <= len(lagging)
