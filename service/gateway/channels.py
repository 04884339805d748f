"""Channel names and what clients may do in them, by namespace.

Source: Centrifugo documentation, "Channels and namespaces": ``namespace:rest``, the prefix ``$``
for private channels, ``#`` before the users a channel is limited to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from service.config.channel_settings import ChannelOptions
from service.config.gateway_settings import GatewaySettings
from service.gateway.codes import (
    bad_request,
    not_available,
    permission_denied,
    unknown_channel,
)
from service.gateway.streams import Retention

MAX_CHANNEL_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """The options a channel falls under.

    Attributes:
        options: What clients may do.
        template: Name of the rule for telemetry, such as ``chat:*``; few and known beforehand.
        retention: How much of the channel is kept; None: nothing.
    """

    options: ChannelOptions
    template: str
    retention: Retention | None = None

    @classmethod
    def of(cls, options: ChannelOptions, template: str) -> ChannelRule:
        """Make the rule of some options."""
        kept = Retention(options.history_size, options.history_ttl) if options.history else None
        return cls(options, template, kept)

    def overridden(self, changes: Mapping[str, bool]) -> ChannelRule:
        """Return the rule with some options as one subscription has them.

        Raises:
            ProtocolError: Recovery or positioning lacks history (107).
        """
        options = self.options.model_copy(update=dict(changes))
        if not options.history and (options.force_recovery or options.force_positioning):
            raise bad_request("recovery and positioning need history in the channel's namespace")
        return replace(self, options=options)


class ChannelRules:
    """Finds the options of a channel and decides what a client may do in it."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Use the namespaces of the settings."""
        self._default = ChannelRule.of(settings.channels, "*")
        self._namespaces = {
            namespace.name: ChannelRule.of(namespace, f"{namespace.name}:*")
            for namespace in settings.namespaces
        }

    @property
    def default(self) -> ChannelRule:
        """The rule of channels without a namespace."""
        return self._default

    def rule(self, channel: str) -> ChannelRule:
        """Return the rule for a channel.

        Raises:
            ProtocolError: The name is not one (107) or its namespace is unknown (102).
        """
        if not channel or len(channel) > MAX_CHANNEL_LENGTH or not channel.isascii():
            raise bad_request(f"a channel is 1 to {MAX_CHANNEL_LENGTH} ASCII characters")
        namespace, colon, _ = channel.removeprefix("$").partition(":")
        if not colon:
            return self._default
        found = self._namespaces.get(namespace)
        if found is None:
            raise unknown_channel()
        return found

    def check_subscribe(self, channel: str, user: str) -> ChannelRule:
        """Return the rule if a user (empty: anonymous) may subscribe to a channel.

        Raises:
            ProtocolError: Not a channel (107), unknown (102) or not allowed (103).
        """
        rule = self.rule(channel)
        options = rule.options
        allowed = (
            options.allow_subscribe_for_client if user else options.allow_subscribe_for_anonymous
        )
        if not allowed or channel.startswith("$") or not _is_for_user(channel, user):
            raise permission_denied()
        return rule

    def check_publish(self, channel: str, user: str, *, subscribed: bool) -> ChannelRule:
        """Return the rule if a user (empty: anonymous) may publish to a channel.

        Raises:
            ProtocolError: Not a channel (107), unknown (102) or not allowed (103).
        """
        rule = self.rule(channel)
        options = rule.options
        allowed = options.allow_publish_for_client if user else options.allow_publish_for_anonymous
        if not (allowed or (subscribed and options.allow_publish_for_subscriber)):
            raise permission_denied()
        return rule

    def check_history(self, channel: str, user: str, *, subscribed: bool) -> ChannelRule:
        """Return the rule if a user (empty: anonymous) may read what is kept of a channel.

        Raises:
            ProtocolError: Not a channel (107), unknown (102), nothing is kept (108) or not
                allowed (103).
        """
        rule = self.rule(channel)
        options = rule.options
        if not options.history:
            raise not_available()
        allowed = options.allow_history_for_client if user else options.allow_history_for_anonymous
        if not (allowed or (subscribed and options.allow_history_for_subscriber)):
            raise permission_denied()
        return rule

    def check_presence(self, channel: str, user: str, *, subscribed: bool) -> ChannelRule:
        """Return the rule if a user (empty: anonymous) may see who is in a channel.

        Raises:
            ProtocolError: Not a channel (107), unknown (102), presence is not kept (108) or not
                allowed (103).
        """
        rule = self.rule(channel)
        options = rule.options
        if not options.presence:
            raise not_available()
        allowed = (
            options.allow_presence_for_client if user else options.allow_presence_for_anonymous
        )
        if not (allowed or (subscribed and options.allow_presence_for_subscriber)):
            raise permission_denied()
        return rule


def _is_for_user(channel: str, user: str) -> bool:
    _, limited, users = channel.partition("#")
    return not limited or (bool(user) and user in users.split(","))
