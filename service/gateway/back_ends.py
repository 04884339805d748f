"""What back ends decide about a client's commands, between ``commands`` and ``proxy``.

Reads what a command asks and hands it on; what comes of an answer is done in ``commands``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry.context import Context

from alerts.clock import Clock
from service.codec import Fragment
from service.gateway.channels import ChannelRule, ChannelRules
from service.gateway.client import Client
from service.gateway.codes import expired
from service.gateway.protocol import encode_data, text_field
from service.gateway.proxy import Proxy
from service.gateway.proxy_answers import PublishAnswer
from service.gateway.proxy_headers import HeaderSource
from service.gateway.proxy_requests import ChannelRequest, ConnectRequest, RPCRequest
from service.gateway.refreshing import Refreshing
from service.gateway.subscriptions import Subscriptions
from service.gateway.tokens import MAX_LIFETIME_S, Identity, SubscriptionGrant
from service.telemetry.sampling import MessageSampling

_LIMITED: Final = "#"
_PRIVATE: Final = "$"


class BackEnds:
    """Asks back ends on behalf of commands."""

    def __init__(
        self,
        proxy: Proxy,
        *,
        rules: ChannelRules,
        subscriptions: Subscriptions,
        sampling: MessageSampling,
        clock: Clock,
        random: Random,
        max_data_bytes: int,
    ) -> None:
        """Forward to a proxy what is not larger than so many bytes."""
        self._refreshing = Refreshing(
            proxy, subscriptions, sampling=sampling, clock=clock, random=random
        )
        self._rules = rules
        self._proxy = proxy
        self._sampling = sampling
        self._clock = clock
        self._max_data_bytes = max_data_bytes

    async def __aenter__(self) -> Self:
        """Begin to ask about what is over."""
        await self._refreshing.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ask no more."""
        await self._refreshing.__aexit__(kind, error, traceback)

    def opened(self, client: Client, headers: HeaderSource) -> None:
        """Keep what back ends are to see of a connection's request."""
        client.headers = self._proxy.headers.of_request(headers)
        client.subscription_refresher = self._refreshing.subscription_due
        if self._proxy.refreshes:
            client.refresher = self._refreshing.due

    @property
    def identify(self) -> bool:
        """Whether a back end says who clients without a token are."""
        return self._proxy.identifies

    def take_headers(self, client: Client, request: Mapping[str, Any]) -> None:
        """Keep the headers of a connect command that back ends are to see.

        Raises:
            ProtocolError: One cannot be a header (107).
            DisconnectError: They are not text by name (3501).
        """
        client.emulated_headers = self._proxy.headers.emulated(request.get("headers"))

    async def connection(
        self, client: Client, request: Mapping[str, Any]
    ) -> tuple[Identity, bytes | None] | None:
        """Return who a client is and what it is given; None when the back end leaves that open.

        Raises:
            ProtocolError: The back end refuses, cannot be asked or makes no sense; or what it gives
                was over before it began (110).
            DisconnectError: The back end wants it.
        """
        subs = request.get("subs")
        asked = ConnectRequest(
            name=text_field(request, "name"),
            version=text_field(request, "version"),
            data=self._data(request),
            channels=tuple(subs) if isinstance(subs, dict) else (),
        )
        answer = await self._proxy.connect(
            client.for_back_ends(), asked, parent=self._sampling.current()
        )
        if answer is None:
            return None
        identity = Identity(
            answer.user,
            answer.info,
            self._end(answer.expire_at),
            answer.meta,
            answer.subscriptions,
        )
        return identity, answer.data

    def decide_on_subscribing(self, channel: str) -> bool:
        """Whether a back end decides who may subscribe to a channel.

        Not to one whose name says for whom it is, nor to a private one, which needs a token.

        Raises:
            ProtocolError: The name is not one (107) or its namespace is unknown (102).
        """
        named = _LIMITED in channel or channel.startswith(_PRIVATE)
        return self._rules.rule(channel).options.subscribe_proxy_enabled and not named

    async def subscription(
        self, client: Client, channel: str, rule: ChannelRule, request: Mapping[str, Any]
    ) -> SubscriptionGrant:
        """Return what a client gets with a subscription that it is allowed.

        Raises:
            ProtocolError: The back end refuses, cannot be asked or makes no sense; or what it gives
                was over before it began (110).
            DisconnectError: The back end wants it.
        """
        name = rule.options.subscribe_proxy_name
        given = await self._proxy.subscribe(
            client.for_back_ends(),
            ChannelRequest(channel, rule.template, self._data(request), name),
            parent=self._sampling.current(),
        )
        return replace(given, expires_at=self._end(given.expires_at))

    def _end(self, expires_at: float | None) -> float | None:
        """Return when something ends that a back end gives."""
        if expires_at is None:
            return None
        now = self._clock.time()
        if expires_at <= now:
            raise expired()
        return min(float(expires_at), now + MAX_LIFETIME_S)

    async def publication(
        self,
        client: Client,
        channel: str,
        rule: ChannelRule,
        data: bytes,
        *,
        parent: Context | None,
    ) -> PublishAnswer:
        """Return what becomes of a publication that is allowed.

        Args:
            client: Who publishes.
            channel: Where.
            rule: The channel's.
            data: What, as JSON.
            parent: Context of a recorded trace; None: the trace is not recorded.

        Raises:
            ProtocolError: The back end refuses, cannot be asked or makes no sense.
            DisconnectError: The back end wants it.
        """
        request = ChannelRequest(channel, rule.template, data, rule.options.publish_proxy_name)
        return await self._proxy.publish(client.for_back_ends(), request, parent=parent)

    async def rpc(self, client: Client, request: Mapping[str, Any]) -> dict[str, Any]:
        """Execute a method and return the fields of the protocol's RPCResult.

        Raises:
            ProtocolError: The back end refuses, cannot be asked or makes no sense.
            DisconnectError: The back end wants it, or the command breaks the protocol.
        """
        answer = await self._proxy.rpc(
            client.for_back_ends(),
            RPCRequest(text_field(request, "method"), self._data(request)),
            parent=self._sampling.current(),
        )
        return {} if answer.data is None else {"data": Fragment(answer.data)}

    def _data(self, request: Mapping[str, Any]) -> bytes | None:
        if "data" not in request:
            return None
        return encode_data(request["data"], max_bytes=self._max_data_bytes)
