"""Who is in which channel, for all processes: entries in Redis that end unless they are renewed.

A process knows its own clients and renews them. Those of a process that was killed end by
themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Final, Self

from alerts.clock import Clock
from service.deadline import Deadline
from service.gateway.presence import MemoryPresence, PresentClient
from service.gateway.redis.connection import Argument
from service.gateway.redis.link import CommandError
from service.gateway.redis.router import Router
from service.gateway.redis.scripts import ENTER, LEAVE, PRESENT, Keys
from service.gateway.redis.topology import partition_of

_RENEWALS_IN_A_LIFE: Final = 2.4
"""How often an entry is renewed before it would end."""
_MAX_CLIENTS: Final = 256
"""Clients of one command."""


class SharedPresence:
    """The clients of this process, told to all, and those of all; an async context manager."""

    def __init__(self, router: Router, keys: Keys, *, ttl_s: float, clock: Clock) -> None:
        """Have entries last so many seconds."""
        self._router = router
        self._keys = keys
        self._ttl_s = ttl_s
        self._clock = clock
        self._own = MemoryPresence()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to renew."""
        self._task = asyncio.create_task(self._run(), name="redis presence")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def enter(self, channel: str, client_id: str, client: PresentClient) -> None:
        """Note that a client is in a channel."""
        self._own.enter(channel, client_id, client)
        partition, keys = self._place(channel)
        arguments = (*keys, self._ttl_ms(), client_id, _packed(client))
        self._router.post(partition, *arguments, script=ENTER)

    def leave(self, channel: str, client_id: str) -> None:
        """Note that it no longer is."""
        self._own.leave(channel, client_id)
        partition, keys = self._place(channel)
        self._router.post(partition, *keys, client_id, script=LEAVE)

    async def of(self, channel: str) -> Mapping[str, PresentClient]:
        """Return the clients of a channel by id.

        Raises:
            CommandError: Redis did not say.
        """
        partition, keys = self._place(channel)
        reply = await self._router.call(partition, *keys, script=PRESENT)
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return {client_id.decode(): _unpacked(value) for client_id, value in pairs}

    def renew_soon(self) -> None:
        """Renew all entries now, because Redis may have forgotten them."""
        self._due.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with Deadline(self._clock, self._ttl_s / _RENEWALS_IN_A_LIFE):
                    await self._due.wait()
            self._due.clear()
            for channel in self._own.channels():
                # Counted and told by the router; whoever renews next finds all of them here still.
                with suppress(CommandError):
                    await self._renew(channel)

    async def _renew(self, channel: str) -> None:
        partition, keys = self._place(channel)
        if self._router.fault_at(partition):
            return  # renewed when its server is back, and the others need not wait for that
        names = iter(self._own.of(channel))
        while chunk := list(islice(names, _MAX_CLIENTS)):
            # Read again: who left while the chunk before was sent must stay away.
            present = self._own.of(channel)
            pairs: list[Argument] = []
            for client_id in chunk:
                if client_id in present:
                    pairs += [client_id, _packed(present[client_id])]
            if pairs:
                await self._router.call(partition, *keys, self._ttl_ms(), *pairs, script=ENTER)

    def _place(self, channel: str) -> tuple[int, tuple[Argument, ...]]:
        keys = (2, self._keys.of("clients", channel), self._keys.of("ends", channel))
        return partition_of(channel), keys

    def _ttl_ms(self) -> int:
        return round(self._ttl_s * 1000)


def _packed(client: PresentClient) -> bytes:
    return client.user.encode() + b"\0" + client.info


def _unpacked(value: bytes) -> PresentClient:
    # From the right: a user's id may hold any character, JSON never holds this one.
    user, _, info = value.rpartition(b"\0")
    return PresentClient(user.decode(), info)
