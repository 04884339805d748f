"""Thousands of WebSocket clients at a time: a protocol on each socket and no library."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.codec import decode, encode
from tests.support.peer import CLOSE, TEXT, masked

_SPARE_FILES = 200
_AT_ONCE = 100
"""Connections that are being opened at a time; the backlog of a listener has room for 128."""
_REQUEST = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Member(asyncio.Protocol):
    """An anonymous client that is subscribed to a channel and keeps what it receives.

    Attributes:
        joined: Done when it is subscribed.
        left: Done when its connection has ended.
        received: The data of all publications, in order.
        code: Of the close frame; 0 while there was none.
    """

    def __init__(self, channel: str) -> None:
        loop = asyncio.get_running_loop()
        self.joined: asyncio.Future[None] = loop.create_future()
        self.left: asyncio.Future[None] = loop.create_future()
        self.received: list[object] = []
        self.code = 0
        self.transport: asyncio.Transport
        self._channel = channel
        self._waiting: tuple[int, asyncio.Future[None]] | None = None
        self._unread = b""
        self._upgraded = False

    async def has_received(self, count: int) -> None:
        """Wait for so many publications."""
        if len(self.received) < count:
            self._waiting = (count, asyncio.get_running_loop().create_future())
            await self._waiting[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._upgraded:
            _, found, rest = self._unread.partition(b"\r\n\r\n")
            if not found:
                return
            self._upgraded, self._unread = True, rest
            subscribe = encode({"id": 2, "subscribe": {"channel": self._channel}})
            self.transport.write(masked(b'{"id":1,"connect":{}}\n' + subscribe))
        self._read_frames()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("it ended before it was subscribed"))
        self.left.set_result(None)

    def _read_frames(self) -> None:
        unread = self._unread
        while len(unread) >= 2:
            extended = {126: 2, 127: 8}.get(unread[1], 0)
            start = 2 + extended
            size = int.from_bytes(unread[2:start]) if extended else unread[1]
            if len(unread) < start + size:
                break
            self._take(unread[0] & 0x0F, unread[start : start + size])
            unread = unread[start + size :]
        self._unread = unread

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self.code = int.from_bytes(payload[:2])
        if opcode != TEXT:
            return
        for line in payload.split(b"\n"):
            answer = decode(line)
            if not answer:  # a ping, which wants an answer
                self.transport.write(masked(b"{}"))
            elif "push" in answer:
                self.received.append(answer["push"]["pub"]["data"])
            elif answer.get("id") == 2:
                assert "subscribe" in answer, answer
                self.joined.set_result(None)
        if self._waiting is not None and len(self.received) >= self._waiting[0]:
            self._waiting[1].set_result(None)
            self._waiting = None


@asynccontextmanager
async def crowd(port: int, channel: str, size: int) -> AsyncIterator[list[Member]]:
    """Have so many clients subscribed to a channel, and have all of them leave at the end."""
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(_AT_ONCE)
    members: list[Member] = []

    async def join() -> None:
        async with places:
            _, member = await loop.create_connection(lambda: Member(channel), "127.0.0.1", port)
            members.append(member)
            await member.joined

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                group.create_task(join())
        yield members
    finally:
        for member in members:
            member.transport.abort()
        await asyncio.gather(*(member.left for member in members))


def need_files(count: int) -> None:
    """Allow this process and those it starts so many open files, or skip the test."""
    wanted = count + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} open files are needed, and the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
