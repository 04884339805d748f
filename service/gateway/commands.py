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
from service.config.gateway_settings import GatewaySettings
from service.gateway.admission import Admission, check_state
from service.gateway.authentication import Authenticator
from service.gateway.back_ends import BackEnds
from service.gateway.broker import Broker, Message
from service.gateway.channels import ChannelRules
from service.gateway.client import Client, State
from service.gateway.codes import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    NOT_AVAILABLE,
    TOO_MANY_ERRORS,
    DisconnectError,
    ProtocolError,
    bad_request,
    internal_error,
    not_available,
    too_many_requests,
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
from service.gateway.proxy_answers import PublishAnswer
from service.gateway.proxy_headers import HeaderSource
from service.gateway.rate_limit import Verdict
from service.gateway.stats import GatewayStats
from service.gateway.subscriptions import Grant, Subscriptions, Wish
from service.gateway.tokens import Identity
from service.gateway.tracing import CommandTracing
from service.telemetry.local_histograms import LocalHistogram, SeriesTable
from service.telemetry.sampling import MessageSampling
from service.telemetry.span_definitions import SYSTEM

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
        tracing: The spans of commands.
        stats: Where commands are counted.
        durations: How long they take.
        random: Spreads first pings.
        back_ends: Asked about what clients want; None: there are none.
    """

    broker: Broker
    subscriptions: Subscriptions
    rules: ChannelRules
    tokens: Authenticator
    sampling: MessageSampling
    tracing: CommandTracing
    stats: GatewayStats
    durations: LocalHistogram
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
        self._admission = Admission(settings, tokens=parts.tokens, rules=parts.rules)
        self._sampling = parts.sampling
        self._tracing = parts.tracing
        self._stats = parts.stats
        self._durations = SeriesTable(
            parts.durations, "messaging.system", "messaging.operation.name", "error.type"
        )
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
            Method.SUB_REFRESH: self._refresh_subscription,
            Method.RPC: self._rpc,
        }

    def opened(self, client: Client, headers: HeaderSource) -> None:
        """Prepare a connection, with the headers of its request, before anything is read."""
        if self._back_ends is not None:
            self._back_ends.opened(client, headers)

    async def execute(self, client: Client, command: Command) -> bytes | None:
        """Execute one command and return its reply; None when there is none.

        Raises:
            DisconnectError: The connection must end.
        """
        method = command.method
        if method is None:
            client.pong()
            return None
        started_s = self._tracing.now()
        try:
            reply, error = await self._reply(client, method, command)
        except DisconnectError as failure:
            self._record(method, str(failure.close.code), started_s)
            raise
        except BaseException as failure:
            self._record(method, type(failure).__qualname__, started_s)
            raise
        self._record(method, error, started_s)
        return reply

    def _record(self, method: Method, error: str, started_s: float) -> None:
        duration_s = self._tracing.now() - started_s
        self._durations.of(SYSTEM, method.value, error).record(duration_s)

    async def _reply(self, client: Client, method: Method, command: Command) -> tuple[bytes, str]:
        """Execute a command; return its reply, and the code of the error in it or nothing.

        Raises:
            DisconnectError: The connection must end.
        """
        if method is Method.CONNECT:
            if client.state is not State.OPEN:
                raise DisconnectError(BAD_REQUEST, "a second connect")
            client.connecting()
        elif client.state is not State.CONNECTED:
            raise DisconnectError(BAD_REQUEST, f"{method} without a successful connect")
        if method is Method.SEND:
            self._count(method, str(NOT_AVAILABLE.code))
            raise DisconnectError(NOT_AVAILABLE, "nothing here receives what clients send")
        try:
            self._limit(client)
            result = await self._traced(client, method, command)
        except ProtocolError as error:
            self._count(method, str(error.code))
            return encode_error(command.id, error), str(error.code)
        except DisconnectError as error:
            self._count(method, str(error.close.code))
            raise
        self._count(method, "")
        return encode_result(command.id, method, result), ""

    def _limit(self, client: Client) -> None:
        """Refuse a command of a client that sends too many.

        Raises:
            ProtocolError: It is past the limit (111).
            DisconnectError: It is far past it (3509).
        """
        verdict = client.count_command()
        if verdict is Verdict.REFUSED:
            raise too_many_requests()
        if verdict is Verdict.HOSTILE:
            raise DisconnectError(TOO_MANY_ERRORS, "commands came faster than twice the limit")

    async def _traced(self, client: Client, method: Method, command: Command) -> Result:
        parent = self._tracing.decide(method, command)
        if parent is None:
            return await self._untraced(client, method, command)
        with self._tracing.traced(
            method, command, parent, connection=client.id, upgrade=client.upgrade
        ):
            return await self._run(client, method, command.request)

    async def _untraced(self, client: Client, method: Method, command: Command) -> Result:
        started = self._tracing.now()
        failure: ProtocolError | DisconnectError | None = None
        try:
            return await self._run(client, method, command.request)
        except (ProtocolError, DisconnectError) as error:
            failure = error
            raise
        finally:
            self._tracing.untraced(
                method, command, connection=client.id, started=started, failure=failure
            )

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
        grants = self._admission.brought_along(identity)
        client.connected(identity, self._random)
        result = {
            "client": client.id,
            "version": f"gatewatch {__version__}",
            "ping": max(1, round(self._settings.ping_interval)),
            "pong": True,
            **({} if client.refresher is not None else self._tokens.expiry(identity)),
            **({} if data is None else {"data": Fragment(data)}),
        }
        if grants:
            result["subs"] = await self._subscribe_from_start(client, grants, request)
        return result

    async def _identify(self, client: Client, request: Result) -> tuple[Identity, bytes | None]:
        """Return who a client is, and what a back end gives it beside that."""
        token = text_field(request, "token")
        if not token and self._back_ends is not None and self._back_ends.identify:
            known = await self._back_ends.connection(client, request)
            check_state(client, State.CONNECTING)
            if known is not None:
                return known
        return await self._admission.connection(client, token), None

    async def _subscribe_from_start(
        self, client: Client, grants: Mapping[str, Grant], request: Result
    ) -> Result:
        """Subscribe a connection to all of its channels, or end it: none is left out."""
        try:
            return await self._subscriptions.subscribe_at_connect(client, grants, request)
        except ProtocolError as error:
            detail = f"a subscription it was given could not be made: {error}"
            raise DisconnectError(INTERNAL_ERROR, detail) from error

    async def _subscribe(self, client: Client, request: Result) -> Result:
        channel = text_field(request, "channel")
        if request.get("type"):
            raise not_available()  # map and shared-poll subscriptions
        if request.get("tf"):
            raise bad_request("tag filters are not available")
        wish = Wish.of(request)
        token = text_field(request, "token")
        back_ends = self._back_ends
        if token or back_ends is None or not back_ends.decide_on_subscribing(channel):
            grant = await self._admission.subscription(client, channel, token)
        else:
            grant = await self._admission.decided_subscription(
                client, channel, lambda rule: back_ends.subscription(client, channel, rule, request)
            )
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
        rule = self._rules.rule(channel)
        asked = self._back_ends if rule.options.publish_proxy_enabled else None
        if asked is None:
            subscribed = channel in client.channels
            self._rules.check_publish(channel, client.user, subscribed=subscribed)
        data = encode_data(request["data"], max_bytes=self._max_data_bytes)
        parent, given = self._sampling.current(), PublishAnswer()
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
                idempotency_key=given.idempotency_key,
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
        return await self._history.of_client(channel, request, room=client.room)

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
        self._subscriptions.refresh(client, identity)
        return {
            "client": client.id,
            "version": f"gatewatch {__version__}",
            **self._tokens.expiry(identity),
        }
