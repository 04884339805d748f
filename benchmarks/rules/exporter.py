"""The series both programs scrape: 10,000 counters, 10 gauges and 70 histograms.

Run by ``benchmarks/rules.py``. Prints its port, then serves until standard input ends. The text is
made once per slot of five seconds, so that whoever scrapes, and when, reads the same numbers.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from typing import Final

SLOT_S: Final = 5
COUNTERS: Final = 10_000
GAUGES: Final = 10
PATHS: Final = 70
BOUNDS: Final = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")

_COUNTER_NAMES: Final = tuple(
    f'bench_requests_total{{code="{200 + at % 5}",path="/p{at % 40}",pod="pod-{at}"}}'
    for at in range(COUNTERS)
)
_GAUGE_NAMES: Final = tuple(f'bench_queue_size{{queue="q{at}"}}' for at in range(GAUGES))
_BUCKET_NAMES: Final = tuple(
    f'bench_latency_bucket{{le="{bound}",path="/p{path}"}}'
    for path in range(PATHS)
    for bound in BOUNDS
)


def render(slot: int) -> bytes:
    """Return what there is to scrape in a slot."""
    lines = ["# TYPE bench_requests_total counter"]
    lines += [f"{name} {slot * (1 + at % 97)}" for at, name in enumerate(_COUNTER_NAMES)]
    lines.append("# TYPE bench_queue_size gauge")
    lines += [
        f"{name} {50 + 50 * math.sin(slot / 7 + at):.3f}" for at, name in enumerate(_GAUGE_NAMES)
    ]
    lines.append("# TYPE bench_latency histogram")
    lines += [
        f"{name} {slot * (1 + at // len(BOUNDS)) * (1 + at % len(BOUNDS))}"
        for at, name in enumerate(_BUCKET_NAMES)
    ]
    return "\n".join([*lines, ""]).encode()


async def serve() -> None:
    """Answer every request with the metrics of the moment."""
    rendered: dict[int, bytes] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                slot = int(time.monotonic()) // SLOT_S
                if slot not in rendered:
                    rendered.clear()
                    rendered[slot] = render(slot)
                body = rendered[slot]
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
