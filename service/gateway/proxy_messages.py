"""What back ends are asked and what they answer, as bytes and as values. No I/O.

Source: Centrifugo documentation, "Proxy events to the backend", HTTP protocol. Clients speak JSON
here, so what comes in ``b64data`` and ``b64info`` must be JSON too.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, TypeVar

from service.codec import Fragment, JSONError, decode, decode_exactly, encode
from service.gateway.codes import DisconnectError, GatewayError, ProtocolError
from service.gateway.tokens import (
    NO_OVERRIDE,
    ServerSubscription,
    SubscriptionGrant,
    SubscriptionOverride,
)
from service.pools.websocket import CloseReason

_MAX_REASON_BYTES: Final = 123
"""What a close frame has room for."""
_OVERRIDES: Final = frozenset(each.name for each in fields(SubscriptionOverride))
_MAX_TIME: Final = 2**53
_MAX_KEY_LENGTH: Final = 256
_UNFIT_REASON: Final = "disconnected by the back end"
_ERROR_CODES: Final = range(100, 2000)
_CLOSE_CODES: Final = range(3000, 5000)


class ProxyEvent(StrEnum):
    """What a back end can be asked about."""

    CONNECT = "connect"
    REFRESH = "refresh"
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    SUB_REFRESH = "sub_refresh"
    RPC = "rpc"

    @property
    def changes_nothing(self) -> bool:
        """Whether it is a question, which may be asked again when it is not known if it arrived."""
        return self not in {ProxyEvent.PUBLISH, ProxyEvent.RPC}


class AnswerError(GatewayError):
    """An answer that is not in the format; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ProxyClient:
    """The connection on whose behalf a back end is asked.

    Attributes:
        id: Of the connection.
        user: Of the user; empty for an anonymous one.
        headers: Of the WebSocket request, by lower-case name.
        emulated_headers: From the connect command, by lower-case name.
        meta: What a token or a back end attached to the connection, as JSON; None: nothing.
    """

    id: str
    user: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    emulated_headers: Mapping[str, str] = field(default_factory=dict)
    meta: bytes | None = None


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """Somebody without a token wants to connect.

    Attributes:
        name: What the client calls itself.
        version: Of the client.
        data: What it sent along, as JSON; None: nothing.
        channels: Server-side subscriptions it had and wants to recover.
    """

    name: str = ""
    version: str = ""
    data: bytes | None = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """A client wants something of a channel.

    Attributes:
        channel: The channel.
        template: The rule it falls under, for telemetry.
        data: What the client sent, as JSON; None: nothing.
        proxy_name: The back end in ``gateway.proxy.proxies``; empty: the usual one.
    """

    channel: str
    template: str
    data: bytes | None = None
    proxy_name: str = ""


@dataclass(frozen=True, slots=True)
class RPCRequest:
    """A client calls a method.

    Attributes:
        method: Its name; empty when the client gave none.
        data: The arguments, as JSON; None: nothing.
    """

    method: str
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class ConnectAnswer:
    """Who a connection belongs to.

    Attributes:
        user: Id of the user; empty for an anonymous one.
        expire_at: Unix seconds at which the connection expires; None: never.
        info: What others may know of the client, as JSON; None: nothing.
        data: For the client, as JSON; None: nothing.
        meta: For later requests to back ends, as JSON; None: nothing.
        subscriptions: Channels it is subscribed to from the start.
    """

    user: str
    expire_at: int | None = None
    info: bytes | None = None
    data: bytes | None = None
    meta: bytes | None = None
    subscriptions: tuple[ServerSubscription, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishAnswer:
    """A publication that a back end allows.

    Attributes:
        data: Publish this instead, as JSON; None: what the client sent.
        skip_history: Whether it is kept out of the history.
        tags: Text by name for subscribers.
        idempotency_key: Of publications with the same one only the first is published; empty: none.
    """

    data: bytes | None = None
    skip_history: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class RefreshAnswer:
    """Whether a connection or a subscription goes on.

    Attributes:
        expired: It does not.
        expire_at: Unix seconds at which it is asked about again; None: never.
        info: New info as JSON; None: as it was.
        meta: New meta of a connection as JSON; None: as it was.
    """

    expired: bool = False
    expire_at: int | None = None
    info: bytes | None = None
    meta: bytes | None = None


@dataclass(frozen=True, slots=True)
class RPCAnswer:
    """What a method returned, as JSON; None: nothing."""

    data: bytes | None = None


def encode_request(
    client: ProxyClient,
    fields: Mapping[str, Any],
    *,
    data: bytes | None = None,
    binary: bool = False,
    with_meta: bool = False,
) -> bytes:
    """Return the body of a request.

    Args:
        client: Whose event it is.
        fields: What belongs to the event; empty ones are left out.
        data: What the client sent, as JSON.
        binary: Send it as Base64.
        with_meta: Send the meta of the connection.
    """
    body: dict[str, Any] = {
        "client": client.id,
        "transport": "websocket",
        "protocol": "json",
        "encoding": "binary" if binary else "json",
        **{name: value for name, value in fields.items() if value},
    }
    if data is not None:
        if binary:
            body["b64data"] = b64encode(data).decode()
        else:
            body["data"] = Fragment(data)
    if with_meta and client.meta is not None:
        body["meta"] = Fragment(client.meta)
    return encode(body)


Answer = TypeVar("Answer")


def read_answer(body: bytes, read: Callable[[Mapping[str, Any]], Answer]) -> Answer | None:
    """Return what a body answers; None when it holds nothing.

    Args:
        body: As it came.
        read: Reads the fields of ``result``; raises ``AnswerError``.

    Raises:
        ProtocolError: The back end answers the client with an error.
        DisconnectError: The back end wants the connection to end.
        AnswerError: It is no answer.
    """
    try:
        fields = decode_exactly(body)
    except JSONError as error:
        raise AnswerError(f"the answer is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise AnswerError("the answer is not an object with result, error or disconnect")
    disconnect, refusal = _object(fields, "disconnect"), _object(fields, "error")
    if disconnect is not None:
        raise _disconnect(disconnect)
    if refusal is not None:
        raise _error(refusal)
    result = _object(fields, "result")
    return None if result is None else read(result)


def required(body: bytes, read: Callable[[Mapping[str, Any]], Answer]) -> Answer:
    """Return what a body answers, as ``read_answer``; that it holds nothing is an error.

    Any server answers an empty object to something: that must not allow anything.
    """
    answer = read_answer(body, read)
    if answer is None:
        raise AnswerError("the answer holds neither result nor error nor disconnect")
    return answer


def _error(fields: Mapping[str, Any]) -> ProtocolError:
    code = _integer(fields, "code")
    if code not in _ERROR_CODES:
        raise AnswerError(f"error.code is {code}, which is not one of 100 to 1999")
    return ProtocolError(code, _text(fields, "message"), temporary=_flag(fields, "temporary"))


def _disconnect(fields: Mapping[str, Any]) -> DisconnectError:
    code, reason = _integer(fields, "code"), _text(fields, "reason")
    if code not in _CLOSE_CODES:
        raise AnswerError(f"disconnect.code is {code}, which is not one of 3000 to 4999")
    if _reads_as_json(reason):
        reason = _UNFIT_REASON  # some clients would obey it
    cut = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    return DisconnectError(CloseReason(code, cut), "the back end wants it")


def _reads_as_json(reason: str) -> bool:
    try:
        decode(reason)
    except JSONError:
        return False
    return True


def read_connect(fields: Mapping[str, Any]) -> ConnectAnswer:
    """Read the result of a connect request; raises ``AnswerError``."""
    subscriptions = {channel: ServerSubscription(channel) for channel in _texts(fields, "channels")}
    for channel, options in (_object(fields, "subs") or {}).items():
        _check_encodable(channel, "subs")
        if not isinstance(options, dict):
            raise AnswerError("subs holds a channel whose options are not an object")
        _refuse(options, "cache_recover")
        subscriptions[channel] = ServerSubscription(
            channel,
            info=_payload(options, "info"),
            data=_payload(options, "data"),
            override=_override(options),
        )
    return ConnectAnswer(
        user=_text(fields, "user"),
        expire_at=_time(fields),
        info=_payload(fields, "info"),
        data=_payload(fields, "data"),
        meta=_payload(fields, "meta", encoded=False),
        subscriptions=tuple(subscriptions.values()),
    )


def read_subscribe(fields: Mapping[str, Any]) -> SubscriptionGrant:
    """Read the result of a subscribe request; raises ``AnswerError``."""
    expire_at = _time(fields)
    return SubscriptionGrant(
        info=_payload(fields, "info"),
        data=_payload(fields, "data"),
        expires_at=None if expire_at is None else float(expire_at),
        override=_override(fields),
    )


def _override(fields: Mapping[str, Any]) -> SubscriptionOverride:
    given: dict[str, bool] = {}
    for name, value in (_object(fields, "override") or {}).items():
        if value is None:
            continue
        if name not in _OVERRIDES:
            raise AnswerError(f"override.{name:.50} cannot be honoured here")
        if not isinstance(value, dict):
            raise AnswerError(f'override.{name} is not an object such as {{"value": true}}')
        given[name] = _flag(value, "value")
    return SubscriptionOverride(**given) if given else NO_OVERRIDE


def read_publish(fields: Mapping[str, Any]) -> PublishAnswer:
    """Read the result of a publish request; raises ``AnswerError``."""
    _refuse(fields, "version", "version_epoch", "delta")
    key = _text(fields, "idempotency_key")
    if len(key) > _MAX_KEY_LENGTH:
        raise AnswerError(f"idempotency_key is longer than {_MAX_KEY_LENGTH} characters")
    tags = _object(fields, "tags") or {}
    if not all(isinstance(value, str) for value in tags.values()):
        raise AnswerError("tags are not text by name")
    _check_encodable(tags, "tags")
    return PublishAnswer(
        data=_payload(fields, "data"),
        skip_history=_flag(fields, "skip_history"),
        tags=tags,
        idempotency_key=key,
    )


def read_refresh(fields: Mapping[str, Any]) -> RefreshAnswer:
    """Read the result of a refresh request; raises ``AnswerError``."""
    return RefreshAnswer(
        expired=_flag(fields, "expired"),
        expire_at=_time(fields),
        info=_payload(fields, "info"),
        meta=_payload(fields, "meta", encoded=False),
    )


def read_sub_refresh(fields: Mapping[str, Any]) -> RefreshAnswer:
    """Read the result of a sub_refresh request; raises ``AnswerError``."""
    return RefreshAnswer(
        expired=_flag(fields, "expired"),
        expire_at=_time(fields),
        info=_payload(fields, "info"),
    )


def read_rpc(fields: Mapping[str, Any]) -> RPCAnswer:
    """Read the result of an rpc request; raises ``AnswerError``."""
    return RPCAnswer(_payload(fields, "data"))


def _refuse(fields: Mapping[str, Any], *names: str) -> None:
    """Refuse what is there and cannot be done, rather than do half of what the back end wants."""
    given = [name for name in names if fields.get(name)]
    if given:
        raise AnswerError(f"{' and '.join(given)} in a result cannot be honoured here")


def _object(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise AnswerError(f"{name} is not an object")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AnswerError(f"{name} is not a string")
    _check_encodable(value, name)
    return value


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise AnswerError(f"{name} is not a list of strings")
    _check_encodable(value, name)
    return value


def _check_encodable(value: object, name: str) -> None:
    """Refuse text that JSON can spell and UTF-8 cannot."""
    try:
        encode(value)
    except JSONError as error:
        raise AnswerError(f"{name} cannot be passed on: {error}") from error


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise AnswerError(f"{name} is neither true nor false")
    return value


def _integer(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise AnswerError(f"{name} is not a whole number of 64 bits")
    return value


def _time(fields: Mapping[str, Any]) -> int | None:
    seconds = _integer(fields, "expire_at")
    if seconds > _MAX_TIME:
        raise AnswerError("expire_at is not a time in Unix seconds")
    return seconds or None


def _payload(fields: Mapping[str, Any], name: str, *, encoded: bool = True) -> bytes | None:
    """Return a value as compact JSON; its Base64 twin, if there is one, has precedence."""
    text = _text(fields, f"b64{name}") if encoded else ""
    value = fields.get(name)
    try:
        if text:
            value = decode_exactly(b64decode(text, validate=True))
        elif value is None:
            return None
        return encode(value)  # anew: a line break between tokens would end the reply it is put in
    except (JSONError, binascii.Error) as error:
        what = f"b64{name}" if text else name
        raise AnswerError(f"{what} is no JSON that can be passed on: {error}") from error
