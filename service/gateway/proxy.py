"""What clients ask, forwarded to back ends: which one, and what its answer means to the client.

Speaks the HTTP format of Centrifugo's proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from random import Random
from typing import Any, Final

from opentelemetry.context import Context

from alerts.clock import Clock
from service.codec import encode
from service.config.proxy_settings import ProxySettings, UpstreamSettings
from service.gateway.codes import (
    DisconnectError,
    ProtocolError,
    bad_request,
    method_not_found,
    not_available,
)
from service.gateway.proxy_answers import (
    ConnectAnswer,
    PublishAnswer,
    RefreshAnswer,
    RPCAnswer,
    read_answer,
    read_connect,
    read_publish,
    read_refresh,
    read_rpc,
    read_sub_refresh,
    read_subscribe,
    required,
)
from service.gateway.proxy_calls import Call, ProxyCalls
from service.gateway.proxy_fields import AnswerError
from service.gateway.proxy_headers import PassedOnHeaders
from service.gateway.proxy_requests import (
    ChannelRequest,
    ConnectRequest,
    ProxyClient,
    ProxyEvent,
    RPCRequest,
)
from service.gateway.tokens import SubscriptionGrant
from service.gateway.upstream import Upstream, UpstreamError
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments

_MAX_METHOD: Final = 255


class Proxy:
    """Forwards events of clients to the back ends of the settings.

    Attributes:
        headers: Those of clients that back ends are to see.
    """

    def __init__(
        self,
        settings: ProxySettings,
        *,
        max_data_bytes: int,
        pool: HTTPConnectionPool,
        clock: Clock,
        random: Random,
        instruments: Instruments,
    ) -> None:
        """Take over the settings; nothing is sent yet.

        Args:
            settings: The back ends.
            max_data_bytes: Data for a client that fits its queue.
            pool: Connections to them.
            clock: Time.
            random: Ids and jitter.
            instruments: Spans and histograms.
        """
        self._max_data_bytes = max_data_bytes
        self._calls = ProxyCalls(clock=clock, random=random, instruments=instruments)

        def upstream(name: str, settings: UpstreamSettings) -> Upstream:
            return Upstream(name, settings, pool=pool, clock=clock, random=random)

        self._named = {each.name: upstream(each.name, each) for each in settings.proxies}
        self._usual = {
            ProxyEvent(event): upstream(event, given) for event, given in settings.usual().items()
        }
        self._rpc_namespaces = {
            each.name: self._named.get(each.proxy_name) or self._usual[ProxyEvent.RPC]
            for each in settings.rpc_namespaces
        }
        self.headers = PassedOnHeaders(each.settings for each in self.upstreams())

    @property
    def rpc_namespaces(self) -> Collection[str]:
        """The namespaces of methods that the settings know."""
        return self._rpc_namespaces.keys()

    def upstreams(self) -> Iterator[Upstream]:
        """Return every back end."""
        yield from self._usual.values()
        yield from self._named.values()

    @property
    def identifies(self) -> bool:
        """Whether a back end says who clients without a token are."""
        return ProxyEvent.CONNECT in self._usual

    async def connect(
        self, client: ProxyClient, request: ConnectRequest, *, parent: Context | None
    ) -> ConnectAnswer | None:
        """Have a back end say who a client is; None when it leaves that open.

        Args:
            client: The connection, without a user yet.
            request: What the client says of itself.
            parent: Context of a recorded trace; None: the trace is not recorded.

        Raises:
            ProtocolError: What the back end answers, or: nobody can be asked (108), too many at
                once (111), no usable answer (100).
            DisconnectError: The back end wants it.
        """
        upstream = self._usual.get(ProxyEvent.CONNECT)
        if upstream is None:
            raise not_available()

        def read(body: bytes) -> ConnectAnswer | None:
            answer = read_answer(body, read_connect)
            if answer is not None:
                self._check_size(answer.data, answer.info)
            return answer

        fields = {
            "name": request.name,
            "version": request.version,
            "channels": list(request.channels),
        }
        call = Call(ProxyEvent.CONNECT, upstream, "*", parent)
        return await self._calls.ask(call, client, fields, data=request.data, read=read)

    @property
    def refreshes(self) -> bool:
        """Whether a back end is asked when the time of a connection is over."""
        return ProxyEvent.REFRESH in self._usual

    async def refresh(self, client: ProxyClient, *, parent: Context | None) -> RefreshAnswer | None:
        """Have a back end say whether a connection goes on; None when it could not say.

        An error or a disconnect in its answer, and an answer that holds nothing, mean that it does
        not.

        Args:
            client: Whose time is over.
            parent: Context of a recorded trace; None: the trace is not recorded.

        Raises:
            ProtocolError: Nobody can be asked (108).
        """
        upstream = self._usual.get(ProxyEvent.REFRESH)
        if upstream is None:
            raise not_available()
        call = Call(ProxyEvent.REFRESH, upstream, "*", parent)
        return await self._ask_if_it_goes_on(call, client, {"user": client.user}, read_refresh)

    async def sub_refresh(
        self, client: ProxyClient, request: ChannelRequest, *, parent: Context | None
    ) -> RefreshAnswer | None:
        """Have a back end say whether a subscription goes on, as ``refresh`` does for connections.

        Args:
            client: Whose subscription it is.
            request: To what.
            parent: Context of a recorded trace; None: the trace is not recorded.

        Raises:
            ProtocolError: Nobody can be asked (108).
        """
        call = self._call_about_channel(ProxyEvent.SUB_REFRESH, request, parent)
        fields = {"user": client.user, "channel": request.channel}
        return await self._ask_if_it_goes_on(call, client, fields, read_sub_refresh)

    async def _ask_if_it_goes_on(
        self,
        call: Call,
        client: ProxyClient,
        fields: Mapping[str, str],
        read_result: Callable[[Mapping[str, Any]], RefreshAnswer],
    ) -> RefreshAnswer | None:
        def read(body: bytes) -> RefreshAnswer | None:
            answer = read_answer(body, read_result)
            if answer is not None:
                self._check_size(answer.info)
            return answer

        try:
            answer = await self._calls.ask(call, client, fields, data=None, read=read)
        except (ProtocolError, DisconnectError) as error:
            if isinstance(error.__cause__, UpstreamError):
                return None
            return RefreshAnswer(expired=True)
        return answer or RefreshAnswer(expired=True)

    async def subscribe(
        self, client: ProxyClient, request: ChannelRequest, *, parent: Context | None
    ) -> SubscriptionGrant:
        """Have a back end decide on a subscription; returning means that it is allowed.

        Args:
            client: Who wants to subscribe.
            request: To what.
            parent: Context of a recorded trace; None: the trace is not recorded.

        Raises:
            ProtocolError: As for ``connect``.
            DisconnectError: The back end wants it.
        """

        def read(body: bytes) -> SubscriptionGrant:
            answer = required(body, read_subscribe)
            self._check_size(answer.data, answer.info)
            return answer

        call = self._call_about_channel(ProxyEvent.SUBSCRIBE, request, parent)
        fields = {"user": client.user, "channel": request.channel}
        return await self._calls.ask(call, client, fields, data=request.data, read=read)

    async def publish(
        self, client: ProxyClient, request: ChannelRequest, *, parent: Context | None
    ) -> PublishAnswer:
        """Have a back end decide on a publication, once; returning means that it is allowed.

        Args:
            client: Who publishes.
            request: Where and what.
            parent: Context of a recorded trace; None: the trace is not recorded.

        Raises:
            ProtocolError: As for ``connect``.
            DisconnectError: The back end wants it.
        """

        def read(body: bytes) -> PublishAnswer:
            answer = required(body, read_publish)
            tags = encode(answer.tags) if answer.tags else None
            self._check_size(answer.data or request.data, tags)
            return answer

        call = self._call_about_channel(ProxyEvent.PUBLISH, request, parent)
        fields = {"user": client.user, "channel": request.channel}
        return await self._calls.ask(call, client, fields, data=request.data, read=read)

    def _call_about_channel(
        self, event: ProxyEvent, request: ChannelRequest, parent: Context | None
    ) -> Call:
        if request.proxy_name:
            upstream = self._named.get(request.proxy_name)
        else:
            upstream = self._usual.get(event)
        if upstream is None:
            raise not_available()
        return Call(event, upstream, request.template, parent)

    async def rpc(
        self, client: ProxyClient, request: RPCRequest, *, parent: Context | None
    ) -> RPCAnswer:
        """Have a method executed; never twice.

        Args:
            client: Who calls it.
            request: The method and its data.
            parent: Context of a recorded trace; None: the trace is not recorded.

        Raises:
            ProtocolError: What the back end answers, or: nobody executes methods (108) or those of
                this namespace (104), too many at once (111), no usable answer (100).
            DisconnectError: The back end wants it.
        """
        upstream, template = self._for_method(request.method)
        call = Call(ProxyEvent.RPC, upstream, template, parent)

        def read(body: bytes) -> RPCAnswer:
            # A method may return nothing at all.
            answer = read_answer(body, read_rpc) or RPCAnswer()
            self._check_size(answer.data)
            return answer

        fields = {"user": client.user, "method": request.method}
        return await self._calls.ask(call, client, fields, data=request.data, read=read)

    def _check_size(self, *parts: bytes | None) -> None:
        if sum(len(part) for part in parts if part is not None) > self._max_data_bytes:
            raise AnswerError(
                f"it holds more than the {self._max_data_bytes} bytes that fit a client's queue"
            )

    def _for_method(self, method: str) -> tuple[Upstream, str]:
        if len(method) > _MAX_METHOD:
            raise bad_request(f"a method's name is up to {_MAX_METHOD} characters")
        namespace, colon, _ = method.partition(":")
        if not colon:
            usual = self._usual.get(ProxyEvent.RPC)
            if usual is None:
                raise not_available()
            return usual, "*"
        found = self._rpc_namespaces.get(namespace)
        if found is None:
            raise method_not_found() if self._rpc_namespaces or self._usual else not_available()
        return found, f"{namespace}:*"
