"""A channel: one way to one receiver. ``webhook`` is one; here is the one that only logs."""

from __future__ import annotations

import logging
from typing import Protocol

from alerts.notify.notification import Notification, status_of

_log = logging.getLogger(__name__)


class Channel(Protocol):
    """Delivers notifications; knows nothing of retries."""

    @property
    def key(self) -> str:
        """Unique among all channels and stable over restarts, such as ``ops/webhook/0``."""

    @property
    def receiver(self) -> str:
        """Name of the receiver it belongs to."""

    @property
    def sends_resolved(self) -> bool:
        """Whether it is told about alerts that ended."""

    async def deliver(self, notification: Notification) -> None:
        """Make one attempt; returning means the receiver has said yes.

        Raises:
            DeliveryError: It has not; says why and whether to try again.
        """


class LogChannel:
    """Writes alerts to the log; what happens where no receiver is configured."""

    __slots__ = ("key", "receiver", "sends_resolved")

    def __init__(self, receiver: str) -> None:
        self.receiver = receiver
        self.key = f"{receiver}/log/0"
        self.sends_resolved = True

    async def deliver(self, notification: Notification) -> None:
        """Write a line for every alert."""
        for alert in notification.alerts:
            texts = alert.annotations
            text = texts.get("summary") or texts.get("description") or ""
            _log.warning("alert %s %r: %s", status_of((alert,)), alert.labels, text)
