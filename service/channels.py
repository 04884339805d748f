"""The channels alerts can be sent by, as the settings say."""

from __future__ import annotations

from alerts.notify.catalogue import ChannelCatalogue
from alerts.notify.channel_config import ChannelReader
from service.config.settings import AlertsSettings


def channel_reader(settings: AlertsSettings) -> ChannelReader:
    """Return the reader of the channels of receivers.

    Raises:
        DocumentError: A channel file is wrong; lists all problems.
    """
    return ChannelCatalogue.shipped(settings.channel_folders)
