"""How subscriptions begin and end, with recovery of what a client missed.

A positioned subscriber misses nothing: between the history it is given and the publications it is
sent there is no gap, or its subscription ends with a code after which it comes back for the rest.

Source: Centrifugo documentation, "History and recovery". Recovery is all or nothing: either every
publication since the client's position, or none and the position of now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from alerts.clock import Clock
from service.codec import Fragment, encode
from service.gateway.broker import Broker
from service.gateway.channels import ChannelRule
from service.gateway.client import EXPIRY_GRACE_S, Client, Subscription
from service.gateway.codes import (
    BAD_REQUEST,
    INSUFFICIENT_STATE,
    LOST_POSITION,
    SERVER_SUBSCRIPTION_EXPIRED,
    SUBSCRIPTION_EXPIRED,
    DisconnectError,
    already_subscribed,
    internal_error,
    too_many_requests,
    unrecoverable_position,
)
from service.gateway.frames import text_frame
from service.gateway.hub import Hub
from service.gateway.presence import PresentClient
from service.gateway.protocol import (
    encode_event,
    encode_push,
    encode_subscribe,
    encode_unsubscribe,
    flag_field,
    join,
    number_field,
    text_field,
)
from service.gateway.stats import GatewayStats
from service.gateway.streams import StreamItem, StreamPage, StreamPosition, StreamQuery
from service.gateway.tokens import Identity
from service.pools.websocket import CloseReason

_REJECT_UNRECOVERED: Final = 2
"""Bit of the flag by which a client asks for error 112 instead of ``recovered: false``."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscriber asks for.

    Attributes:
        positioned: To be told when something is missing.
        recoverable: To get what it missed when it comes back.
        join_leave: To be told who comes and goes.
        recover: The position it had; None when it begins.
        reject_unrecovered: To be refused when what it missed cannot be recovered.
    """

    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    recover: StreamPosition | None = None
    reject_unrecovered: bool = False

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Wish:
        """Read the fields of a subscribe command.

        Raises:
            DisconnectError: One of them is not what it must be (3501).
        """
        position = StreamPosition(number_field(request, "offset"), text_field(request, "epoch"))
        return cls(
            positioned=flag_field(request, "positioned"),
            recoverable=flag_field(request, "recoverable"),
            join_leave=flag_field(request, "join_leave"),
            recover=position if flag_field(request, "recover") else None,
            reject_unrecovered=bool(number_field(request, "flag") & _REJECT_UNRECOVERED),
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """What a subscriber is given.

    Attributes:
        rule: The channel's rule, as it is for this subscription.
        server_side: Whether a back end subscribes the client.
        info: What others may know of this subscription, as JSON.
        data: Passed on to the client, as JSON.
        expires_at: Unix seconds at which it must have been renewed; None: never.
    """

    rule: ChannelRule
    server_side: bool = False
    info: bytes | None = None
    data: bytes | None = None
    expires_at: float | None = None


class Subscriptions:
    """Begins and ends the subscriptions of all clients."""

    def __init__(
        self, hub: Hub, broker: Broker, *, recovery_limit: int, clock: Clock, stats: GatewayStats
    ) -> None:
        """Deliver from a hub and recover from a broker, so many publications at most."""
        self._stats = stats
        self._clock = clock
        self._hub = hub
        self._broker = broker
        self._recovery_limit = recovery_limit

    async def subscribe(
        self, client: Client, channel: str, grant: Grant, wish: Wish = Wish()
    ) -> dict[str, Any]:
        """Subscribe a client that has no subscription to the channel and may have one.

        What is returned must be written before the event loop runs anything else: publications
        follow from then on.

        Args:
            client: Who.
            channel: To what.
            grant: What the client is given.
            wish: What the client asks for; the rule decides what it gets.

        Returns:
            The fields of the protocol's SubscribeResult.

        Raises:
            ProtocolError: It is subscribed already (105), what was missed does not fit now (111),
                or cannot be recovered and this was to be refused (112).
            DisconnectError: Publications are missing (3010), or the client is gone.
        """
        result, missed = await self._begin(client, channel, grant, wish)
        if missed is not None:
            result |= {
                "recovered": True,
                "publications": [Fragment(item.body) for item in missed],
            }
        renewed_by_client = not grant.server_side and _refresher(client, grant.rule) is None
        if grant.expires_at is not None and renewed_by_client:
            left_s = grant.expires_at - self._clock.time()
            result |= {"expires": True, "ttl": max(1, round(left_s))}
        return result

    async def subscribe_at_connect(
        self, client: Client, grants: Mapping[str, Grant], request: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Subscribe a client that is connecting to what a back end says it is subscribed to.

        Args:
            client: Who.
            grants: What it is given, by channel; all of them server-side.
            request: The connect command, in whose ``subs`` the client says where it was.

        Returns:
            The field ``subs`` of the connect result.

        Raises:
            DisconnectError: The command breaks the protocol (3501), or publications are missing
                (3010).
        """
        positions = request.get("subs") or {}
        if not isinstance(positions, dict):
            raise DisconnectError(BAD_REQUEST, "subs is not an object")
        results: dict[str, dict[str, Any]] = {}
        for channel, grant in grants.items():
            position = positions.get(channel) or {}
            if not isinstance(position, dict):
                raise DisconnectError(BAD_REQUEST, "subs has a channel that is not an object")
            wish = replace(Wish.of(position), reject_unrecovered=False)  # all or nothing connects
            results[channel] = await self.subscribe(client, channel, grant, wish)
        return results

    async def subscribe_at_run_time(
        self, client: Client, channel: str, grant: Grant, wish: Wish = Wish()
    ) -> None:
        """Subscribe a connected client on behalf of a back end, and tell the client.

        What it recovers follows as publications in the same frame. See ``subscribe``.

        Raises:
            DisconnectError: Publications are missing (3010).
        """
        result, missed = await self._begin(client, channel, grant, wish)
        result.pop("was_recovering", None)
        pushes = [encode_push(channel, item.body) for item in missed or ()]
        frame = text_frame(join([encode_subscribe(channel, result), *pushes]))
        client.write(frame, len(pushes))

    async def _begin(
        self, client: Client, channel: str, grant: Grant, wish: Wish
    ) -> tuple[dict[str, Any], list[StreamItem] | None]:
        """Subscribe; return what the client must know, and what it missed if that is all of it."""
        # Both may have come to pass while somebody was asked whether it may subscribe.
        if client.close_reason is not None:
            raise DisconnectError(client.close_reason, "it was closed before it was subscribed")
        if channel in client.channels:
            raise already_subscribed()
        rule, options = grant.rule, grant.rule.options
        recoverable = options.force_recovery or (options.allow_recovery and wish.recoverable)
        positioned = (
            recoverable
            or options.force_positioning
            or (options.allow_positioning and wish.positioned)
        )
        client.channels[channel] = Subscription(
            rule,
            server_side=grant.server_side,
            positioned=positioned,
            recoverable=recoverable,
            info=grant.info,
        )
        result: dict[str, Any] = {}
        missed = None
        try:
            if positioned:
                result, missed = await self._subscribe_positioned(client, channel, rule, wish)
            else:
                self._hub.subscribe(channel, rule, client)
        except BaseException:
            self.end(client, channel)
            raise
        if options.join_leave and (wish.join_leave or options.force_push_join_leave):
            self._hub.listen(channel, client)
        if options.presence or options.join_leave:
            self._show(client, channel)
        if grant.data is not None:
            result["data"] = Fragment(grant.data)
        self.renew(client, channel, grant.expires_at)
        return result, missed

    def renew(self, client: Client, channel: str, expires_at: float | None) -> None:
        """Let a subscription last until a time in Unix seconds; None: for ever.

        Then a back end is asked, or else there is a grace for the client to renew it.
        """
        subscription = client.channels[channel]
        if subscription.expiry is not None:
            subscription.expiry.cancel()
        expiry = None
        if expires_at is not None:
            left_s = max(0.0, expires_at - self._clock.time())
            refresher = _refresher(client, subscription.rule)
            if refresher is not None:
                expiry = self._clock.call_later(left_s, lambda: refresher(client, channel))
            else:
                expiry = self._clock.call_later(
                    left_s + EXPIRY_GRACE_S, lambda: self.expire(client, channel)
                )
        client.channels[channel] = replace(subscription, expiry=expiry)

    def inform(self, client: Client, channel: str, info: bytes | None) -> None:
        """Change what others may know of a subscription from now on, as JSON."""
        client.channels[channel] = replace(client.channels[channel], info=info)
        self._show_again(client, channel)

    def refresh(self, client: Client, identity: Identity) -> None:
        """Let a connection go on as an identity says; others see the new info at once."""
        before = client.identity
        client.renew(identity)
        if before is None or before.info != identity.info:
            for channel in tuple(client.channels):
                self._show_again(client, channel)

    def _show_again(self, client: Client, channel: str) -> None:
        """Have those who ask who is in a channel see what is true now of one who is."""
        subscription = client.channels[channel]
        if subscription.shown is None:
            return
        shown = encode(client.info(channel))
        client.channels[channel] = replace(subscription, shown=shown)
        if subscription.rule.options.presence:
            self._broker.enter(channel, client.id, PresentClient(client.user, shown))

    def expire(self, client: Client, channel: str) -> None:
        """End a subscription whose time is over, or the connection if a back end made it."""
        if client.channels[channel].server_side:
            client.close(SERVER_SUBSCRIPTION_EXPIRED)
        else:
            self.unsubscribe(client, channel, SUBSCRIPTION_EXPIRED)

    def end(self, client: Client, channel: str) -> Subscription | None:
        """End a subscription without a word, and return it; None when there was none."""
        subscription = client.channels.pop(channel, None)
        if subscription is not None:
            self._hub.unsubscribe(channel, client)
            if subscription.expiry is not None:
                subscription.expiry.cancel()
            if subscription.shown is not None:
                self._hide(client, channel, subscription.rule, subscription.shown)
        return subscription

    def end_all(self, client: Client) -> None:
        """End all subscriptions of a client that is gone."""
        for channel in tuple(client.channels):
            self.end(client, channel)

    def unsubscribe(self, client: Client, channel: str, reason: CloseReason) -> None:
        """End a subscription from this side and tell the client why."""
        if self.end(client, channel) is not None:
            client.write(text_frame(encode_unsubscribe(channel, reason.code, reason.reason)), 0)

    def lose_position(self, client: Client, channel: str) -> None:
        """Have a client come back for what it missed: it can recover a subscription of its own.

        One that a back end made is recovered with the whole connection.
        """
        subscription = client.channels.get(channel)
        if subscription is not None and subscription.server_side:
            client.close(INSUFFICIENT_STATE)
        else:
            self.unsubscribe(client, channel, LOST_POSITION)

    def _show(self, client: Client, channel: str) -> None:
        subscription = client.channels[channel]
        info = encode(client.info(channel))
        client.channels[channel] = replace(subscription, shown=info)
        if subscription.rule.options.presence:
            self._broker.enter(channel, client.id, PresentClient(client.user, info))
        if subscription.rule.options.join_leave:
            self._announce(channel, "join", info)

    def _hide(self, client: Client, channel: str, rule: ChannelRule, info: bytes) -> None:
        if rule.options.presence:
            self._broker.leave(channel, client.id)
        if rule.options.join_leave:
            self._announce(channel, "leave", info)

    def _announce(self, channel: str, kind: str, info: bytes) -> None:
        # In the loop's next turn: the client has the answer to its subscribe command by then, and
        # sees its own arrival as all others do.
        push = encode_event(channel, kind, info)
        asyncio.get_running_loop().call_soon(self._broker.announce, channel, push)

    async def _subscribe_positioned(
        self, client: Client, channel: str, rule: ChannelRule, wish: Wish
    ) -> tuple[dict[str, Any], list[StreamItem] | None]:
        subscription = client.channels[channel]
        cached = rule.options.force_recovery_mode == "cache"
        recover = _recover(wish, cached=cached) if subscription.recoverable else None
        self._hub.hold(channel, rule, client)
        page = await self._broker.read(channel, self._query(recover, cached=cached))
        if client.channels.get(channel) is not subscription:
            raise internal_error()  # it was ended while its history was read
        missed = None
        if recover is not None:
            missed = _newest(page, recover) if cached else _all(page, recover)
            missed = _fitting(client, missed)
            self._stats.recovered += missed is not None
            self._stats.unrecovered += missed is None
            if missed is None and wish.reject_unrecovered:
                raise unrecoverable_position()
        later = self._hub.release(channel, client, page.top)
        result: dict[str, Any] = {"positioned": True, "epoch": page.top.epoch}
        if subscription.recoverable:
            result["recoverable"] = True
        if recover is not None:
            result["was_recovering"] = True
        newest = later[-1].offset if later else page.top.offset
        if recover is None or missed is None:
            return result | {"offset": newest}, None
        if cached:
            return result | {"offset": newest}, [*missed, *later][-1:]
        return result | {"offset": recover.offset}, [*missed, *later]

    def _query(self, recover: StreamPosition | None, *, cached: bool) -> StreamQuery:
        if recover is None:
            return StreamQuery(limit=0)
        if cached:
            return StreamQuery(limit=1, reverse=True)
        return StreamQuery(limit=self._recovery_limit, after=recover.offset)


