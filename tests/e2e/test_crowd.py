"""Thousands of clients come and go, and leave no memory behind."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from tests.support.crowd import crowd, need_files
from tests.support.process import GatewatchProcess, eventually, serving

_LOG = logging.getLogger(__name__)

CLIENTS = 5_000
KIB = 1024
SLACK = 4 * 1024 * KIB
"""What an allocator may keep or take anew between rounds: under 1 KiB for each client."""


def resident(process: GatewatchProcess) -> int:
    """Return how many bytes of memory a process has."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("the memory of another process is read from /proc")
    (line,) = [each for each in status.read_text().splitlines() if each.startswith("VmRSS:")]
    return int(line.split()[1]) * KIB


async def come_and_go(process: GatewatchProcess) -> tuple[int, int]:
    """Have everybody connect and leave; return the memory with all of them and without."""
    port = int(process.gateway_url.rpartition(":")[2])
    async with crowd(port, "room", CLIENTS):
        assert await clients(process) == CLIENTS
        full = resident(process)

    async def empty() -> bool:
        return await clients(process) == 0

    await eventually(empty, what="the end of all connections", timeout_s=30)
    return full, resident(process)


async def clients(process: GatewatchProcess) -> int:
    """Return how many connections the process says it has."""
    _, answer = await process.post("info", {})
    count: int = answer["result"]["nodes"][0]["num_clients"]
    return count


async def full_collections(process: GatewatchProcess) -> float:
    """Return how often the garbage collector of a process looked at everything."""
    text = await process.operations("/metrics")
    (line,) = re.findall(r'^cpython_gc_collections_total\{.*generation="2".*\} (.+)$', text, re.M)
    return float(line)


@pytest.mark.timeout(180)
async def test_five_thousand_connections_come_and_go_without_a_trace(tmp_path):
    """Whoever comes later uses the memory of those who left; no full collection has to find it."""
    need_files(CLIENTS)
    quiet = {"collect_interval": "1m", "export_interval": "1m"}
    settings = {"gateway": {"max_connections": CLIENTS}, "telemetry": quiet}
    async with serving(tmp_path, settings) as process:
        start, collected = resident(process), await full_collections(process)
        first, after_first = await come_and_go(process)
        second, after_second = await come_and_go(process)
        # Where all of this takes minutes, the process is seen to have doubled meanwhile.
        doubled = sum("the process has doubled" in line for line in process.lines)
        assert await full_collections(process) == collected + doubled

    _LOG.info("memory of an idle connection: %.1f KiB", (first - start) / CLIENTS / KIB)
    _LOG.info("MiB: %s", [n >> 20 for n in (start, first, after_first, second, after_second)])
    assert max(second, after_second) < max(first, after_first) + SLACK
