"""What clients ask, forwarded to back ends: which one, and what its answer means to the client.

Speaks the HTTP format of Centrifugo's proxy. A call to a back end is timed and, in a trace that is
recorded, a span; its requests are the HTTP pool's spans below it. Answers are not kept: every call
is a request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol, TypeVar

from opentelemetry import context as active_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, StatusCode

from alerts.clock import Clock
from service.codec import encode
from service.config.proxy_settings import ProxySettings, UpstreamSettings
from service.gateway.codes import (
    BAD_REQUEST,
    DisconnectError,
    ProtocolError,
    bad_request,
    internal_error,
    method_not_found,
    not_available,
    too_many_requests,
)
from service.gateway.limited_log import LimitedLog
from service.gateway.proxy_messages import (
    AnswerError,
    ChannelRequest,
    ConnectAnswer,
    ConnectRequest,
    ProxyClient,
    ProxyEvent,
    PublishAnswer,
    RefreshAnswer,
    RPCAnswer,
    RPCRequest,
    encode_request,
    read_answer,
    read_connect,
    read_publish,
    read_refresh,
    read_rpc,
    read_subscribe,
    required,
)
from service.gateway.tokens import SubscriptionGrant
from service.gateway.upstream import Outcome, Upstream, UpstreamError
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments
from service.telemetry.span_definitions import ASK

_LOG: Final = logging.getLogger(__name__)

_MAX_METHOD: Final = 255

Answer = TypeVar("Answer")


class HeaderSource(Protocol):
    """The headers of a request: names in any case, some perhaps more than once."""

    def getall(self, name: str, default: tuple[str, ...], /) -> list[str] | tuple[str, ...]:
        """Return every value of a header."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call to a back end.

    Attributes:
        event: What it is about.
        upstream: Who is asked.
        template: Of the method or channel, for telemetry.
        parent: Context of a recorded trace; None: the trace is not recorded.
    """

    event: ProxyEvent
    upstream: Upstream
    template: str
    parent: Context | None


class Proxy:
    """Forwards events of clients to the back ends of the settings."""

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
        self._clock = clock
        self._random = random
        self._instruments = instruments
        self._failures = LimitedLog(_LOG, clock)

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
        everywhere = [each.settings for each in self.upstreams()]
        self._http_headers = _names(each.http_headers for each in everywhere)
        self._emulated_headers = _names(each.emulated_headers for each in everywhere)

    @property
    def rpc_namespaces(self) -> Collection[str]:
        """The namespaces of methods that the settings know."""
        return self._rpc_namespaces.keys()

    def upstreams(self) -> Iterator[Upstream]:
        """Return every back end."""
        yield from self._usual.values()
        yield from self._named.values()

    def headers(self, source: HeaderSource) -> Mapping[str, str]:
        """Return what back ends are to know of the headers of a WebSocket request.

        Values that are not UTF-8 cannot be passed on and are left out.
        """
        found = {}
        for name in self._http_headers:
            separator = "; " if name == "cookie" else ", "
            value = separator.join(source.getall(name, ()))
            if value and _is_sendable(value):
                found[name] = value
        return found

    def emulated_headers(self, given: object) -> Mapping[str, str]:
        """Return what back ends are to know of the headers in a connect command.

        Raises:
            DisconnectError: They are not text by name (3501).
            ProtocolError: One has characters that a header cannot have (107).
        """
        if given is None:
            return {}
        if not isinstance(given, dict) or not all(isinstance(each, str) for each in given.values()):
            raise DisconnectError(BAD_REQUEST, "the headers of connect are not text by name")
        found = {}
        for name, value in given.items():
            if name.lower() in self._emulated_headers:
                if not _is_sendable(value):
                    raise bad_request(f"the value of {name} is none for a header")
                found[name.lower()] = value
        return found

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
        call = _Call(ProxyEvent.CONNECT, upstream, "*", parent)
        return await self._ask(call, client, fields, data=request.data, read=read)

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

        def read(body: bytes) -> RefreshAnswer | None:
            answer = read_answer(body, read_refresh)
            if answer is not None:
                self._check_size(answer.info)
            return answer

        call = _Call(ProxyEvent.REFRESH, upstream, "*", parent)
        try:
            answer = await self._ask(call, client, {"user": client.user}, data=None, read=read)
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
        return await self._ask(call, client, fields, data=request.data, read=read)

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
        return await self._ask(call, client, fields, data=request.data, read=read)

    def _call_about_channel(
        self, event: ProxyEvent, request: ChannelRequest, parent: Context | None
    ) -> _Call:
        if request.proxy_name:
            upstream = self._named.get(request.proxy_name)
        else:
            upstream = self._usual.get(event)
        if upstream is None:
            raise not_available()
        return _Call(event, upstream, request.template, parent)

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
        call = _Call(ProxyEvent.RPC, upstream, template, parent)

        def read(body: bytes) -> RPCAnswer:
            # A method may return nothing at all.
            answer = read_answer(body, read_rpc) or RPCAnswer()
            self._check_size(answer.data)
            return answer

        fields = {"user": client.user, "method": request.method}
        return await self._ask(call, client, fields, data=request.data, read=read)

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

    async def _ask(
        self,
        call: _Call,
        client: ProxyClient,
        fields: Mapping[str, Any],
        *,
        data: bytes | None,
        read: Callable[[bytes], Answer],
    ) -> Answer:
        """Ask a back end, and turn what goes wrong into what the client is told."""
        settings = call.upstream.settings
        body = encode_request(
            client,
            fields,
            data=data,
            binary=settings.binary_encoding,
            with_meta=settings.include_connection_meta,
        )
        with self._observed(call):
            try:
                return await call.upstream.ask(
                    body, client, changes_nothing=call.event.changes_nothing, read=read
                )
            except UpstreamError as error:
                self._failures.write(
                    logging.WARNING,
                    "the back end %s was asked about %s: %.500s",
                    call.upstream.name,
                    call.event.value,
                    error,
                    extra={"gateway.proxy.outcome": error.outcome.value, "client": client.id},
                )
                told = too_many_requests if error.outcome is Outcome.TOO_MANY else internal_error
                raise told() from error

    @contextmanager
    def _observed(self, call: _Call) -> Iterator[None]:
        """Time a call, and have its requests sent under its span."""
        began = self._clock.monotonic()
        attributes = {
            "gateway.proxy.event": call.event.value,
            "gateway.proxy.upstream": call.upstream.name,
            "gateway.proxy.template": call.template,
        }
        span = self._span(call, attributes)
        token = active_context.attach(trace.set_span_in_context(span, call.parent or Context()))
        outcome = Outcome.RESULT
        try:
            yield
        except BaseException as error:
            outcome = _outcome(error)
            span.set_status(StatusCode.ERROR, outcome.value)
            raise
        finally:
            active_context.detach(token)
            span.set_attribute("gateway.proxy.outcome", outcome.value)
            span.end()
            self._instruments.proxy_duration.record(
                self._clock.monotonic() - began,
                {**attributes, "gateway.proxy.outcome": outcome.value},
            )

    def _span(self, call: _Call, attributes: Mapping[str, str]) -> Span:
        if call.parent is None:
            # An id that is valid: without a parent the spans below would decide for themselves.
            bits = self._random.getrandbits
            return NonRecordingSpan(SpanContext(bits(128) | 1, bits(64) | 1, is_remote=False))
        return ASK.start(
            self._instruments.tracer,
            {"upstream": call.upstream.name},
            context=call.parent,
            attributes=attributes,
        )


def _outcome(error: BaseException) -> Outcome:
    cause = error.__cause__
    if isinstance(cause, UpstreamError):
        return cause.outcome
    if isinstance(error, ProtocolError):
        return Outcome.ERROR
    return Outcome.DISCONNECT if isinstance(error, DisconnectError) else Outcome.CANCELLED


def _names(lists: Iterator[tuple[str, ...]]) -> frozenset[str]:
    return frozenset(name.lower() for names in lists for name in names)


def _is_sendable(value: str) -> bool:
    """Whether a header can have this value."""
    if any((each < " " and each != "\t") or each == "\x7f" for each in value):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