def _refresher(client: Client, rule: ChannelRule) -> Callable[[Client, str], None] | None:
    """Return who is told that the time of a subscription is over; None: the client renews it."""
    return client.subscription_refresher if rule.options.sub_refresh_proxy_enabled else None


def _recover(wish: Wish, *, cached: bool) -> StreamPosition | None:
    """Return from where a subscriber recovers: where it was, or from nothing to the newest."""
    return wish.recover or (StreamPosition(0, "") if cached else None)


def _all(page: StreamPage, since: StreamPosition) -> list[StreamItem] | None:
    """Return everything behind a position up to the newest; None when some of it is missing."""
    if since.epoch and since.epoch != page.top.epoch:
        return None
    if not page.items:
        return [] if since.offset == page.top.offset else None
    first, last = page.items[0].offset, page.items[-1].offset
    return list(page.items) if (first, last) == (since.offset + 1, page.top.offset) else None


def _newest(page: StreamPage, since: StreamPosition) -> list[StreamItem] | None:
    """Return the newest publication, unless the client has it; None when it is not kept."""
    if since.offset > 0 and since == page.top:
        return []
    return list(page.items) or None


def _fitting(client: Client, missed: list[StreamItem] | None) -> list[StreamItem] | None:
    """Return what was missed if one frame can hold it; a client that is sent more is cut off.

    Raises:
        ProtocolError: It does not fit now, but will when the client has taken more (111).
    """
    size = sum(len(item.body) + 1 for item in missed or ())
    if size > client.capacity:
        return None
    if size > client.room:
        raise too_many_requests()
    return missed
