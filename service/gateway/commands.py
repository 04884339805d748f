"""What each command of a client does and is answered with.

Commands of one connection are executed one after the other in the order they came, also while
``connect`` waits for something, because clients send ``subscribe`` behind it without waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Final

from service import __version__
from service.config.settings import GatewaySettings
from service.gateway.admission import Admission
from service.gateway.authentication import Authenticator
from service.gateway.broker import Broker, Message
from service.gateway.channels import ChannelRules
from service.gateway.client import Client, State
from service.gateway.codes import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    NOT_AVAILABLE,
    DisconnectError,
    ProtocolError,
    bad_request,
    internal_error,
    not_available,
)
from service.gateway.history import History
from service.gateway.presence import presence_result, presence_stats_result
from service.gateway.protocol import (
    MAX_ENVELOPE_BYTES,
    Command,
    Method,
    encode_data,
    encode_error,
    encode_result,
    text_field,
)
from service.gateway.stats import GatewayStats
from service.gateway.subscriptions import Grant, Subscriptions, Wish
from service.telemetry.sampling import MessageSampling

_LOG: Final = logging.getLogger(__name__)

_MAX_NAME: Final = 16
_MAX_VERSION: Final = 64

Result = Mapping[str, Any]


class Commands:
    """Executes commands for all connections of the process."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        broker: Broker,
        subscriptions: Subscriptions,
        rules: ChannelRules,
        tokens: Authenticator,
        sampling: MessageSampling,
        stats: GatewayStats,
        random: Random,
    ) -> None:
        """Use the parts that commands act on."""
        self._settings = settings
        self._broker = broker
        self._subscriptions = subscriptions
        self._history = History(broker, client_limit=settings.history_limit)
        self._rules = rules
        self._tokens = tokens
        self._admission = Admission(settings, tokens=tokens, rules=rules)
        self._sampling = sampling
        self._stats = stats
        self._random = random
        self._handlers: dict[Method, Callable[[Client, Result], Awaitable[Result]]] = {
            Method.CONNECT: self._connect,
            Method.SUBSCRIBE: self._subscribe,
            Method.UNSUBSCRIBE: self._unsubscribe,
            Method.PUBLISH: self._publish,
            Method.HISTORY: self._read_history,
            Method.PRESENCE: self._presence,
            Method.PRESENCE_STATS: self._presence_stats,
            Method.REFRESH: self._refresh,
            Method.SUB_REFRESH: self._refresh_subscription,
        }

    async def execute(self, client: Client, command: Command) -> bytes | None:
        """Execute one command and return its reply; None when there is none.

        Raises:
            DisconnectError: The connection must end.
        """
        method = command.method
        if method is None:
            client.pong()
            return None
        if method is Method.CONNECT:
            if client.state is not State.OPEN:
                raise DisconnectError(BAD_REQUEST, "a second connect")
            client.state = State.CONNECTING
        elif client.state is not State.CONNECTED:
            raise DisconnectError(BAD_REQUEST, f"{method} without a successful connect")
        if method is Method.SEND:
            self._count(method, str(NOT_AVAILABLE.code))
            raise DisconnectError(NOT_AVAILABLE, "nothing here receives what clients send")
        try:
            result = await self._run(client, method, command.request)
        except ProtocolError as error:
            self._count(method, str(error.code))
            return encode_error(command.id, error)
        except DisconnectError as error:
            self._count(method, str(error.close.code))
            raise
        self._count(method, "")
        return encode_result(command.id, method, result)

    async def _run(self, client: Client, method: Method, request: Result) -> Result:
        handler = self._handlers.get(method)
        if handler is None:
            raise not_available()
        try:
            return await handler(client, request)
        except (ProtocolError, DisconnectError):
            raise
        except Exception as error:
            # A fault of ours costs the client one command, not the connection.
            _LOG.exception("the command %s failed", method)
            raise internal_error() from error

    def _count(self, method: Method, error: str) -> None:
        self._stats.commands[method.value, error] += 1

    async def _connect(self, client: Client, request: Result) -> Result:
        text_field(request, "name", max_length=_MAX_NAME)
        text_field(request, "version", max_length=_MAX_VERSION)
        identity = await self._admission.connection(client, text_field(request, "token"))
        grants = self._admission.brought_along(identity)
        client.connected(identity, self._random)
        result = {
            "client": client.id,
            "version": f"gatewatch {__version__}",
            "ping": max(1, round(self._settings.ping_interval)),
            "pong": True,
            **self._tokens.expiry(identity),
        }
        if grants:
            result["subs"] = await self._subscribe_from_start(client, grants, request)
        return result

    async def _subscribe_from_start(
        self, client: Client, grants: Mapping[str, Grant], request: Result
    ) -> Result:
        """Subscribe a connection to all of its channels, or end it: none is left out."""
        try:
            return await self._subscriptions.subscribe_at_connect(client, grants, request)
        except ProtocolError as error:
            detail = f"a subscription of its token could not be made: {error}"
            raise DisconnectError(INTERNAL_ERROR, detail) from error

    async def _subscribe(self, client: Client, request: Result) -> Result:
        channel = text_field(request, "channel")
        if request.get("type"):
            raise not_available()  # map and shared-poll subscriptions
        if request.get("tf"):
            raise bad_request("tag filters are not available")
        wish = Wish.of(request)
        grant = await self._admission.subscription(client, channel, text_field(request, "token"))
        return await self._subscriptions.subscribe(client, channel, grant, wish)

    async def _refresh_subscription(self, client: Client, request: Result) -> Result:
        channel = text_field(request, "channel")
        if request.get("type"):
            raise not_available()  # tracking of shared-poll subscriptions
        token = text_field(request, "token")
        given = await self._admission.subscription_refresh(client, channel, token)
        self._subscriptions.inform(client, channel, given.info)
        self._subscriptions.renew(client, channel, given.expires_at)
        return self._tokens.expiry(given)

    async def _unsubscribe(self, client: Client, request: Result) -> Result:
        channel = text_field(request, "channel")
        if not channel:
            raise bad_request("channel is required")
        self._subscriptions.end(client, channel)
        return {}

    async def _publish(self, client: Client, request: Result) -> Result:
        channel = text_field(request, "channel")
        if "data" not in request:
            raise bad_request("data is required")
        subscribed = channel in client.channels
        rule = self._rules.check_publish(channel, client.user, subscribed=subscribed)
        data = encode_data(
            request["data"], max_bytes=self._settings.max_queue_size - MAX_ENVELOPE_BYTES
        )
        await self._broker.publish(
            Message(
                channel,
                data,
                rule,
                source="client",
                info=client.info(channel),
                parent=self._sampling.decide(),
            )
        )
        return {}

    async def _read_history(self, client: Client, request: Result) -> Result:
        channel = text_field(request, "channel")
        subscribed = channel in client.channels
        self._rules.check_history(channel, client.user, subscribed=subscribed)
        return await self._history.of_client(channel, request)

    async def _presence(self, client: Client, request: Result) -> Result:
        return presence_result(await self._broker.presence(self._shown(client, request)))

    async def _presence_stats(self, client: Client, request: Result) -> Result:
        return presence_stats_result(await self._broker.presence(self._shown(client, request)))

    def _shown(self, client: Client, request: Result) -> str:
        """Return the channel of a request by a client that may see who is in it."""
        channel = text_field(request, "channel")
        subscribed = channel in client.channels
        self._rules.check_presence(channel, client.user, subscribed=subscribed)
        return channel

    async def _refresh(self, client: Client, request: Result) -> Result:
        identity = await self._admission.refresh(client, text_field(request, "token"))
        client.renew(identity)
        return {
            "client": client.id,
            "version": f"gatewatch {__version__}",
            **self._tokens.expiry(identity),
        }
