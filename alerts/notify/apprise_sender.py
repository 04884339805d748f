"""What Apprise knows how to send; an optional package.

Apprise says only whether it worked. Where we have a channel of our own, that one is better: it
reads why a message was refused, waits as it is told to, and signs as it must.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Final, Literal, Protocol

from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.secret import Secret

MISSING: Final = (
    "needs the package apprise, which is not installed; pip install 'gatewatch[apprise]'"
)
"""What is said when it is not installed."""


def is_installed() -> bool:
    """Whether Apprise is there."""
    return importlib.util.find_spec("apprise") is not None


class AppriseSender(Protocol):
    """Sends a text to where a URL of Apprise's leads."""

    async def send(
        self, url: Secret, title: str, text: str, kind: Literal["failure", "success"]
    ) -> None:
        """Send a text.

        Raises:
            DeliveryError: It was not sent.
        """


class ThreadedApprise:
    """Apprise, which blocks, on a thread."""

    async def send(
        self, url: Secret, title: str, text: str, kind: Literal["failure", "success"]
    ) -> None:
        """Send a text.

        Raises:
            DeliveryError: It was not sent.
        """
        if not is_installed():
            message = f"the channel apprise {MISSING}"
            raise DeliveryError(message, FailureReason.CONFIGURATION, permanent=True)
        await asyncio.to_thread(_notify, url, title, text, kind)


def _notify(url: Secret, title: str, text: str, kind: Literal["failure", "success"]) -> None:
    from apprise import Apprise, NotifyType  # noqa: PLC0415 - optional, and slow to load

    sender = Apprise()
    if not sender.add(url.reveal()):
        message = "the URL is none that Apprise knows"
        raise DeliveryError(message, FailureReason.CONFIGURATION, permanent=True)
    level = NotifyType.FAILURE if kind == "failure" else NotifyType.SUCCESS
    if not sender.notify(body=text or title, title=title if text else "", notify_type=level):
        message = "Apprise could not send it; its log says why"
        raise DeliveryError(message, FailureReason.NETWORK)
