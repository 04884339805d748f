"""Daemon threads the event loop can wait for, and can stop waiting for.

``asyncio.to_thread`` is not used where the work may hang: its pool is joined when the loop closes
and again when the interpreter exits, so one export that never returns would hold up the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(name: str, function: Callable[[], T]) -> T:
    """Run a blocking function off the loop and return its result.

    Cancelling the call, for example by a timeout, abandons the thread: the function runs on, its
    result is thrown away, and it does not keep the process alive.

    Args:
        name: Name of the thread, for people who look at a stack dump.
        function: What to run; its error is raised here.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # None only if T allows it

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001 - a supervisor: raised again in the caller
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome
