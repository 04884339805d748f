"""What is measured: bursts to many subscribers, how late a message comes, and memory."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.fanout.sides import HERE, Server, Side
from benchmarks.processes import Child, running

WINDOW_S: Final = 0.010
"""A batching window of gatewatch's defaults: how long nothing is sent after a burst."""
LATENCY_INTERVAL_S: Final = 0.020
_SLOW_ROUND_S: Final = 2.0
"""A side whose round takes longer has no further ones at that point."""
_TOO_SLOW_S: Final = 30.0
"""A side that would need longer for one burst is not asked for it."""
_LOST_S: Final = 90.0
"""A burst that has not arrived by then has lost messages, and its side is out."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where processes run; None where there is one core only.

    Attributes:
        server: Of the server alone.
        reader: Of everything else.
    """

    server: int | None
    reader: int | None


@dataclass(frozen=True, slots=True)
class Round:
    """What one side came to in one round.

    Attributes:
        cpu_us: CPU time of the server for each delivered message, in microseconds.
        rate: Delivered messages a second.
        reader_share: CPU time of the reader through the time that passed.
    """

    cpu_us: float
    rate: float
    reader_share: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a server for each of its idle connections, in bytes."""

    bytes_each: float


class Line:
    """A side that runs and has its subscribers."""

    def __init__(self, side: Side, server: Server, reader: Child, subscribers: int) -> None:
        self.side = side
        self.subscribers = subscribers
        self._server = server
        self._reader = reader
        self._rate = 0.0
        self._has_lost = False

    def is_able(self, count: int) -> bool:
        """Whether a burst can be waited for, by how the last round went."""
        if self._has_lost:
            return False
        return not self._rate or count * self.subscribers / self._rate < _TOO_SLOW_S

    async def burst(self, count: int, *, timed: bool = False) -> list[int]:
        """Publish messages at once and wait until all subscribers have them.

        Returns:
            When each was received, in nanoseconds of the monotonic clock, if that was asked for.
        """
        reader = self._reader.process.stdin
        assert reader is not None
        output = self._reader.process.stdout
        assert output is not None
        reader.write(f"{count * self.subscribers}{' timed' if timed else ''}\n".encode())
        try:
            async with asyncio.timeout(_LOST_S):
                await self._server.publisher.publish(count)
                answer = await output.readline()
        except TimeoutError:
            self._has_lost = True
            raise
        assert answer, f"the reader of {self.side.name} ended"
        return [int(arrival) for arrival in answer.split()[1:]]

    async def round(self, count: int, seconds: float) -> Round:
        """Publish bursts for so long, one at least."""
        await self.connect()
        server_s, reader_s = self._server.child.cpu_s, self._reader.cpu_s
        began = time.perf_counter()
        bursts = 0
        while not bursts or time.perf_counter() - began < seconds:
            await self.burst(count)
            bursts += 1
            await asyncio.sleep(WINDOW_S)
        wall_s = time.perf_counter() - began
        delivered = bursts * count * self.subscribers
        self._rate = delivered / wall_s
        return Round(
            cpu_us=(self._server.child.cpu_s - server_s) / delivered * 1e6,
            rate=self._rate,
            reader_share=(self._reader.cpu_s - reader_s) / wall_s,
        )

    async def latencies(self) -> list[float]:
        """Return how long a single message took to each subscriber, in seconds."""
        began = time.monotonic_ns()
        return [(arrival - began) / 1e9 for arrival in await self.burst(1, timed=True)]

    async def connect(self) -> None:
        """Publish over a fresh connection from now on."""
        await self._server.publisher.connect()


@asynccontextmanager
async def line(
    side: Side, subscribers: int, *, folder: Path, compiled: Path | None, cores: Cores
) -> AsyncIterator[tuple[Line, Memory]]:
    """Run a side with its subscribers, and say what they took."""
    async with side.start(folder, cores.server) as server:
        before = await settled_memory(server.child)
        command = (sys.executable, HERE / "reader.py", str(server.port), str(subscribers))
        program = (str(compiled),) if compiled is not None else ()
        arguments = (*command, side.handshake.encode(), *program)
        async with running(*arguments, core=cores.reader) as reader:
            assert await reader.line() == "ready"
            after = await settled_memory(server.child)
            started = Line(side, server, reader, subscribers)
            await started.burst(10)  # what is done once is done
            yield started, Memory((after - before) / subscribers)


async def settled_memory(child: Child) -> float:
    """Return the resident bytes of a process when they no longer change much."""
    last = child.memory_mib
    while True:
        await asyncio.sleep(0.3)
        memory = child.memory_mib
        if abs(memory - last) < 1:
            return memory * (1 << 20)
        last = memory


async def measure(
    lines: Sequence[Line], count: int, *, rounds: int, seconds: float
) -> dict[str, Round]:
    """Let all sides publish in turn, several times, and return the medians by their keys.

    Sides that would take too long are not among them.
    """
    able = [one for one in lines if one.is_able(count)]
    found: dict[str, list[Round]] = {one.side.key: [] for one in able}
    slow: set[str] = set()
    for _ in range(rounds):
        for one in able:
            if one.side.key in slow:
                continue
            began = time.perf_counter()
            try:
                found[one.side.key].append(await one.round(count, seconds))
            except TimeoutError:
                print(f"{one.side.name} did not deliver {count} at once in {_LOST_S:.0f} s.\n")
                slow.add(one.side.key)
                continue
            if time.perf_counter() - began > max(_SLOW_ROUND_S, 2 * seconds):
                slow.add(one.side.key)
    return {key: median(of_side) for key, of_side in found.items() if of_side}


async def latencies(lines: Sequence[Line], messages: int) -> dict[str, list[float]]:
    """Let all sides publish single messages in turn; return how long each took, in seconds, sorted.

    In turn message by message, so that what else the machine does is the same for all.
    """
    for one in lines:
        await one.connect()
    found: dict[str, list[float]] = {one.side.key: [] for one in lines}
    for number in range(messages):
        due = time.perf_counter() + LATENCY_INTERVAL_S
        first = number % len(lines)
        for one in (*lines[first:], *lines[:first]):
            found[one.side.key] += await one.latencies()
        await asyncio.sleep(due - time.perf_counter())
    return {key: sorted(values) for key, values in found.items()}


def median(rounds: Sequence[Round]) -> Round:
    """Return the median of each figure; of the reader's share the largest."""
    return Round(
        cpu_us=statistics.median(each.cpu_us for each in rounds),
        rate=statistics.median(each.rate for each in rounds),
        reader_share=max(each.reader_share for each in rounds),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of sorted values does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
