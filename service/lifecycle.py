"""Starts parts in order and stops them in reverse, each under its own name and deadline.

``contextlib.AsyncExitStack`` does most of this, but has no deadlines, and of several stops that
fail it shows only one.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

_LOG: Final = logging.getLogger(__name__)

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

    async def stop(self) -> None:
        """Leave all parts, newest first, whatever becomes of each.

        Raises:
            ExceptionGroup: Some could not stop; every failure is in it, with the part's name.
        """
        failures: list[Exception] = []
        while self._parts:
            part = self._parts.pop()
            try:
                async with asyncio.timeout(part.stop_timeout_s):
                    await part.manager.__aexit__(None, None, None)
            except TimeoutError as error:
                error.add_note(f"{part.name} did not stop within {part.stop_timeout_s:g} s")
                failures.append(error)
            except Exception as error:  # noqa: BLE001 - one part must not keep the others running
                error.add_note(f"while stopping {part.name}")
                failures.append(error)
            else:
                _LOG.debug("stopped %s", part.name)
        if failures:
            raise ExceptionGroup("some parts did not stop properly", failures)
