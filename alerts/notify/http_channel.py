"""A channel whose file says which HTTP requests tell its receiver."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from alerts.notify.answer import judge
from alerts.notify.authorization import Authorizer
from alerts.notify.channel_config import ChannelConfig
from alerts.notify.channel_context import ChannelContext
from alerts.notify.definition import ChannelDefinition
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.expansion import Expander
from alerts.notify.http_requests import Prepared, RequestBuilder
from alerts.notify.notification import Notification
from alerts.notify.route_labels import with_route_labels
from alerts.notify.secret import Secret
from alerts.notify.settings import InFile, Seconds, Value, Written, files_of, texts_of
from alerts.notify.template_data import TemplateData
from alerts.notify.templates import Moment
from alerts.notify.transport import TransportError, TransportRequest, TransportResponse

MAX_REDIRECTS: Final = 5
"""How many redirects of one request are followed."""

_MANY_ALERTS: Final = 20
_MAX_FILE_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class ChannelStats:
    """Plain counts of one channel."""

    requests: int = 0
    template_errors: int = 0


class HTTPChannel:
    """Delivers notifications by HTTP; see ``Channel``.

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
        self._authorizer = Authorizer(config.http, context.transport, context.clock)
        self._pacer = context.pacers.pacer(config.kind, _place(config), definition.pace)
        self._files = {
            file.path for value in config.settings.values() for file in files_of(value)
        } | {file.path for file in config.http.files()}
        self._secrets: set[Secret] = set()
        self._accepted: dict[str, int] = {}

    def ready_in_s(self) -> float:
        """Return how long until the next request may be made, in seconds."""
        return self._pacer.ready_in_s()

    def redact(self, message: str) -> str:
        """Return a message without the secrets of the channel, as they were used last."""
        return self._without(self._secrets, message)

    def _without(self, hidden: set[Secret], message: str) -> str:
        token = self._authorizer.token
        secrets = hidden if token is None else {*hidden, token}
        # Longer ones first, as one may be part of another.
        for secret in sorted(secrets, key=lambda each: len(each.reveal()), reverse=True):
            message = secret.redact(message)
        return message

    async def deliver(self, notification: Notification) -> None:
        """Make the requests that tell about a notification.

        Those that were accepted in an earlier attempt are not made again.

        Raises:
            DeliveryError: One was not accepted; nothing secret is in its text.
        """
        # Those of this notification: several are told at a time, and templates differ.
        hidden: set[Secret] = set()
        try:
            await self._deliver(notification, hidden)
        except DeliveryError as error:
            if error.permanent:
                self._accepted.pop(notification.id, None)
            # Not chained: the error behind it may show what is secret.
            raise DeliveryError(
                self._without(hidden, str(error)),
                error.reason,
                permanent=error.permanent,
                retry_after_s=error.retry_after_s,
            ) from None
        finally:
            self._secrets = hidden
        self._accepted.pop(notification.id, None)

    async def _deliver(self, notification: Notification, hidden: set[Secret]) -> None:
        files = await self._read_files()
        hidden |= _secrets(self._config, files)
        if len(notification.alerts) > _MANY_ALERTS:
            # Their texts take long enough to hold up everything else on the loop.
            requests = await asyncio.to_thread(self._requests, notification, files, hidden)
        else:
            requests = self._requests(notification, files, hidden)
        accepted = self._accepted.get(notification.id, 0)
        for index, prepared in enumerate(requests):
            if index < accepted:
                continue
            # More than one: each is a thing of its own, and its key the same over all attempts.
            key = notification.id if not index else f"{notification.id}/{index}"
            await self._request(prepared, key, files, hidden)
            self._accepted[notification.id] = index + 1

    def _requests(
        self, notification: Notification, files: Mapping[Path, str], hidden: set[Secret]
    ) -> list[Prepared]:
        context = self._context
        limit = self._config.settings.get("max_alerts")
        max_alerts = limit if isinstance(limit, int) and limit > 0 else None
        moment = Moment(context.clock.time())
        data = TemplateData.of(notification, context.external_url, max_alerts=max_alerts)
        expander = Expander(
            self.key,
            context.templates,
            with_route_labels(data, context.templates, moment),
            moment,
            files,
            self._template_failed,
        )
        builder = RequestBuilder(self._config, self._definition, expander, context.encode)
        hidden |= self._expanded_secrets(builder.settings)
        return list(builder.requests())

    def _template_failed(self) -> None:
        self.stats.template_errors += 1

    def _expanded_secrets(self, settings: Mapping[str, object]) -> set[Secret]:
        return {
            Secret(str(settings[each.name]))
            for each in self._definition.settings
            if each.kind.is_secret and settings.get(each.name)
        }

    async def _read_files(self) -> dict[Path, str]:
        return await asyncio.to_thread(read_files, self._files) if self._files else {}

    # One request.

    async def _request(
        self, prepared: Prepared, key: str, files: Mapping[Path, str], hidden: set[Secret]
    ) -> None:
        timeout_s = self._config.timeout_s
        authorizing = await self._authorizer.headers(files, timeout_s)
        # Also as it is sent: a proxy or a receiver may show the fields it got.
        if sent := authorizing.get("Authorization", "").rpartition(" ")[2]:
            hidden.add(Secret(sent))
        headers = {**prepared.headers, "Idempotency-Key": key, **authorizing}
        connection = self._config.http.connection
        if prepared.is_address_from_data or not self._context.allow_private:
            connection = replace(connection, public_only=True)
        request = TransportRequest(
            prepared.method, prepared.url, headers, prepared.body, timeout_s, connection
        )
        response = await self._answer(request)
        if response.status == 401 and self._authorizer.refused():
            message = "the answer was 401: the token is not taken any more"
            raise DeliveryError(message, FailureReason.REFUSED)
        judge(
            self._definition.answer,
            response,
            self._context.clock.time(),
            lambda text: self._without(hidden, text),
        )

    async def _answer(self, request: TransportRequest) -> TransportResponse:
        """Return the answer, after redirects that stay with the server and keep the body."""
        for _ in range(MAX_REDIRECTS):
            await self._pacer.turn()
            self.stats.requests += 1
            response = await self._sent(request)
            target = self._redirect(request.url, response)
            if target is None:
                return response
            request = replace(request, url=target)
        message = f"more than {MAX_REDIRECTS} redirects"
        raise DeliveryError(message, FailureReason.REDIRECTED, permanent=True)

    async def _sent(self, request: TransportRequest) -> TransportResponse:
        try:
            return await self._context.transport.send(request)
        except TransportError as error:
            if error.is_address_refused:
                raise DeliveryError(str(error), FailureReason.ADDRESS, permanent=True) from None
            reason = FailureReason.TIMEOUT if error.is_timeout else FailureReason.NETWORK
            raise DeliveryError(f"no answer: {error}", reason) from None

    def _redirect(self, url: str, response: TransportResponse) -> str | None:
        """Return where a redirect leads that is followed; None for every other answer.

        Others would lose the body, or hand it and its credentials to somebody else.
        """
        location = response.header("Location")
        if response.status not in (307, 308) or not location:
            return None
        if not self._config.http.follows_redirects:
            return None
        try:
            target = urljoin(url, location)
            return target if _origin(target) == _origin(url) else None
        except ValueError:
            return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def read_files(paths: set[Path]) -> dict[Path, str]:
    """Return the texts that stand in files, without blanks around them.

    Raises:
        DeliveryError: One cannot be read; it may be there at the next attempt.
    """
    found: dict[Path, str] = {}
    for path in sorted(paths):
        try:
            with path.open("rb") as file:
                found[path] = file.read(_MAX_FILE_BYTES).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            message = f"cannot read {path}: {why}"
            raise DeliveryError(message, FailureReason.CONFIGURATION) from None
    return found


def _secrets(config: ChannelConfig, files: Mapping[Path, str]) -> set[Secret]:
    found = {Secret(text.text.source) for text in _texts(config.settings) if text.is_secret}
    hidden = [file for value in config.settings.values() for file in files_of(value)]
    for secret in config.http.secrets():
        if isinstance(secret, InFile):
            hidden.append(secret)
        else:
            found.add(secret)
    found |= {Secret(files[file.path]) for file in hidden if file.is_secret}
    return {secret for secret in found if secret.reveal()}


def _texts(settings: Mapping[str, Value]) -> tuple[Written, ...]:
    return tuple(text for value in settings.values() for text in texts_of(value))


def _place(config: ChannelConfig) -> str:
    """Return what tells the receiver of an entry from others; a hash, as it is made of secrets."""
    definition = config.definition
    names = [] if definition is None else definition.settings
    parts = [
        repr(_shown(config.settings.get(each.name)))
        for each in names
        if each.kind.is_secret or each.kind.is_url
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _shown(value: Value) -> object:
    match value:
        case Written():
            return value.text.source
        case InFile():
            return str(value.path)
        case Seconds():
            return value.seconds
        case _:
            return None
