"""What each command of a client does and is answered with.

Commands of one connection are executed one after the other in the order they came, also while
``connect`` waits for something, because clients send ``subscribe`` behind it without waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from service import __version__
from service.codec import Fragment
from service.config.settings import GatewaySettings
from service.gateway.authentication import Authenticator
from service.gateway.back_ends import BackEnds
from service.gateway.broker import Broker, Message
from service.gateway.channels import ChannelRule, ChannelRules
from service.gateway.client import Client, State
from service.gateway.codes import (
    BAD_REQUEST,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    STALE,
    DisconnectError,
    ProtocolError,
    already_subscribed,
    bad_request,
    internal_error,
    limit_exceeded,
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
from service.gateway.proxy_messages import PublishAnswer, SubscribeAnswer
from service.gateway.stats import GatewayStats
from service.gateway.subscriptions import Subscriptions, Wish
from service.gateway.tokens import Identity
from service.telemetry.sampling import MessageSampling

_LOG: Final = logging.getLogger(__name__)

_MAX_NAME: Final = 16
_MAX_VERSION: Final = 64

Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CommandParts:
    """What commands act on.

    Attributes:
        broker: Publications, history and presence.
        subscriptions: Begins and ends them.
        rules: What clients may do in channels.
        tokens: Who clients are.
        sampling: Which traces are recorded.
        stats: Where commands are counted.
        random: Spreads first pings.
        back_ends: Asked about what clients want; None: there are none.
    """

    broker: Broker
    subscriptions: Subscriptions
    rules: ChannelRules
    tokens: Authenticator
    sampling: MessageSampling
    stats: GatewayStats
    random: Random
    back_ends: BackEnds | None = None


class Commands:
    """Executes commands for all connections of the process."""

    def __init__(self, settings: GatewaySettings, parts: CommandParts) -> None:
        """Use the parts that commands act on."""
        self._settings = settings
        self._broker = parts.broker
        self._subscriptions = parts.subscriptions
        self._history = History(parts.broker, client_limit=settings.history_limit)
        self._rules = parts.rules
        self._tokens = parts.tokens
        self._sampling = parts.sampling
        self._stats = parts.stats
        self._random = parts.random
        self._back_ends = parts.back_ends
        self._max_data_bytes = settings.max_queue_size - MAX_ENVELOPE_BYTES
        self._handlers: dict[Method, Callable[[Client, Result], Awaitable[Result]]] = {
            Method.CONNECT: self._connect,
            Method.SUBSCRIBE: self._subscribe,
            Method.UNSUBSCRIBE: self._unsubscribe,
            Method.PUBLISH: self._publish,
            Method.HISTORY: self._read_history,
            Method.PRESENCE: self._presence,
            Method.PRESENCE_STATS: self._presence_stats,
            Method.REFRESH: self._refresh,
            Method.RPC: self._rpc,
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
        if self._back_ends is not None:
            self._back_ends.take_headers(client, request)
        identity, data = await self._identify(client, request)
        _check_state(client, State.CONNECTING)
        client.connected(identity, self._random)
        return {
            "client": client.id,
            "version": f"gatewatch {__version__}",
            "ping": max(1, round(self._settings.ping_interval)),
            "pong": True,
            **({} if client.refresher is not None else self._tokens.expiry(identity)),
            **({} if data is None else {"data": Fragment(data)}),
        }

    async def _identify(self, client: Client, request: Result) -> tuple[Identity, bytes | None]:
        """Return who a client is, and what it is told beside that: by token, or by back end."""
        token = text_field(request, "token")
        if token:
            return await self._tokens.connection(token), None
        if self._back_ends is not None and self._back_ends.identify:
            answer = await self._back_ends.connection(client, request)
            if answer is not None:
                return self._back_ends.identity(answer), answer.data
        if not self._settings.allow_anonymous:
            raise DisconnectError(PERMISSION_DENIED, "no token, and anonymous is not allowed")
        return Identity(""), None

    async def _subscribe(self, client: Client, request: Result) -> Result:
        channel = text_field(request, "channel")
        rule = self._rules.rule(channel)
        asked = self._back_ends if self._is_proxied(channel, rule) else None
        if asked is None:
            self._rules.check_subscribe(channel, client.user)
        if request.get("token") or request.get("type"):
            raise not_available()  # subscription tokens, map and shared-poll subscriptions
        if request.get("tf"):
            raise bad_request("tag filters are not available")
        if channel in client.channels:
            raise already_subscribed()
        if len(client.channels) >= self._settings.max_channels_per_connection:
            raise limit_exceeded()
        wish, given = Wish.of(request), SubscribeAnswer()
        if asked is not None:
            given = await asked.subscription(client, channel, rule, request)
            _check_state(client, State.CONNECTED)
            if channel in client.channels:  # by the server API meanwhile
                raise already_subscribed()
        result = await self._subscriptions.subscribe(client, channel, rule, wish, info=given.info)
        return result if given.data is None else {**result, "data": Fragment(given.data)}

    def _is_proxied(self, channel: str, rule: ChannelRule) -> bool:
        return self._back_ends is not None and self._back_ends.decide_on_subscribing(channel, rule)

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
        rule = self._rules.rule(channel)
        asked = self._back_ends if rule.options.publish_proxy_enabled else None
        if asked is None:
            subscribed = channel in client.channels
            self._rules.check_publish(channel, client.user, subscribed=subscribed)
        data = encode_data(request["data"], max_bytes=self._max_data_bytes)
        parent, given = self._sampling.decide(), PublishAnswer()
        if asked is not None:
            given = await asked.publication(client, channel, rule, data, parent=parent)
        await self._broker.publish(
            Message(
                channel,
                data if given.data is None else given.data,
                rule,
                source="client",
                info=client.info(channel),
                tags=given.tags or None,
                parent=parent,
                skip_history=given.skip_history,
            )
        )
        return {}

    async def _rpc(self, client: Client, request: Result) -> Result:
        if self._back_ends is None:
            raise not_available()
        return await self._back_ends.rpc(client, request)

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
        token = text_field(request, "token")
        if not token:
            raise DisconnectError(BAD_REQUEST, "a refresh without a token")
        identity = await self._tokens.refresh(token, user=client.user)
        _check_state(client, State.CONNECTED)
        client.renew(identity)
        return {
            "client": client.id,
            "version": f"gatewatch {__version__}",
            **self._tokens.expiry(identity),
        }


def _check_state(client: Client, expected: State) -> None:
    """Give up on a client that was closed while its token was judged or a back end asked."""
    if client.state is not expected:
        raise DisconnectError(
            client.close_reason or STALE, "it was closed before its command was done"
        )
