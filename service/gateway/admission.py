"""Decides who a connection is and what it is subscribed to, by tokens and the channels' rules.

Source: Centrifugo documentation, "Client JWT authentication" and "Channel JWT authorization".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Final

from service.config.gateway_settings import GatewaySettings
from service.gateway.authentication import Authenticator
from service.gateway.channels import ChannelRule, ChannelRules
from service.gateway.client import Client, State
from service.gateway.codes import (
    BAD_REQUEST,
    CHANNEL_LIMIT,
    INSUFFICIENT_STATE,
    PERMISSION_DENIED,
    STALE,
    DisconnectError,
    already_subscribed,
    bad_request,
    limit_exceeded,
    permission_denied,
)
from service.gateway.subscriptions import Grant
from service.gateway.tokens import Identity, SubscriptionGrant, SubscriptionOverride

_MAX_OVERRIDDEN: Final = 1000
"""Rules kept for subscriptions with options of their own; there are few combinations."""


class Admission:
    """Lets clients in: with an identity, and into channels.

    Args:
        settings: Those of the gateway.
        tokens: Judges tokens.
        rules: The channels' rules.
    """

    def __init__(
        self, settings: GatewaySettings, *, tokens: Authenticator, rules: ChannelRules
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._rules = rules
        self._overridden: dict[tuple[str, SubscriptionOverride], ChannelRule] = {}

    async def connection(self, client: Client, token: str) -> Identity:
        """Return who a connecting client is; without a token: nobody, where that is allowed.

        Raises:
            ProtocolError: The token has expired (109, 110) or cannot be judged now (100).
            DisconnectError: It is not ours (3500), there is none (3507), or the client is gone.
        """
        if token:
            identity = await self._tokens.connection(token)
            check_state(client, State.CONNECTING)
            return identity
        if self._settings.allow_anonymous:
            return Identity("")
        raise DisconnectError(PERMISSION_DENIED, "no token, and anonymous is not allowed")

    async def refresh(self, client: Client, token: str) -> Identity:
        """Return who a connected client is from now on.

        Raises:
            ProtocolError: What the token gives is over (110), or it cannot be judged now (100).
            DisconnectError: There is none (3501), it is expired (3005), not ours (3500), names
                other channels (3010), or the client is gone.
        """
        if not token:
            raise DisconnectError(BAD_REQUEST, "a refresh without a token")
        identity = await self._tokens.refresh(token, user=client.user)
        check_state(client, State.CONNECTED)
        before = client.identity
        if before is None:
            return identity
        if _channels(identity) != _channels(before):
            detail = "a refresh with a token for other channels than those it has"
            raise DisconnectError(INSUFFICIENT_STATE, detail)
        return replace(
            identity,
            info=before.info if identity.info is None else identity.info,
            meta=before.meta if identity.meta is None else identity.meta,
        )

    def brought_along(self, identity: Identity) -> dict[str, Grant]:
        """Return what a connection is given from the start, by channel.

        Raises:
            ProtocolError: A channel is none (107) or unknown (102), or has no history to recover
                from (107).
            DisconnectError: They are too many (3505).
        """
        if len(identity.subscriptions) > self._settings.max_channels_per_connection:
            raise DisconnectError(CHANNEL_LIMIT, "a token for more channels than one may have")
        return {
            given.channel: Grant(
                self._rule(self._rules.rule(given.channel), given.override),
                server_side=True,
                info=given.info,
                data=given.data,
            )
            for given in identity.subscriptions
        }

    async def subscription(self, client: Client, channel: str, token: str) -> Grant:
        """Return what a client that wants to subscribe is given.

        Args:
            client: Who.
            channel: To what.
            token: Lets it in whatever the channel's rule says; empty: the rule decides.

        Raises:
            ProtocolError: It may not (102, 103, 107), has it already (105), has too many (106), or
                the token has expired (109, 110) or cannot be judged now (100).
            DisconnectError: The token is another's (3500), or the client is gone.
        """
        if not token:
            rule = self._rules.check_subscribe(channel, client.user)
            self._check_room(client, channel)
            return Grant(rule)
        rule = self._rules.rule(channel)
        self._check_room(client, channel)
        given = await self._tokens.subscription(
            token, channel=channel, user=client.user, client_id=client.id
        )
        check_state(client, State.CONNECTED)
        self._check_room(client, channel)  # a back end may have been faster
        return self._grant(rule, given)

    async def decided_subscription(
        self,
        client: Client,
        channel: str,
        ask: Callable[[ChannelRule], Awaitable[SubscriptionGrant]],
    ) -> Grant:
        """Return what a client that wants to subscribe is given by a back end.

        Args:
            client: Who.
            channel: To what.
            ask: Asks the back end, with the channel's rule.

        Raises:
            ProtocolError: It is no channel (102, 107), has it already (105), has too many (106), or
                the back end refuses.
            DisconnectError: The back end wants it, or the client is gone.
        """
        rule = self._rules.rule(channel)
        self._check_room(client, channel)
        given = await ask(rule)
        check_state(client, State.CONNECTED)
        self._check_room(client, channel)  # the server API may have been faster
        return self._grant(rule, given)

    def _grant(self, rule: ChannelRule, given: SubscriptionGrant) -> Grant:
        return Grant(
            self._rule(rule, given.override),
            info=given.info,
            data=given.data,
            expires_at=given.expires_at,
        )

    async def subscription_refresh(
        self, client: Client, channel: str, token: str
    ) -> SubscriptionGrant:
        """Return what a client's subscription is given from now on.

        Raises:
            ProtocolError: There is no subscription (103) or no token (107), or the token has
                expired (109, 110) or cannot be judged now (100).
            DisconnectError: There is no channel, or the client did not subscribe itself (3501);
                the token is not ours or another's (3500); or the client is gone.
        """
        if not channel:
            raise DisconnectError(BAD_REQUEST, "a sub_refresh without a channel")
        subscription = client.channels.get(channel)
        if subscription is None:
            raise permission_denied()
        if subscription.server_side:
            detail = "a sub_refresh of a subscription that the client did not make itself"
            raise DisconnectError(BAD_REQUEST, detail)
        if not token:
            raise bad_request("token is required")
        given = await self._tokens.subscription_refresh(
            token, channel=channel, user=client.user, client_id=client.id
        )
        check_state(client, State.CONNECTED)
        if channel not in client.channels:
            raise permission_denied()
        return given

    def _check_room(self, client: Client, channel: str) -> None:
        if channel in client.channels:
            raise already_subscribed()
        if len(client.channels) >= self._settings.max_channels_per_connection:
            raise limit_exceeded()

    def _rule(self, rule: ChannelRule, override: SubscriptionOverride) -> ChannelRule:
        changes = {name: value for name, value in asdict(override).items() if value is not None}
        if not changes:
            return rule
        key = (rule.template, override)
        found = self._overridden.get(key)
        if found is None:
            found = rule.overridden(changes)
            if len(self._overridden) < _MAX_OVERRIDDEN:
                self._overridden[key] = found
        return found


def _channels(identity: Identity) -> set[str]:
    return {subscription.channel for subscription in identity.subscriptions}


def check_state(client: Client, expected: State) -> None:
    """Give up on a client that was closed while it was judged.

    Raises:
        DisconnectError: It was.
    """
    if client.state is not expected:
        raise DisconnectError(client.close_reason or STALE, "it was closed while it was judged")
