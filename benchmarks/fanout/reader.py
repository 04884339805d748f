"""Subscribes with many sockets and reads what they are sent; a program of its own.

    python reader.py PORT COUNT HANDSHAKE [COMPILED]

``HANDSHAKE`` is a ``Handshake`` as JSON. When all are subscribed it prints ``ready`` and gives its
sockets to the compiled reader, or reads itself where there is none: the protocol is in reader.c.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

MARK: Final = b"#~"
"""What every message holds once, and nothing else that is sent."""
_AT_ONCE: Final = 200
_RECEIVE_BYTES: Final = 1 << 20
_PATIENCE_S: Final = 30.0
_NAP_S: Final = 0.0005
_STDIN: Final = 0
_STDOUT: Final = 1


@dataclass(frozen=True, slots=True)
class Handshake:
    """How a subscription is made.

    Attributes:
        path: Of the WebSocket.
        hello: What is sent in one text frame after the upgrade; empty: nothing.
        ready: Part of what tells that the subscription is made.
    """

    path: str
    hello: str
    ready: str

    def encode(self) -> str:
        """Return it as an argument of this program."""
        return json.dumps(asdict(self))


def subscribe(port: int, count: int, handshake: Handshake) -> list[socket.socket]:
    """Return sockets that have a subscription each."""
    sockets: list[socket.socket] = []
    while len(sockets) < count:
        some = [
            socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
            for _ in range(min(_AT_ONCE, count - len(sockets)))
        ]
        for peer in some:
            peer.sendall(_upgrade(handshake.path))
        rest = [_receive(peer, b"\r\n\r\n") for peer in some]
        if handshake.hello:
            for peer in some:
                peer.sendall(_text_frame(handshake.hello.encode()))
        ready = handshake.ready.encode()
        for peer, received in zip(some, rest, strict=True):
            _receive(peer, ready, received)
        sockets += some
    return sockets


def _upgrade(path: str) -> bytes:
    lines = (
        *(f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""),
    )
    return "\r\n".join(lines).encode()


def _text_frame(payload: bytes) -> bytes:
    """Return a client's frame, masked with zeros, which leave it as it is."""
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


def _receive(peer: socket.socket, part: bytes, received: bytes = b"") -> bytes:
    """Return what comes after a part, when it came."""
    while part not in received:
        chunk = peer.recv(65536)
        if not chunk:
            raise SystemExit(f"a subscription was refused: {received[:500]!r}")
        received += chunk
    return received.partition(part)[2]


def read(sockets: Sequence[socket.socket]) -> None:
    """Count messages and answer as reader.c does, more slowly."""
    by_number = {peer.fileno(): peer for peer in sockets}
    poll = select.epoll()
    for number in (_STDIN, *by_number):
        poll.register(number, select.EPOLLIN)
    buffer = bytearray(_RECEIVE_BYTES)
    view = memoryview(buffer)
    halves: set[int] = set()  # sockets whose last read ended within a mark
    seen = expected = 0
    timed = False
    arrivals: list[tuple[int, int]] = []
    while True:
        if not timed:
            time.sleep(_NAP_S)
        for number, _ in poll.poll():
            if number == _STDIN:
                line = os.read(_STDIN, 64)
                if not line:
                    return
                expected, timed = int(line.split()[0]), b"timed" in line
                continue
            size = by_number[number].recv_into(view)
            if not size:
                raise SystemExit("a subscriber was disconnected")
            messages = buffer.count(MARK, 0, size) + (number in halves and buffer[0] == MARK[1])
            (halves.add if buffer[size - 1] == MARK[0] else halves.discard)(number)
            if messages:
                seen += messages
                arrivals.append((time.monotonic_ns(), messages))
        if expected and seen >= expected:
            moments = [str(when) for when, count in arrivals for _ in range(count) if timed]
            os.write(_STDOUT, (" ".join([str(expected), *moments]) + "\n").encode())
            seen -= expected
            expected = 0
            arrivals.clear()


def main(port: str, count: str, handshake: str, compiled: str = "") -> None:
    """Subscribe, then read for ever."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = subscribe(int(port), int(count), Handshake(**json.loads(handshake)))
    os.write(_STDOUT, b"ready\n")
    if not compiled:
        read(sockets)
        return
    numbers = [peer.fileno() for peer in sockets]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "the sockets have numbers in a row"
    for peer in sockets:
        peer.setblocking(True)
        peer.set_inheritable(True)
    os.execv(compiled, (compiled, str(numbers[0]), str(numbers[-1])))


if __name__ == "__main__":
    main(*sys.argv[1:])
