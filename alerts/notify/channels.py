"""Makes the channels of a receiver out of what the configuration says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from alerts.notify.apprise_channel import AppriseChannel
from alerts.notify.channel import Channel
from alerts.notify.channel_config import ChannelConfig
from alerts.notify.channel_context import ChannelContext
from alerts.notify.http_channel import HTTPChannel
from alerts.notify.mail_channel import MailChannel

__all__ = ["ChannelContext", "build_channels"]


def build_channels(
    receiver_name: str, configs: Sequence[ChannelConfig], context: ChannelContext
) -> tuple[Channel, ...]:
    """Return the channels of a receiver, in the order of its entries.

    Their keys are ``RECEIVER/KIND/INDEX``, with the index counted within the kind.

    Args:
        receiver_name: Name of the receiver.
        configs: Its entries, as ``ChannelCatalogue.read`` returns them.
        context: What all channels are handed; one for all receivers, so that channels which send
            to the same place share its pace.
    """
    counts: Counter[str] = Counter()
    channels: list[Channel] = []
    for config in configs:
        key = f"{receiver_name}/{config.kind}/{counts[config.kind]}"
        counts[config.kind] += 1
        channels.append(_channel(key, receiver_name, config, context))
    return tuple(channels)


def _channel(key: str, receiver: str, config: ChannelConfig, context: ChannelContext) -> Channel:
    definition = config.definition
    if definition is None:
        raise ValueError(f"the entry of {key} was read by no catalogue of channels")
    match definition.carrier:
        case "http":
            return HTTPChannel(key, receiver, config, definition, context)
        case "smtp":
            return MailChannel(key, receiver, config, definition, context)
        case "apprise":
            return AppriseChannel(key, receiver, config, definition, context)
