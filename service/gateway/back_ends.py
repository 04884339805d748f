"""What back ends decide about a client's commands, between ``commands`` and ``proxy``.

Reads what a command asks and hands it on; what comes of an answer is done in ``commands``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context

from alerts.clock import Clock
from service.codec import Fragment
from service.gateway.channels import ChannelRule
from service.gateway.client import Client
from service.gateway.codes import expired
from service.gateway.protocol import encode_data, text_field
from service.gateway.proxy import Proxy
from service.gateway.proxy_messages import (
    ChannelRequest,
    ConnectAnswer,
    ConnectRequest,
    PublishAnswer,
    RPCRequest,
    SubscribeAnswer,
)
from service.gateway.tokens import MAX_LIFETIME_S, Identity
from service.telemetry.sampling import MessageSampling

_LIMITED: Final = "#"
_PRIVATE: Final = "$"


class BackEnds:
    """Asks back ends on behalf of commands."""

    def __init__(
        self, proxy: Proxy, *, sampling: MessageSampling, clock: Clock, max_data_bytes: int
    ) -> None:
        """Forward to a proxy what is not larger than so many bytes."""
        self._proxy = proxy
        self._sampling = sampling
        self._clock = clock
        self._max_data_bytes = max_data_bytes

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
        client.emulated_headers = self._proxy.emulated_headers(request.get("headers"))

    async def connection(self, client: Client, request: Mapping[str, Any]) -> ConnectAnswer | None:
        """Return who a client is; None when the back end leaves that open.

        Raises:
            ProtocolError: The back end refuses, cannot be asked or makes no sense.
            DisconnectError: The back end wants it.
        """
        subs = request.get("subs")
        asked = ConnectRequest(
            name=text_field(request, "name"),
            version=text_field(request, "version"),
            data=self._data(request),
            channels=tuple(subs) if isinstance(subs, dict) else (),
        )
        return await self._proxy.connect(
            client.for_back_ends(), asked, parent=self._sampling.decide()
        )

    def identity(self, answer: ConnectAnswer) -> Identity:
        """Return the identity that a back end gave a connection.

        Raises:
            ProtocolError: It was over before it began (110).
        """
        now = self._clock.time()
        expires_at = None
        if answer.expire_at is not None:
            if answer.expire_at <= now:
                raise expired()
            expires_at = min(float(answer.expire_at), now + MAX_LIFETIME_S)
        return Identity(answer.user, answer.info, expires_at, answer.meta)

    def decide_on_subscribing(self, channel: str, rule: ChannelRule) -> bool:
        """Whether a back end decides who may subscribe to a channel.

        Not to one whose name says for whom it is, nor to a private one, which needs a token.
        """
        named = _LIMITED in channel or channel.startswith(_PRIVATE)
        return rule.options.subscribe_proxy_enabled and not named

    async def subscription(
        self, client: Client, channel: str, rule: ChannelRule, request: Mapping[str, Any]
    ) -> SubscribeAnswer:
        """Return what a client gets with a subscription that it is allowed.

        Raises:
            ProtocolError: The back end refuses, cannot be asked or makes no sense.
            DisconnectError: The back end wants it.
        """
        name = rule.options.subscribe_proxy_name
        return await self._proxy.subscribe(
            client.for_back_ends(),
            ChannelRequest(channel, rule.template, self._data(request), name),
            parent=self._sampling.decide(),
        )

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
            parent=self._sampling.decide(),
        )
        return {} if answer.data is None else {"data": Fragment(answer.data)}

    def _data(self, request: Mapping[str, Any]) -> bytes | None:
        if "data" not in request:
            return None
        return encode_data(request["data"], max_bytes=self._max_data_bytes)
