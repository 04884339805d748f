"""A channel that sends mail."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from pathlib import Path
from typing import Final

from alerts.notify.channel_config import ChannelConfig
from alerts.notify.channel_context import ChannelContext
from alerts.notify.definition import ChannelDefinition
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.expansion import Expander
from alerts.notify.http_channel import ChannelStats, read_files
from alerts.notify.mail_transport import Mail, MailServer
from alerts.notify.notification import Notification
from alerts.notify.route_labels import with_route_labels
from alerts.notify.secret import Secret
from alerts.notify.settings import files_of
from alerts.notify.template_data import TemplateData
from alerts.notify.templates import Moment
from alerts.notify.transport import TLSOptions

_IMPLICIT_TLS_PORT: Final = 465


class MailChannel:
    """Delivers notifications by mail; see ``Channel``.

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
        self._secrets: set[Secret] = set()
        place = str(config.settings.get("smarthost"))
        self._pacer = context.pacers.pacer(config.kind, place, definition.pace)
        self._files = {file.path for value in config.settings.values() for file in files_of(value)}

    def ready_in_s(self) -> float:
        """Return how long until the next mail may be sent, in seconds."""
        return self._pacer.ready_in_s()

    def redact(self, message: str) -> str:
        """Return a message without the secrets of the channel."""
        for secret in self._secrets:
            message = secret.redact(message)
        return message

    async def deliver(self, notification: Notification) -> None:
        """Send the mail that tells about a notification.

        Raises:
            DeliveryError: It was not taken; nothing secret is in its text.
        """
        try:
            await self._deliver(notification)
        except DeliveryError as error:
            raise DeliveryError(
                self.redact(str(error)), error.reason, permanent=error.permanent
            ) from None

    async def _deliver(self, notification: Notification) -> None:
        files = await asyncio.to_thread(read_files, self._files) if self._files else {}
        settings = self._settings(notification, files)
        server = _server(settings, self._config.http.connection.tls)
        mail = self._mail(notification, settings)
        await self._pacer.turn()
        self.stats.requests += 1
        await self._context.mail.send(server, mail)

    def _settings(self, notification: Notification, files: Mapping[Path, str]) -> dict[str, object]:
        templates = self._context.templates
        moment = Moment(self._context.clock.time())
        data = TemplateData.of(notification, self._context.external_url)
        expander = Expander(
            self.key,
            templates,
            with_route_labels(data, templates, moment),
            moment,
            files,
            self._template_failed,
        )
        settings = expander.all(self._definition.settings, self._config.settings)
        self._secrets = {
            Secret(str(settings[each.name]))
            for each in self._definition.settings
            if each.kind.is_secret and settings.get(each.name)
        }
        return settings

    def _template_failed(self) -> None:
        self.stats.template_errors += 1

    def _mail(self, notification: Notification, settings: Mapping[str, object]) -> Mail:
        senders = _addresses(str(settings["from"]), "from")
        if len(senders) != 1:
            text = f"from must be one address, not {len(senders)}"
            raise DeliveryError(text, FailureReason.CONFIGURATION, permanent=True)
        recipients = _addresses(str(settings["to"]), "to")
        message = EmailMessage(policy=SMTP)
        host = senders[0].rpartition("@")[2]
        fields = {
            "From": str(settings["from"]),
            "To": str(settings["to"]),
            "Subject": str(settings["subject"]),
            "Date": format_datetime(datetime.fromtimestamp(self._context.clock.time(), UTC)),
            # The same over all attempts, so that a mail that arrives twice shows once.
            "Message-ID": f"<{notification.id}@{host}>",
            **self._threading(notification, settings, host),
        }
        for name, text in _headers(settings).items():
            known = next((key for key in fields if key.lower() == name.lower()), name)
            fields[known] = text
        for name, text in fields.items():
            message[name] = " ".join(text.split())
        _set_content(message, str(settings["text"]), str(settings["html"]))
        return Mail(senders[0], recipients, message.as_bytes(), self._config.timeout_s)

    def _threading(
        self, notification: Notification, settings: Mapping[str, object], host: str
    ) -> dict[str, str]:
        threading = settings.get("threading")
        if not isinstance(threading, dict) or not threading.get("enabled"):
            return {}
        day = ""
        if threading.get("thread_by_date") != "none":
            now = datetime.fromtimestamp(self._context.clock.time(), UTC)
            day = f"-{now:%Y-%m-%d}"
        key = hashlib.sha256(notification.group_key.encode("utf-8", "surrogatepass")).hexdigest()
        root = f"<alert-{key[:16]}{day}@{host}>"
        return {"References": root, "In-Reply-To": root}


def _headers(settings: Mapping[str, object]) -> dict[str, str]:
    headers = settings.get("headers")
    return (
        {} if not isinstance(headers, dict) else {name: str(text) for name, text in headers.items()}
    )


def _set_content(message: EmailMessage, text: str, html: str) -> None:
    if text or not html:
        message.set_content(text)
    if html and text:
        message.add_alternative(html, subtype="html")
    elif html:
        message.set_content(html, subtype="html")


def _addresses(text: str, name: str) -> tuple[str, ...]:
    found = [address for _, address in getaddresses([text])]
    try:
        for address in found:
            Address(addr_spec=address)
    except (ValueError, IndexError, HeaderParseError):
        found = []
    if not found or not all("@" in address for address in found):
        message = f"{name} is no list of mail addresses"
        raise DeliveryError(message, FailureReason.CONFIGURATION, permanent=True)
    return tuple(found)


def _server(settings: Mapping[str, object], tls: TLSOptions) -> MailServer:
    host, _, port = str(settings["smarthost"]).rpartition(":")
    is_implicit = settings.get("force_implicit_tls")
    if is_implicit is None:
        is_implicit = port == str(_IMPLICIT_TLS_PORT)
    password, secret = settings.get("auth_password"), settings.get("auth_secret")
    return MailServer(
        host=host.strip("[]"),
        port=int(port),
        hello=str(settings["hello"]),
        encryption="implicit" if is_implicit else "required" if settings["require_tls"] else "none",
        tls=tls,
        username=str(settings["auth_username"]),
        password=Secret(str(password)) if password else None,
        secret=Secret(str(secret)) if secret else None,
        identity=str(settings["auth_identity"]),
    )
