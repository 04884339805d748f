"""The channels alerts can be sent by, as the settings say."""

from __future__ import annotations

from alerts.notify.channel_config import ChannelReader
from alerts.notify.webhook_reader import WebhookReader
from service.config.settings import AlertsSettings


def channel_reader(settings: AlertsSettings) -> ChannelReader:  # noqa: ARG001 - as yet
    """Return the reader of the channels of receivers."""
    return WebhookReader()
