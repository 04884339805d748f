"""The Centrifuge client protocol as bytes: commands in, replies and pushes out. No I/O.

Source: Centrifuge client protocol, JSON, version 2. A frame from a client holds one or more
commands, a frame to a client one or more replies, joined by newlines and never empty. Ours is
``meta`` of a command, with ``traceparent`` and ``tracestate``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from service.codec import Fragment, JSONError, decode_exactly, encode
from service.gateway.codes import BAD_REQUEST, DisconnectError, ProtocolError, bad_request


class Method(StrEnum):
    """The commands of the protocol that a server may receive."""

    CONNECT = "connect"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    PUBLISH = "publish"
    PRESENCE = "presence"
    PRESENCE_STATS = "presence_stats"
    HISTORY = "history"
    RPC = "rpc"
    SEND = "send"
    REFRESH = "refresh"
    SUB_REFRESH = "sub_refresh"


_METHODS: Final = {method.value: method for method in Method}

MAX_ENVELOPE_BYTES: Final = 4096
"""What a frame may hold around the data and tags of one publication."""
PING: Final = b"{}"
"""A server's ping: the empty reply."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a client.

    Attributes:
        id: Number the reply must carry; 0 when none is expected.
        method: What is asked; None for a pong, which is the empty command.
        request: The fields of the request, as they came.
        traceparent: The trace it belongs to, as the client says; not parsed.
        tracestate: What goes with that.
    """

    id: int
    method: Method | None
    request: Mapping[str, Any]
    traceparent: str | None = None
    tracestate: str = ""


def decode_frame(frame: bytes) -> list[Command]:
    """Return the commands of a frame, at least one.

    Raises:
        DisconnectError: The frame breaks the protocol (3501).
    """
    commands = [_decode_command(line) for line in frame.split(b"\n") if line.strip()]
    if not commands:
        raise DisconnectError(BAD_REQUEST, "a frame without a command")
    return commands


def _decode_command(line: bytes) -> Command:
    try:
        fields = decode_exactly(line)
    except JSONError as error:
        raise DisconnectError(BAD_REQUEST, f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise DisconnectError(BAD_REQUEST, "a command that is not an object")
    if not fields:
        return Command(0, None, {})
    number = fields.pop("id", 0)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**32:
        raise DisconnectError(BAD_REQUEST, "an id that is not an unsigned 32-bit number")
    meta = fields.pop("meta", None)
    if len(fields) != 1:
        raise DisconnectError(BAD_REQUEST, f"a command with {len(fields)} requests")
    name, request = fields.popitem()
    method = _METHODS.get(name)
    if method is None:
        raise DisconnectError(BAD_REQUEST, f"the unknown method {name[:32]!r}")
    if not isinstance(request, dict):
        raise DisconnectError(BAD_REQUEST, f"the request of {name} is not an object")
    if number == 0 and method is not Method.SEND:
        raise DisconnectError(BAD_REQUEST, f"{name} without an id")
    if meta is None:
        return Command(number, method, request)
    return Command(number, method, request, *_trace_of(meta))


def _trace_of(meta: object) -> tuple[str | None, str]:
    if not isinstance(meta, dict):
        raise DisconnectError(BAD_REQUEST, "the meta of a command is not an object")
    return text_field(meta, "traceparent") or None, text_field(meta, "tracestate")


def text_field(request: Mapping[str, Any], name: str, *, max_length: int = 1 << 20) -> str:
    """Return a text of a request, empty when it is absent or null.

    Raises:
        DisconnectError: It is no text, or too long (3501).
    """
    value = request.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DisconnectError(BAD_REQUEST, f"{name} is not a string")
    if len(value) > max_length:
        raise DisconnectError(BAD_REQUEST, f"{name} is longer than {max_length} characters")
    return value


def number_field(request: Mapping[str, Any], name: str, *, minimum: int = 0) -> int:
    """Return a whole number of a request, 0 when it is absent or null.

    Raises:
        DisconnectError: It is none, or out of range (3501).
    """
    value = request.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < 2**63:
        raise DisconnectError(BAD_REQUEST, f"{name} is not a whole number from {minimum}")
    return value


def flag_field(request: Mapping[str, Any], name: str) -> bool:
    """Return a yes or no of a request, no when it is absent or null.

    Raises:
        DisconnectError: It is neither (3501).
    """
    value = request.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise DisconnectError(BAD_REQUEST, f"{name} is neither true nor false")
    return value


def encode_result(number: int, method: Method, result: Mapping[str, Any]) -> bytes:
    """Return the reply to a command that succeeded."""
    return encode({"id": number, method.value: result})


def encode_error(number: int, error: ProtocolError) -> bytes:
    """Return the reply to a command that failed."""
    fields: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.temporary:
        fields["temporary"] = True
    return encode({"id": number, "error": fields})


def encode_data(data: object, *, max_bytes: int) -> bytes:
    """Return the data of a publication as it will be embedded.

    Raises:
        ProtocolError: It is larger, or nested deeper, than can be passed on (107).
    """
    try:
        encoded = encode(data)
    except JSONError as error:
        raise bad_request("data is nested too deep") from error
    if len(encoded) > max_bytes:
        raise bad_request(f"data is larger than the {max_bytes} bytes that fit a client's queue")
    return encoded


def encode_publication(
    channel: str,
    data: bytes,
    *,
    info: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> bytes:
    """Return the push of a publication that is not kept.

    Args:
        channel: Where it was published.
        data: JSON, embedded as it is.
        info: The client that published it; None when a back end did.
        tags: Text by name, passed on to subscribers.
    """
    publication = _publication(data, info, tags)
    return encode({"push": {"channel": channel, "pub": publication}})


def encode_body(
    data: bytes, *, info: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
) -> bytes:
    """Return a publication alone, as a broker takes it; see ``encode_publication``."""
    return encode(_publication(data, info, tags))


def encode_push(channel: str, body: bytes) -> bytes:
    """Return the push of a publication that a broker gave its place."""
    return encode({"push": {"channel": channel, "pub": Fragment(body)}})


def _publication(
    data: bytes, info: Mapping[str, Any] | None, tags: Mapping[str, str] | None
) -> dict[str, Any]:
    publication: dict[str, Any] = {"data": Fragment(data)}
    if info is not None:
        publication["info"] = info
    if tags:
        publication["tags"] = tags
    return publication


def encode_event(channel: str, kind: str, info: bytes) -> bytes:
    """Return the push that tells of a client that came (``join``) or went (``leave``)."""
    return encode({"push": {"channel": channel, kind: {"info": Fragment(info)}}})


def encode_subscribe(channel: str, result: Mapping[str, Any]) -> bytes:
    """Return the push that tells of a subscription a back end made; see ``SubscribeResult``."""
    return encode({"push": {"channel": channel, "subscribe": result}})


def encode_unsubscribe(channel: str, code: int, reason: str) -> bytes:
    """Return the push that ends a subscription from this side."""
    return encode({"push": {"channel": channel, "unsubscribe": {"code": code, "reason": reason}}})


def join(replies: Iterable[bytes]) -> bytes:
    """Return the payload of a frame that carries these replies."""
    return b"\n".join(replies)
