"""The reader of benchmarks/fanout.py: it counts what subscribers get, however it comes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.fanout import programs, sides
from benchmarks.fanout.reader import Handshake

HANDSHAKE = Handshake(path="/", hello="hello", ready="welcome")


class Server:
    """Accepts subscribers and writes to them."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await reader.readuntil(b"hello")
        self.writers.append(writer)
        writer.write(b"welcome")


class Reader:
    """The reader as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        self._output = process.stdout

    def ask(self, line: str) -> None:
        self._input.write(f"{line}\n".encode())

    async def answer(self) -> str:
        return (await self._output.readline()).decode().rstrip("\n")


@asynccontextmanager
async def reading(server: Server, subscribers: int, *compiled: str) -> AsyncIterator[Reader]:
    """Run the reader with its subscribers."""
    listening = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    program = (sys.executable, sides.HERE / "reader.py", str(port), str(subscribers))
    process = await asyncio.create_subprocess_exec(
        *program,
        HANDSHAKE.encode(),
        *compiled,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        reader = Reader(process)
        assert await reader.answer() == "ready"
        yield reader
    finally:
        process.kill()
        await process.wait()
        for writer in server.writers:
            writer.close()
        listening.close()
        await listening.wait_closed()


@pytest.fixture(params=["python", "compiled"])
def compiled(request, tmp_path: Path) -> tuple[str, ...]:
    if request.param == "python":
        return ()
    program = programs.compile_reader(tmp_path)
    if program is None:
        pytest.skip("there is no C compiler")
    return (str(program),)


async def test_messages_are_counted_whatever_the_reads_they_come_in(compiled):
    """A mark may be cut in two, and half a mark in the head of a frame is none."""
    server = Server()
    async with reading(server, 3, *compiled) as reader:
        reader.ask("4")
        first, second, third = server.writers
        first.write(b"\x81~\x00\x86...#~...#")
        await first.drain()
        second.write(b"~ is no mark, #~ is one")
        third.write(b"#~")
        first.write(b"~")

        assert await reader.answer() == "4"


async def test_arrivals_are_told_one_by_one(compiled):
    """Latencies are those of each message to each subscriber."""
    server = Server()
    async with reading(server, 2, *compiled) as reader:
        reader.ask("3 timed")
        server.writers[0].write(b"#~#~")
        server.writers[1].write(b"#~")

        count, *arrivals = map(int, (await reader.answer()).split())

        assert (count, len(arrivals)) == (3, 3)


async def test_what_comes_early_counts_for_the_next_answer(compiled):
    """Nothing is lost between two bursts."""
    server = Server()
    async with reading(server, 1, *compiled) as reader:
        server.writers[0].write(b"#~" * 5)
        reader.ask("3")
        assert await reader.answer() == "3"

        reader.ask("2")

        assert await reader.answer() == "2"
