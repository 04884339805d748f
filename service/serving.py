"""Runs a process until it is told to stop: its signals, and what they have done."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Final

from alerts.clock import SystemClock
from alerts.errors import AlertsError, Problem
from service.app import App
from service.config.settings import Settings
from service.errors import GatewatchError
from service.pauses import look_at_everything_when_grown, short_pauses

_LOG: Final = logging.getLogger(__name__)

_SETTLED_AFTER_S: Final = 30.0
"""By then every check has run and its metrics were collected."""


async def serve(
    settings: Settings,
    reread: Callable[[], Settings] | None = None,
    locate: Callable[[Problem], Problem] = lambda problem: problem,
) -> int:
    """Run until SIGTERM or SIGINT and return the exit code; a second signal does not wait.

    SIGHUP has the configuration read again, for which ``reread`` reads the settings and ``locate``
    finds the places of problems in them.
    """
    with short_pauses():
        return await _serve(settings, reread, locate)


async def _serve(
    settings: Settings,
    reread: Callable[[], Settings] | None,
    locate: Callable[[Problem], Problem],
) -> int:
    stop = asyncio.Event()
    hang_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Also before the parts are up, as it would end the process otherwise.
    loop.add_signal_handler(signal.SIGHUP, hang_up.set)
    app = App(settings, environment=os.environ, reread=reread, locate=locate)
    async with app, asyncio.TaskGroup() as tasks:
        reloading = tasks.create_task(_reload_on(hang_up, app), name="reload on SIGHUP")
        looking = tasks.create_task(
            look_at_everything_when_grown(SystemClock(), _SETTLED_AFTER_S), name="look for garbage"
        )
        await stop.wait()
        reloading.cancel()
        looking.cancel()
        # Before the log says so, for who reads it and insists. Left to the kernel: an exception at
        # any place of the code that stops the parts would be one more reason to stop them in order.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        _LOG.info("stopping")
    return 0


async def _reload_on(event: asyncio.Event, app: App) -> None:
    while True:
        await event.wait()
        event.clear()
        try:
            await app.reload()
        except (GatewatchError, AlertsError):
            continue  # logged and counted where it happened
        except Exception:  # noqa: BLE001 - supervisor: a defect here must not end the process
            _LOG.exception("the configuration could not be reloaded")
