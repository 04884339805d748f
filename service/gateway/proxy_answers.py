"""What back ends answer, as bytes and as values. No I/O.

Source: Centrifugo documentation, "Proxy events to the backend", HTTP protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from service.codec import JSONError, decode, decode_exactly
from service.gateway.codes import DisconnectError, ProtocolError
from service.gateway.proxy_fields import (
    AnswerError,
    check_encodable,
    flag_field,
    integer_field,
    object_field,
    payload_field,
    refuse,
    text_field,
    texts_field,
    time_field,
)
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
_MAX_KEY_LENGTH: Final = 256
_UNFIT_REASON: Final = "disconnected by the back end"
_ERROR_CODES: Final = range(100, 2000)
_CLOSE_CODES: Final = range(3000, 5000)


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
    disconnect, refusal = object_field(fields, "disconnect"), object_field(fields, "error")
    if disconnect is not None:
        raise _disconnect(disconnect)
    if refusal is not None:
        raise _error(refusal)
    result = object_field(fields, "result")
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
    code = integer_field(fields, "code")
    if code not in _ERROR_CODES:
        raise AnswerError(f"error.code is {code}, which is not one of 100 to 1999")
    return ProtocolError(
        code, text_field(fields, "message"), temporary=flag_field(fields, "temporary")
    )


def _disconnect(fields: Mapping[str, Any]) -> DisconnectError:
    code, reason = integer_field(fields, "code"), text_field(fields, "reason")
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
    subscriptions = {
        channel: ServerSubscription(channel) for channel in texts_field(fields, "channels")
    }
    for channel, options in (object_field(fields, "subs") or {}).items():
        check_encodable(channel, "subs")
        if not isinstance(options, dict):
            raise AnswerError("subs holds a channel whose options are not an object")
        refuse(options, "cache_recover")
        subscriptions[channel] = ServerSubscription(
            channel,
            info=payload_field(options, "info"),
            data=payload_field(options, "data"),
            override=_override(options),
        )
    return ConnectAnswer(
        user=text_field(fields, "user"),
        expire_at=time_field(fields),
        info=payload_field(fields, "info"),
        data=payload_field(fields, "data"),
        meta=payload_field(fields, "meta", encoded=False),
        subscriptions=tuple(subscriptions.values()),
    )


def read_subscribe(fields: Mapping[str, Any]) -> SubscriptionGrant:
    """Read the result of a subscribe request; raises ``AnswerError``."""
    expire_at = time_field(fields)
    return SubscriptionGrant(
        info=payload_field(fields, "info"),
        data=payload_field(fields, "data"),
        expires_at=None if expire_at is None else float(expire_at),
        override=_override(fields),
    )


def _override(fields: Mapping[str, Any]) -> SubscriptionOverride:
    given: dict[str, bool] = {}
    for name, value in (object_field(fields, "override") or {}).items():
        if value is None:
            continue
        if name not in _OVERRIDES:
            raise AnswerError(f"override.{name:.50} cannot be honoured here")
        if not isinstance(value, dict):
            raise AnswerError(f'override.{name} is not an object such as {{"value": true}}')
        given[name] = flag_field(value, "value")
    return SubscriptionOverride(**given) if given else NO_OVERRIDE


def read_publish(fields: Mapping[str, Any]) -> PublishAnswer:
    """Read the result of a publish request; raises ``AnswerError``."""
    refuse(fields, "version", "version_epoch", "delta")
    key = text_field(fields, "idempotency_key")
    if len(key) > _MAX_KEY_LENGTH:
        raise AnswerError(f"idempotency_key is longer than {_MAX_KEY_LENGTH} characters")
    tags = object_field(fields, "tags") or {}
    if not all(isinstance(value, str) for value in tags.values()):
        raise AnswerError("tags are not text by name")
    check_encodable(tags, "tags")
    return PublishAnswer(
        data=payload_field(fields, "data"),
        skip_history=flag_field(fields, "skip_history"),
        tags=tags,
        idempotency_key=key,
    )


def read_refresh(fields: Mapping[str, Any]) -> RefreshAnswer:
    """Read the result of a refresh request; raises ``AnswerError``."""
    return RefreshAnswer(
        expired=flag_field(fields, "expired"),
        expire_at=time_field(fields),
        info=payload_field(fields, "info"),
        meta=payload_field(fields, "meta", encoded=False),
    )


def read_sub_refresh(fields: Mapping[str, Any]) -> RefreshAnswer:
    """Read the result of a sub_refresh request; raises ``AnswerError``."""
    return RefreshAnswer(
        expired=flag_field(fields, "expired"),
        expire_at=time_field(fields),
        info=payload_field(fields, "info"),
    )


def read_rpc(fields: Mapping[str, Any]) -> RPCAnswer:
    """Read the result of an rpc request; raises ``AnswerError``."""
    return RPCAnswer(payload_field(fields, "data"))
