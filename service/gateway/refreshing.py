"""Connections and subscriptions whose time is over are asked about at a back end, and go on or end.

The clients take no part in it: they are not told that their time is limited.

Source: Centrifugo documentation, "Refresh proxy" and "Sub refresh proxy".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Final, Self

from alerts.clock import Clock
from service.gateway.client import Client, State, Subscription
from service.gateway.codes import CONNECTION_EXPIRED, INTERNAL_ERROR
from service.gateway.proxy import Proxy
from service.gateway.proxy_answers import RefreshAnswer
from service.gateway.proxy_requests import ChannelRequest
from service.gateway.subscriptions import Subscriptions
from service.gateway.tokens import MAX_LIFETIME_S, Identity
from service.telemetry.sampling import MessageSampling

_LOG: Final = logging.getLogger(__name__)

ASK_AGAIN_WITHIN_S: Final = 60.0
"""When a back end that could not say is asked again, at the latest; half of it at the earliest."""


class Refreshing:
    """Asks about what is due, each connection and subscription in a task of its own."""

    def __init__(
        self,
        proxy: Proxy,
        subscriptions: Subscriptions,
        *,
        sampling: MessageSampling,
        clock: Clock,
        random: Random,
    ) -> None:
        """Ask through a proxy; nothing is asked before it is entered."""
        self._proxy = proxy
        self._subscriptions = subscriptions
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
        self._start(client, lambda: self._refresh(client))

    def subscription_due(self, client: Client, channel: str) -> None:
        """Ask about a subscription whose time is over."""
        subscription = client.channels[channel]
        self._start(client, lambda: self._refresh_subscription(client, channel, subscription))

    def _start(self, client: Client, ask: Callable[[], Awaitable[None]]) -> None:
        if self._running:
            task = asyncio.create_task(self._supervise(client, ask), name="gateway refresh")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _supervise(self, client: Client, ask: Callable[[], Awaitable[None]]) -> None:
        try:
            await ask()
        except Exception:  # noqa: BLE001 - supervisor: a fault of ours costs one connection
            _LOG.exception("a refresh of the connection %s failed", client.id)
            client.close(INTERNAL_ERROR)

    async def _refresh(self, client: Client) -> None:
        identity = client.identity
        answer = await self._proxy.refresh(client.for_back_ends(), parent=self._sampling.decide())
        # It may have ended meanwhile, or the client may have brought a new token.
        if client.state is State.CONNECTED and identity is not None and client.identity is identity:
            self._decide(client, identity, answer)

    def _decide(self, client: Client, identity: Identity, answer: RefreshAnswer | None) -> None:
        if answer is None:
            client.renew(replace(identity, expires_at=self._again_at()))
        elif self._is_over(answer):
            client.close(CONNECTION_EXPIRED)
        else:
            goes_on = replace(
                identity,
                expires_at=self._end(answer),
                info=identity.info if answer.info is None else answer.info,
                meta=identity.meta if answer.meta is None else answer.meta,
            )
            self._subscriptions.refresh(client, goes_on)

    async def _refresh_subscription(
        self, client: Client, channel: str, subscription: Subscription
    ) -> None:
        rule = subscription.rule
        asked = ChannelRequest(
            channel, rule.template, proxy_name=rule.options.sub_refresh_proxy_name
        )
        answer = await self._proxy.sub_refresh(
            client.for_back_ends(), asked, parent=self._sampling.decide()
        )
        now = client.channels.get(channel)
        # It may have ended meanwhile, or have been given another end.
        if now is not None and now.expiry is subscription.expiry:
            self._decide_on_subscription(client, channel, answer)

    def _decide_on_subscription(
        self, client: Client, channel: str, answer: RefreshAnswer | None
    ) -> None:
        if answer is None:
            self._subscriptions.renew(client, channel, self._again_at())
        elif self._is_over(answer):
            self._subscriptions.expire(client, channel)
        else:
            if answer.info is not None:
                self._subscriptions.inform(client, channel, answer.info)
            self._subscriptions.renew(client, channel, self._end(answer))

    def _again_at(self) -> float:
        """Return when to ask again, spread: a back end that was away is asked about everybody."""
        pause_s = self._random.uniform(ASK_AGAIN_WITHIN_S / 2, ASK_AGAIN_WITHIN_S)
        return self._clock.time() + pause_s

    def _is_over(self, answer: RefreshAnswer) -> bool:
        ends = answer.expire_at
        return answer.expired or (ends is not None and ends <= self._clock.time())

    def _end(self, answer: RefreshAnswer) -> float | None:
        if answer.expire_at is None:
            return None
        return min(float(answer.expire_at), self._clock.time() + MAX_LIFETIME_S)
