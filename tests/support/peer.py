"""A WebSocket client without a library in between."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.gateway import RunningGateway

CONNECT = b'{"id":1,"connect":{}}'
SUBSCRIBE = b'{"id":2,"subscribe":{"channel":"a"}}'
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a frame of up to 64 KiB as clients write them."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Peer:
    """A WebSocket without a library in between, free to do anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        self.writer.write(masked(payload, opcode))

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        async with asyncio.timeout(10):
            first, second = await self.reader.readexactly(2)
            extended = {126: 2, 127: 8}.get(second, 0)
            size = int.from_bytes(await self.reader.readexactly(extended)) if extended else second
            return first & 0x0F, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        """Return the code of the close frame, whatever comes before it."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])


@asynccontextmanager
async def peer(running: RunningGateway, *payloads: bytes, headers: str = "") -> AsyncIterator[Peer]:
    """Upgrade, send text frames and take as many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(
        b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + headers.encode() + b"\r\n"
    )
    try:
        await reader.readuntil(b"\r\n\r\n")
        peer = Peer(reader, writer)
        for payload in payloads:
            peer.send(payload)
            await peer.frame()
        yield peer
    finally:
        writer.transport.abort()
