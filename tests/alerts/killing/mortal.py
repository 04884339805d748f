"""A process that starts mortal ones: the alerting library at work, forked off within milliseconds.

Run as a program. For each line of standard input, the path of a folder, it forks a process that
runs until it is killed, and writes its pid. In the folder are ``rules.yaml``, ``routes.yaml`` and
``signals.json``, the metrics by alert; the process writes the address of its API to ``address``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from random import Random

import aiohttp
from aiohttp import web

from alerts.alerting import Alerting, AlertingOptions
from alerts.alertmanager import AlertmanagerOptions
from alerts.clock import SystemClock
from alerts.notify.catalogue import ChannelCatalogue
from alerts.notify.delivery import Backoff
from alerts.promql.engine import Engine
from alerts.routing.config import load_routing
from alerts.rules.file import load_rules
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from alerts.storage.database import Database
from alerts.telemetry import AlertsTelemetry
from service.alertmanager_api import alertmanager_api_routes
from tests.support.webhook import AiohttpTransport

STEP_S = 0.02


def main() -> None:
    """Fork a process for each line until the input ends."""
    catalogue = ChannelCatalogue.shipped()
    for name in ("alembic.command", "alembic.script"):
        importlib.import_module(name)  # else each life would begin with it
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(live(Path(line.strip()), catalogue))
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        os.waitpid(pid, 0)


async def live(folder: Path, catalogue: ChannelCatalogue) -> None:
    """Evaluate, route and deliver until killed, or until told to end in order."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    clock = SystemClock()
    store = SeriesStore(clock=clock, retention_s=60)
    engine = Engine(store)
    async with aiohttp.ClientSession() as session:
        alerting = Alerting(
            engine=engine,
            store=store,
            groups=load_rules([folder / "rules.yaml"], engine=engine, default_interval_s=1),
            routing=load_routing(folder / "routes.yaml", channels=catalogue),
            database=Database(f"sqlite:///{folder / 'alerts.db'}"),
            transport=AiohttpTransport(session),
            clock=clock,
            random=Random(),
            telemetry=AlertsTelemetry.disabled(),
            options=AlertingOptions(
                alertmanager=AlertmanagerOptions(backoff=Backoff(0.05, 0.1), close_deadline_s=1.0),
                resend_delay_s=0.5,
            ),
        )
        async with alerting:
            runner = await serve(alerting, folder)
            while not end.is_set():
                signals: dict[str, float] = json.loads((folder / "signals.json").read_text())
                now_ms = int(clock.time() * 1000)
                store.source("signals").append(
                    now_ms,
                    [
                        (Labels({"__name__": "signal", "name": name}), value)
                        for name, value in signals.items()
                    ],
                )
                for group in alerting.groups:
                    await alerting.evaluate(group, now_ms)
                await asyncio.sleep(STEP_S)
            await runner.cleanup()


async def serve(alerting: Alerting, folder: Path) -> web.AppRunner:
    """Serve the API and leave its address in the folder."""
    application = web.Application()
    application.router.add_routes(
        alertmanager_api_routes(lambda: alerting.alertmanager, clock=SystemClock())
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    written = folder / "address.new"
    written.write_text(f"http://127.0.0.1:{runner.addresses[0][1]}")
    written.replace(folder / "address")
    return runner


if __name__ == "__main__":
    main()
