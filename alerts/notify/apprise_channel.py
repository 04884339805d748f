"""A channel that leaves sending to Apprise."""

from __future__ import annotations

import asyncio

from alerts.notify.channel_config import ChannelConfig
from alerts.notify.channel_context import ChannelContext
from alerts.notify.definition import ChannelDefinition
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.expansion import Expander
from alerts.notify.http_channel import ChannelStats, read_files
from alerts.notify.notification import Notification
from alerts.notify.route_labels import with_route_labels
from alerts.notify.secret import Secret
from alerts.notify.settings import files_of
from alerts.notify.template_data import TemplateData
from alerts.notify.templates import Moment


class AppriseChannel:
    """Delivers notifications through Apprise; see ``Channel``.

    Args:
        key: Its key.
        receiver: Name of its receiver.
        config: The entry.
        definition: What its channel file says.
        context: What all channels are handed.
    """

    def __init__(
        self,
        key: str,
        receiver: str,
        config: ChannelConfig,
        definition: ChannelDefinition,
        context: ChannelContext,
    ) -> None:
        self.key = key
        self.receiver = receiver
        self.sends_resolved = config.send_resolved
        self.stats = ChannelStats()
        self._config = config
        self._definition = definition
        self._context = context
        self._url = Secret("")
        self._files = {file.path for value in config.settings.values() for file in files_of(value)}

    def redact(self, message: str) -> str:
        """Return a message without the secrets of the channel."""
        return self._url.redact(message) if self._url.reveal() else message

    async def deliver(self, notification: Notification) -> None:
        """Send the text that tells about a notification.

        Raises:
            DeliveryError: It was not sent; nothing secret is in its text.
        """
        files = await asyncio.to_thread(read_files, self._files) if self._files else {}
        templates = self._context.templates
        moment = Moment(self._context.clock.time())
        data = TemplateData.of(notification, self._context.external_url)
        data = with_route_labels(data, templates, moment)
        expander = Expander(
            self.key,
            templates,
            data,
            moment,
            files,
            self._template_failed,
        )
        settings = expander.all(self._definition.settings, self._config.settings)
        self._url = Secret(str(settings["url"]))
        self.stats.requests += 1
        kind = "failure" if data.status == "firing" else "success"
        try:
            async with asyncio.timeout(self._config.timeout_s):
                await self._context.apprise.send(
                    self._url,
                    str(settings["title"]),
                    str(settings["message"]),
                    kind,  # type: ignore[arg-type]  # one of the two
                )
        except TimeoutError:
            message = f"Apprise took longer than {self._config.timeout_s:g} s"
            raise DeliveryError(message, FailureReason.TIMEOUT) from None

    def _template_failed(self) -> None:
        self.stats.template_errors += 1
