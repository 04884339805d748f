"""Ten thousand alerts in a thousand groups, posted to gatewatch and to Alertmanager in one run.

    python benchmarks/routing.py [--alerts 10000] [--groups 1000] [--alertmanager FOLDER]

Each program gets the same configuration and the same requests, one after the other. What counts is
how long after its ``group_wait`` the last group has been told to a webhook that answers at once,
the CPU time until then, and of gatewatch the longest that its event loop was held up. Linux only,
as it reads /proc.

Alertmanager is the one of ``--alertmanager`` or from PATH (Debian: ``prometheus-alertmanager``).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from benchmarks.processes import Child, free_port, running

GROUP_WAIT_S: Final = 5.0
BATCH: Final = 250
ALERTMANAGER: Final = "prometheus-alertmanager"
PATIENCE_S: Final = 120.0
ROUTES: Final = """\
route: {{receiver: hook, group_by: [group], group_wait: {wait}s, group_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: "{url}"}}]}}]
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a program came to.

    Attributes:
        posted_s: How long it took to take the alerts in.
        late_s: From the end of ``group_wait`` of each group until it was told, sorted.
        cpu_s: CPU time from the first alert to the last notification.
        memory_mib: Resident at the end.
        lag_s: The longest that the event loop was held up; None where there is none.
    """

    posted_s: float
    late_s: list[float]
    cpu_s: float
    memory_mib: float
    lag_s: float | None = None


class Hook:
    """A webhook receiver that answers at once and remembers when each group was told."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.alerts = 0
        self.url = ""
        self._news = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        async with self._news:
            self.told.setdefault(body["groupLabels"]["group"], time.monotonic())
            self.alerts += len(body["alerts"])
            self._news.notify_all()
        return web.Response()

    async def wait_for(self, groups: int) -> None:
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: len(self.told) >= groups)


@asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    """Run a receiver on a free port."""
    receiver = Hook()
    application = web.Application(client_max_size=1 << 26)
    application.router.add_post("/", receiver.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def gatewatch(folder: Path, routes: Path) -> AsyncIterator[tuple[Child, str]]:
    """Run ``gatewatch serve`` with nothing but the routes."""
    port = free_port()
    (folder / "gatewatch.yaml").write_text(
        f"gateway: {{port: 0}}\noperations: {{port: {port}}}\n"
        f"alerts: {{alertmanager_config: {routes}, default_rules: false}}\n"
    )
    command = (Path(sys.executable).with_name("gatewatch"), "serve", "--config")
    async with running(*command, folder / "gatewatch.yaml", log=folder / "log") as child:
        yield child, f"http://127.0.0.1:{port}"


@asynccontextmanager
async def alertmanager(
    folder: Path, routes: Path, program: Path
) -> AsyncIterator[tuple[Child, str]]:
    """Run Alertmanager without a cluster."""
    port = free_port()
    command = (
        program,
        f"--config.file={routes}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    async with running(*command, log=folder / "log") as child:
        yield child, f"http://127.0.0.1:{port}"


async def measure(
    child: Child, url: str, receiver: Hook, *, alerts: int, groups: int, folder: Path
) -> Measured:
    """Post all alerts and wait until every group was told."""
    async with aiohttp.ClientSession() as http:
        await until_ready(http, url, folder)
        before = await lags(http, url)
        cpu_s = child.cpu_s
        began = time.monotonic()
        due: dict[str, float] = {}
        for start in range(0, alerts, BATCH):
            batch = [
                {
                    "labels": {
                        "alertname": "Load",
                        "group": f"g{at % groups}",
                        "instance": f"host-{at}:9100",
                        "severity": "warning",
                    },
                    "annotations": {"summary": f"host-{at} is busy"},
                }
                for at in range(start, min(start + BATCH, alerts))
            ]
            for alert in batch:
                due.setdefault(alert["labels"]["group"], time.monotonic() + GROUP_WAIT_S)
            async with http.post(f"{url}/api/v2/alerts", json=batch) as answer:
                assert answer.status == 200, await answer.text()
        posted_s = time.monotonic() - began
        await receiver.wait_for(groups)
        late = sorted(receiver.told[group] - moment for group, moment in due.items())
        cpu_s = child.cpu_s - cpu_s
        lag_s = longest(before, await lags(http, url))
        return Measured(posted_s, late, cpu_s, child.memory_mib, lag_s)


async def until_ready(http: aiohttp.ClientSession, url: str, folder: Path) -> None:
    """Wait until a program answers."""
    for _ in range(600):
        try:
            async with http.get(f"{url}/-/ready") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise SystemExit(f"a program did not start:\n{(folder / 'log').read_text()[-2000:]}")


async def lags(http: aiohttp.ClientSession, url: str) -> list[tuple[float, int]]:
    """Return how often the event loop was held up for so long at most, since the start."""
    await asyncio.sleep(1)  # the page may be as old
    async with http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'gateway_event_loop_lag_seconds_bucket\{.*le="([^"]+)".*\} (\d+)', text)
    return [(float(bound), int(count)) for bound, count in found]


def longest(before: list[tuple[float, int]], after: list[tuple[float, int]]) -> float | None:
    """Return the bound of the longest time in between; None where nothing is measured."""
    known = dict(before)
    grown = [(bound, count - known.get(bound, 0)) for bound, count in after]
    return next((bound for bound, count in grown if count == grown[-1][1]), None)


async def compare(alerts: int, groups: int, program: Path | None) -> None:
    """Measure both and print a table."""
    if program is None:
        print("There is no prometheus-alertmanager on PATH, so nothing is beside gatewatch.")
    print(f"{alerts:,} alerts in {groups:,} groups, each due {GROUP_WAIT_S:.0f} s after its first")
    print(f"{'':14}{'posted':>9}{'late, median':>14}{'last':>9}{'CPU':>9}{'memory':>11}{'lag':>9}")
    for name in ("gatewatch",) if program is None else ("gatewatch", "Alertmanager"):
        with tempfile.TemporaryDirectory() as scratch:
            async with hook() as receiver:
                place = Path(scratch)
                routes = place / "routes.yaml"
                routes.write_text(ROUTES.format(wait=int(GROUP_WAIT_S), url=receiver.url))
                if program is None or name == "gatewatch":
                    started = gatewatch(place, routes)
                else:
                    started = alertmanager(place, routes, program)
                async with started as (child, url):
                    found = await measure(
                        child, url, receiver, alerts=alerts, groups=groups, folder=place
                    )
                lag = "" if found.lag_s is None else f"<{found.lag_s * 1000:g} ms"
                middle = found.late_s[len(found.late_s) // 2]
                print(
                    f"{name:14}{found.posted_s:7.2f} s{middle:12.2f} s{found.late_s[-1]:7.2f} s"
                    f"{found.cpu_s:7.2f} s{found.memory_mib:7.0f} MiB{lag:>9}"
                    + ("" if receiver.alerts >= alerts else f"  only {receiver.alerts} alerts told")
                )


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--alertmanager", type=Path, default=shutil.which(ALERTMANAGER))
    options = parser.parse_args()
    asyncio.run(compare(options.alerts, options.groups, options.alertmanager))


if __name__ == "__main__":
    main()
