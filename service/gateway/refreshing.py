"""Connections whose time is over are asked about at a back end, and go on or end.

The clients take no part in it: they are not told that their time is limited.

Source: Centrifugo documentation, "Refresh proxy".
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Final, Self

from alerts.clock import Clock
from service.gateway.client import Client, State
from service.gateway.codes import CONNECTION_EXPIRED, INTERNAL_ERROR
from service.gateway.proxy import Proxy
from service.gateway.proxy_messages import RefreshAnswer
from service.gateway.tokens import MAX_LIFETIME_S, Identity
from service.telemetry.sampling import MessageSampling

_LOG: Final = logging.getLogger(__name__)

ASK_AGAIN_WITHIN_S: Final = 60.0
"""When a back end that could not say is asked again, at the latest; half of it at the earliest."""


class Refreshing:
    """Asks about the connections that are due, each in a task of its own."""

    def __init__(
        self, proxy: Proxy, *, sampling: MessageSampling, clock: Clock, random: Random
    ) -> None:
        """Ask through a proxy; nothing is asked before it is entered."""
        self._proxy = proxy
        self._sampling = sampling
        self._clock = clock
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False

    async def __aenter__(self) -> Self:
        self._running = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give up what is being asked."""
        self._running = False
        asked = tuple(self._tasks)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    def due(self, client: Client) -> None:
        """Ask about a connection whose time is over."""
        if self._running:
            task = asyncio.create_task(self._refresh(client), name="gateway refresh")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refresh(self, client: Client) -> None:
        identity = client.identity
        try:
            answer = await self._proxy.refresh(
                client.for_back_ends(), parent=self._sampling.decide()
            )
        except Exception:  # noqa: BLE001 - supervisor: a fault of ours costs one connection
            _LOG.exception("the refresh of the connection %s failed", client.id)
            client.close(INTERNAL_ERROR)
            return
        # It may have ended meanwhile, or the client may have brought a new token.
        if client.state is State.CONNECTED and identity is not None and client.identity is identity:
            self._decide(client, identity, answer)

    def _decide(self, client: Client, identity: Identity, answer: RefreshAnswer | None) -> None:
        now = self._clock.time()
        if answer is None:
            # Spread, for a back end that was away is asked about everybody at once.
            pause_s = self._random.uniform(ASK_AGAIN_WITHIN_S / 2, ASK_AGAIN_WITHIN_S)
            client.renew(replace(identity, expires_at=now + pause_s))
            return
        ends = answer.expire_at
        if answer.expired or (ends is not None and ends <= now):
            client.close(CONNECTION_EXPIRED)
            return
        client.renew(
            replace(
                identity,
                expires_at=None if ends is None else min(float(ends), now + MAX_LIFETIME_S),
                info=identity.info if answer.info is None else answer.info,
                meta=identity.meta if answer.meta is None else answer.meta,
            )
        )
