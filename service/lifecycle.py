"""Starts parts in order and stops them in reverse, each under its own name and deadline.

``contextlib.AsyncExitStack`` does most of this, but has no deadlines, and of several stops that
fail it shows only one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

_LOG: Final = logging.getLogger(__name__)
_LEAST_TIMEOUT_S: Final = 0.25
"""What a part gets to stop when those before it have used up the time."""

Entered = TypeVar("Entered")


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    manager: AbstractAsyncContextManager[Any]
    stop_timeout_s: float


class Parts:
    """The running parts of a process."""

    def __init__(self) -> None:
        """Start with none."""
        self._parts: list[_Part] = []

    async def start(
        self,
        name: str,
        manager: AbstractAsyncContextManager[Entered],
        *,
        stop_timeout_s: float,
    ) -> Entered:
        """Enter a part; it will have ``stop_timeout_s`` seconds to leave."""
        entered = await manager.__aenter__()
        self._parts.append(_Part(name, manager, stop_timeout_s))
        return entered

    async def stop(self, *, timeout_s: float = math.inf) -> None:
        """Leave all parts, newest first, whatever becomes of each.

        Args:
            timeout_s: How long all of it may take: parts get less than their own time as it runs
                out, and never so little that one that hangs takes the others' end from them.

        Raises:
            ExceptionGroup: Some could not stop; every failure is in it, with the part's name.
        """
        failures: list[Exception] = []
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        while self._parts:
            part = self._parts.pop()
            allowed_s = min(part.stop_timeout_s, max(deadline - now(), _LEAST_TIMEOUT_S))
            limit = asyncio.timeout(allowed_s)
            try:
                async with limit:
                    await part.manager.__aexit__(None, None, None)
            except Exception as error:  # noqa: BLE001 - one part must not keep the others running
                late = limit.expired() and isinstance(error, TimeoutError)
                what = f"did not stop within {allowed_s:.3g} s" if late else "failed to stop"
                error.add_note(f"{part.name} {what}")
                failures.append(error)
            else:
                _LOG.debug("stopped %s", part.name)
        if failures:
            raise ExceptionGroup("some parts did not stop properly", failures)
