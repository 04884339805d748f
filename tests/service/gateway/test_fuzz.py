"""Whatever a peer sends, it is answered by the protocol, and nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gateway import RawClient, RunningGateway, running_gateway
from tests.support.peer import BINARY, CLOSE, CONNECT, PING, TEXT, peer
from tests.support.tokens import SECRET, signed

PONG = 10
QUIET = "calm:quiet"
"""The neighbour's channel."""
NAMES = ["a", "a", "a", "kept:a", "kept:b", "$a", "a#7", "nowhere:a", "", "é", "a" * 300]
OPTIONS: dict[str, Any] = {
    "allow_publish_for_anonymous": True,
    "allow_publish_for_client": True,
    "allow_history_for_anonymous": True,
    "allow_presence_for_anonymous": True,
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "history_size": 5,
    "history_ttl": "1h",
    "allow_positioning": True,
    "allow_recovery": True,
}
SETTINGS: dict[str, Any] = {
    "token": {"hmac_secret": SECRET},
    "ping_interval": "1d",
    "idle_timeout": "1d",
    "max_message_size": "8KiB",
    "max_commands_per_second": 0,
    "channels": OPTIONS,
    "namespaces": [
        {"name": "kept", **OPTIONS, "force_recovery": True},
        {"name": "calm", "allow_publish_for_subscriber": True},
    ],
}
CODES = {1000, 1002, 1003, 1007, 1009, 3005, 3008, 3010, *range(3500, 3510)}
"""What a peer may be told; 3004, an internal error, is not among it."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
tokens = st.sampled_from(
    [
        "",
        "x.y.z",
        signed({"sub": "7"}, "HS256"),
        signed({"sub": "7", "exp": 1}, "HS256"),
        signed({"sub": "", "channel": "$a", "exp": 2**40}, "HS256"),
        signed({"sub": "7", "channels": ["a", "kept:a"]}, "HS256"),
    ]
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "token": tokens,
    "channel": st.sampled_from(NAMES),
    "data": values,
    "method": st.text(max_size=10),
    "recover": st.booleans(),
    "recoverable": st.booleans(),
    "positioned": st.booleans(),
    "join_leave": st.booleans(),
    "offset": st.integers(-2, 12) | st.sampled_from([2**63, 2**64, 2**70]),
    "epoch": st.sampled_from(["", "old"]),
    "limit": st.integers(-3, 10) | st.just(2**70),
    "reverse": st.booleans(),
    "since": st.fixed_dictionaries({}, optional={"offset": st.integers(0, 9), "epoch": st.text()}),
    "flag": st.integers(0, 4),
    "subs": st.dictionaries(st.sampled_from(NAMES), st.just({"recover": True}) | values),
    "headers": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    "name": st.text(max_size=20),
    "type": st.sampled_from([0, 0, 0, 1]),
    "tf": st.sampled_from([None, None, {"op": "eq"}]),
}
USUAL = [
    "subscribe", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history",
    "rpc",
]  # fmt: skip
RARE = ["connect", "send", "refresh", "sub_refresh", "ping", "fly"]


@st.composite
def commands(draw: st.DrawFn) -> bytes:
    """Draw a command that is mostly right."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=4, unique=True))
    request: dict[str, Any] = {"channel": draw(FIELDS["channel"])}
    odds = draw(st.integers(0, 29))
    for index, name in enumerate(names):
        request[name] = draw(values if odds == index else FIELDS[name])
    method = draw(st.sampled_from(RARE if odds == 5 else USUAL))
    request.setdefault("data", 1)
    fields: dict[str, Any] = {"id": draw(st.integers(1, 99)), method: request}
    if odds == 6:
        fields[draw(st.sampled_from(["id", method, "x", "connect"]))] = draw(values)
    return json.dumps(fields, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Draw a command some of whose bytes are others, missing or there twice."""
    text = bytearray(draw(commands()))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(text) - 1)))
        match draw(st.integers(0, 2)):
            case 0:
                text[place : place + 1] = draw(st.binary(min_size=1, max_size=2))
            case 1:
                del text[place : place + draw(st.integers(1, 8))]
            case _:
                text[place:place] = text[place : place + draw(st.integers(1, 8))]
    return bytes(text)


depths = st.integers(1, 2000)
odd = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\n", b"{}", b"[]", b"{}\n\n{}", b"\xef\xbb\xbf{}", b"\x00", b'"']),
    depths.map(lambda depth: b'{"id":1,"publish":{"channel":"a","data":' + b"[" * depth),
    depths.map(lambda n: b'{"id":1,"rpc":{"data":' + b"[" * n + b"]" * n + b"}}"),
    depths.map(lambda n: b'{"id":1,"publish":{"channel":"a","data":' + b"9" * n + b"}}"),
    depths.map(lambda n: b'{"id":1,"publish":{"channel":"a","data":1e' + b"9" * n + b"}}"),
    st.integers(0, 9000).map(lambda n: b'{"id":1,"rpc":{"method":"' + b"m" * n + b'"}}'),
    st.just(b'{"id":1,"publish":{"channel":"a","data":"\\ud800"}}'),
    st.just(b'{"id":1,"publish":{"channel":"a","data":"\xff\xc0"}}'),
)
sane = st.lists(commands(), min_size=1, max_size=5).map(b"\n".join)
payloads = sane | st.lists(
    commands() | mutations() | st.just(b"{}") | odd, min_size=1, max_size=4
).map(b"\n".join)


@dataclass(frozen=True)
class Wire:
    """One WebSocket frame as it is written, right or wrong."""

    payload: bytes
    opcode: int = TEXT
    fin: bool = True
    reserved: int = 0
    mask: bytes | None = b"\x00\x00\x00\x00"
    claimed: int | None = None

    def encoded(self) -> bytes:
        """Return the bytes of the frame."""
        size = len(self.payload) if self.claimed is None else self.claimed
        first = (0x80 if self.fin else 0) | self.reserved << 4 | self.opcode
        flag = 0x80 if self.mask is not None else 0
        if size < 126:
            head = bytes([first, flag | size])
        elif size < 1 << 16:
            head = bytes([first, flag | 126]) + struct.pack("!H", size)
        else:
            head = bytes([first, flag | 127]) + struct.pack("!Q", size)
        if self.mask is None:
            return head + self.payload
        mask = self.mask * (len(self.payload) // 4 + 1)
        hidden = bytes(a ^ b for a, b in zip(self.payload, mask, strict=False))
        return head + self.mask + hidden


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """Draw a message in several frames, perhaps with a control frame between them."""
    text = draw(payloads)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=3)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = b""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        found += Wire(part, 0 if index else TEXT, fin=last).encoded()
        if not last and draw(st.booleans()):
            found += Wire(b"x", draw(st.sampled_from([PING, PONG]))).encoded()
    return found


wires = st.builds(
    Wire,
    payloads | st.binary(max_size=130),
    opcode=st.sampled_from([TEXT, TEXT, TEXT, BINARY, CLOSE, PING, PONG, 0, 3, 11]),
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 1, 4, 7]),
    mask=st.none() | st.binary(min_size=4, max_size=4),
    claimed=st.none() | st.sampled_from([0, 5, 125, 126, 9000, 1 << 16, 1 << 40, (1 << 64) - 1]),
).map(Wire.encoded)
closes = st.builds(
    lambda code, reason: Wire(code.to_bytes(2) + reason, CLOSE).encoded(),
    st.integers(0, 65535),
    st.binary(max_size=130),
)
good = (sane | sane | sane | payloads).map(
    lambda payload: Wire(payload, mask=b"\x01\x02\x03\x04").encoded()
)
streams = st.lists(
    good | good | good | good | good | good | fragmented() | wires | closes | st.binary(max_size=9),
    min_size=1,
    max_size=10,
)


class Faults(logging.Handler):
    """Keeps what is logged as a fault, and what the loop is told that nobody handled."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))

    def unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.found.append(str(context))


class Fuzzed:
    """A gateway with a well-behaved neighbour, attacked by one peer after the other."""

    def __init__(self, running: RunningGateway, neighbour: RawClient, faults: Faults) -> None:
        self.running = running
        self.neighbour = neighbour
        self.faults = faults
        self.rounds = 0

    async def attack(self, chunks: list[bytes], *, connects: bool, leaves: bool) -> None:
        """Send chunks, and take what comes back."""
        async with peer(self.running) as attacker:
            writer = attacker.writer
            if connects:
                attacker.send(CONNECT)
            for chunk in chunks:
                if not writer.is_closing():
                    writer.write(chunk)
                await asyncio.sleep(0)
            if leaves:
                writer.transport.abort()
                return
            # A server that closes while more comes resets the connection, answers and all.
            with suppress(OSError):
                writer.write_eof()
            with suppress(ConnectionError):
                async with asyncio.timeout(10):
                    check_answers(await attacker.reader.read())

    async def is_well(self) -> None:
        """The neighbour can publish and receive, and nothing was logged as a fault."""
        self.rounds += 1
        reply = await self.neighbour.call(publish={"channel": QUIET, "data": self.rounds})
        assert "publish" in reply
        assert await self.neighbour.published() == self.rounds
        assert self.faults.found == []


def check_answers(received: bytes) -> None:
    """All that came is frames of replies and pushes, and goodbyes with a code that is known."""
    ended = False
    while received:
        opcode, size, start = received[0] & 0x0F, received[1], 2
        assert received[0] & 0xF0 == 0x80
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(received[2:start])
        payload, received = received[start : start + size], received[start + size :]
        assert len(payload) == size
        if opcode == CLOSE:
            ended = True
            assert int.from_bytes(payload[:2]) in CODES, payload
        elif opcode == TEXT:
            assert not ended
            for line in payload.split(b"\n"):
                answer = json.loads(line)
                assert not answer or "push" in answer or answer["id"]
                assert answer.get("error", {}).get("code") != 100
        else:
            assert opcode == PONG


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[asyncio.Runner, Fuzzed]]:
    """Run a gateway and its neighbour for all examples."""
    faults = Faults()
    logging.getLogger().addHandler(faults)
    stack = AsyncExitStack()

    async def start() -> Fuzzed:
        asyncio.get_running_loop().set_exception_handler(faults.unhandled)
        running = await stack.enter_async_context(running_gateway(**SETTINGS))
        neighbour = await stack.enter_async_context(running.client())
        await neighbour.subscribe(QUIET)
        return Fuzzed(running, neighbour, faults)

    with asyncio.Runner() as runner:
        yield runner, runner.run(start())
        runner.run(stack.aclose())
        gc.collect()
    logging.getLogger().removeHandler(faults)
    assert faults.found == []


@given(chunks=streams, connects=st.sampled_from([True] * 5 + [False]), leaves=st.booleans())
@settings(max_examples=120, suppress_health_check=list(HealthCheck))
def test_nothing_a_peer_sends_is_a_fault_of_the_server(
    fuzzed: tuple[asyncio.Runner, Fuzzed], chunks: list[bytes], connects: bool, leaves: bool
):
    """It is answered, or its connection ends with a code; a neighbour goes on undisturbed."""
    runner, gateway = fuzzed

    runner.run(gateway.attack(chunks, connects=connects, leaves=leaves))
    runner.run(gateway.is_well())


def test_peers_at_the_same_time_are_kept_apart(fuzzed: tuple[asyncio.Runner, Fuzzed]):
    """Halves of frames of one never meet halves of another."""
    runner, gateway = fuzzed

    @given(many=st.lists(streams, min_size=2, max_size=4))
    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    def attack(many: list[list[bytes]]) -> None:
        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                for chunks in many:
                    halves = [half for each in chunks for half in (each[:7], each[7:])]
                    group.create_task(gateway.attack(halves, connects=True, leaves=False))

        runner.run(together())
        runner.run(gateway.is_well())

    attack()
