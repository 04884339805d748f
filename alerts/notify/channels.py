"""Interim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alerts.clock import Clock
from alerts.notify.channel import Channel
from alerts.notify.channel_config import ChannelConfig
from alerts.notify.templates import TemplateLibrary
from alerts.notify.transport import Transport
from alerts.notify.webhook import Encode, WebhookChannel
from alerts.notify.webhook_reader import WebhookEntry


@dataclass(frozen=True, slots=True)
class ChannelContext:
    transport: Transport
    clock: Clock
    templates: TemplateLibrary
    external_url: str
    encode: Encode


def build_channels(
    receiver: str, configs: Sequence[ChannelConfig], context: ChannelContext
) -> tuple[Channel, ...]:
    return tuple(
        WebhookChannel(
            key=f"{receiver}/webhook/{index}",
            receiver=receiver,
            config=entry.webhook,
            transport=context.transport,
            clock=context.clock,
            external_url=context.external_url,
            encode=context.encode,
        )
        for index, entry in enumerate(configs)
        if isinstance(entry, WebhookEntry)
    )
