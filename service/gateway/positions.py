"""Looks now and then whether subscribers that must miss nothing are where their stream is.

A gap shows when the next publication comes; this finds the one after which none comes any more.
All such subscribers of a channel are at the channel's position, so one look serves them all.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from alerts.clock import Clock
from service.deadline import Deadline
from service.gateway.broker import Broker
from service.gateway.channel import Channel
from service.gateway.codes import ProtocolError
from service.gateway.hub import Hub
from service.gateway.streams import StreamQuery

_LOG: Final = logging.getLogger(__name__)

_AT_ONCE: Final = 128
"""Channels whose positions are read side by side."""
_SECOND_LOOK_S: Final = 1.0
"""What was published a moment ago may be on its way still; after so long it is not."""


class PositionCheck:
    """Checks all channels periodically while it is entered."""

    def __init__(self, hub: Hub, broker: Broker, *, interval_s: float, clock: Clock) -> None:
        """Compare a hub with a broker every ``interval_s`` seconds."""
        self._hub = hub
        self._broker = broker
        self._interval_s = interval_s
        self._clock = clock
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="gateway position check")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def hurry(self) -> None:
        """Look at all channels now, and not only when it is time."""
        self._due.set()

    async def check(self) -> int:
        """Look at every channel once; return how many had lost their position."""
        channels = [channel for channel in self._hub if channel.positioned]
        suspects: list[Channel] = []
        for start in range(0, len(channels), _AT_ONCE):
            chunk = channels[start : start + _AT_ONCE]
            behind = await asyncio.gather(*map(self._is_behind, chunk))
            suspects += [channel for channel, yes in zip(chunk, behind, strict=True) if yes]
        if not suspects:
            return 0
        positions = [channel.position for channel in suspects]
        await self._clock.sleep(_SECOND_LOOK_S)
        lost = 0
        for channel, position in zip(suspects, positions, strict=True):
            if channel.position == position and await self._is_behind(channel):
                lost += 1
                self._hub.lose_positions(channel.name)
        return lost

    async def _is_behind(self, channel: Channel) -> bool:
        if not channel.positioned:
            return False
        before = channel.position
        top = (await self._broker.read(channel.name, StreamQuery(limit=0))).top
        here = channel.position
        if here is None or before is None or here.epoch != top.epoch:
            return True
        if before.epoch == top.epoch and before.offset > top.offset:
            # What was delivered is not kept any more, as after a crash of the broker's machine:
            # the numbers will be given again, and must not pass for what came before.
            self._hub.rewind(channel.name, top)
        return here.offset < top.offset

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with Deadline(self._clock, self._interval_s):
                    await self._due.wait()
            self._due.clear()
            try:
                await self.check()
            except ProtocolError as error:
                _LOG.warning("the positions of subscribers could not be checked: %s", error)
                await self._clock.sleep(_SECOND_LOOK_S)
                self._due.set()
            except Exception:  # noqa: BLE001 - the next look is due anyway
                _LOG.exception("the positions of subscribers could not be checked")
