"""What may happen in channels, by namespace: the options under ``gateway.channels``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from service.config.section import Section
from service.config.types import (
    Amount,
    Count,
    Duration,
    NamespaceName,
    Size,
    contradiction,
)


class ChannelOptions(Section):
    """What clients may do in a channel."""

    allow_subscribe_for_client: bool = True
    """Clients that authenticated may subscribe."""
    allow_subscribe_for_anonymous: bool = True
    """Anonymous clients may subscribe, where anonymous connections are allowed at all."""
    allow_publish_for_client: bool = False
    """Clients that authenticated may publish."""
    allow_publish_for_subscriber: bool = False
    """Clients that are subscribed to the channel may publish to it."""
    allow_publish_for_anonymous: bool = False
    """Anonymous clients may publish."""
    history_size: Amount = 0
    """Publications kept of each channel at most; 0: none."""
    history_ttl: Duration = 0.0
    """How long they are kept after the newest one. History needs a size and a time."""
    allow_history_for_client: bool = False
    """Clients that authenticated may ask for history."""
    allow_history_for_subscriber: bool = False
    """Clients that are subscribed to the channel may ask for history."""
    allow_history_for_anonymous: bool = False
    """Anonymous clients may ask for history."""
    allow_positioning: bool = False
    """Subscribers that ask for it are told when they missed something."""
    force_positioning: bool = False
    """All subscribers are told when they missed something."""
    allow_recovery: bool = False
    """Subscribers that ask for it get what they missed when they come back."""
    force_recovery: bool = False
    """All subscribers get what they missed when they come back."""

    force_recovery_mode: Literal["stream", "cache"] = "stream"
    """stream: recovery is everything that was missed. cache: it is the newest publication alone,
    which those who subscribe for the first time get too."""
    conflate: bool = False
    """In a batching window only the newest publication of a channel is sent; the others are kept
    where there is history, and sent to nobody."""
    batch_max_messages: Count | None = None
    """Publications in one frame at most; unset: batching.max_messages."""
    batch_max_bytes: Size | None = None
    """Bytes in one frame at most; unset: batching.max_bytes."""
    batch_max_delay: Duration | None = None
    """How long a publication may wait for others; unset: batching.max_delay."""
    presence: bool = False
    """It can be asked who is in a channel."""
    allow_presence_for_client: bool = False
    """Clients that authenticated may ask who is in a channel."""
    allow_presence_for_subscriber: bool = False
    """Clients that are subscribed to the channel may ask who is in it."""
    allow_presence_for_anonymous: bool = False
    """Anonymous clients may ask who is in a channel."""
    join_leave: bool = False
    """Subscribers that ask for it are told who joins and who leaves."""
    force_push_join_leave: bool = False
    """All subscribers are told who joins and who leaves; needs join_leave."""

    subscribe_proxy_enabled: bool = False
    """Have a back end decide who may subscribe; users a channel is limited to may in any case."""
    subscribe_proxy_name: str = ""
    """Name of the back end in gateway.proxy.proxies; empty: gateway.proxy.subscribe."""
    publish_proxy_enabled: bool = False
    """Have a back end decide what clients may publish."""
    publish_proxy_name: str = ""
    """Name of the back end in gateway.proxy.proxies; empty: gateway.proxy.publish."""
    sub_refresh_proxy_enabled: bool = False
    """Have a back end decide whether subscriptions go on whose time is over."""
    sub_refresh_proxy_name: str = ""
    """Name of the back end in gateway.proxy.proxies; empty: gateway.proxy.sub_refresh."""

    @property
    def history(self) -> bool:
        """Whether publications are kept."""
        return self.history_size > 0 and self.history_ttl > 0

    @model_validator(mode="after")
    def _history_is_kept(self) -> Self:
        if self.history_size > 0 and self.history_ttl <= 0:
            raise contradiction(
                "history needs a size and a time: set history_ttl too", ("history_ttl",)
            )
        if self.history_ttl > 0 and self.history_size <= 0:
            raise contradiction(
                "history needs a size and a time: set history_size too", ("history_size",)
            )
        needs = (
            "allow_positioning",
            "force_positioning",
            "allow_recovery",
            "force_recovery",
        )
        for name in needs:
            if getattr(self, name) and not self.history:
                raise contradiction(
                    f"{name} needs history: set history_size and history_ttl", (name,)
                )
        return self

    @model_validator(mode="after")
    def _presence_is_kept(self) -> Self:
        if self.force_push_join_leave and not self.join_leave:
            raise contradiction(
                "force_push_join_leave needs join_leave", ("force_push_join_leave",)
            )
        for name in (
            "allow_presence_for_client",
            "allow_presence_for_subscriber",
            "allow_presence_for_anonymous",
        ):
            if getattr(self, name) and not self.presence:
                raise contradiction(f"{name} needs presence", (name,))
        return self


class NamespaceOptions(ChannelOptions):
    """Options of the channels `name:...`."""

    name: NamespaceName
    """The part of the channel name before the colon."""
