"""What back ends are asked, as values and as bytes. No I/O.

Source: Centrifugo documentation, "Proxy events to the backend", HTTP protocol.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from service.codec import Fragment, encode


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
