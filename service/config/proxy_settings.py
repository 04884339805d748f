"""The settings of ``gateway.proxy``: back ends, what they are told, and when they are left alone.

The names follow Centrifugo's configuration of its proxies where it has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Self

from pydantic import AnyHttpUrl, Field, model_validator

from service.config.section import Section, repeated
from service.config.types import (
    Count,
    ForwardedHeader,
    PositiveDuration,
    Secret,
    Size,
    UpstreamName,
    contradiction,
)


class StatusErrorSettings(Section):
    """An error that clients are answered with."""

    code: Annotated[int, Field(ge=400, le=1999, strict=True)]
    """Code of the error, 400 to 1999."""
    message: str = ""
    """Words of the error."""
    temporary: bool = False
    """Whether clients should try again."""


class StatusDisconnectSettings(Section):
    """A code that connections are ended with."""

    code: Annotated[int, Field(ge=4000, le=4999, strict=True)]
    """4000 to 4499: clients come back; 4500 to 4999: they stay away."""
    reason: Annotated[str, Field(max_length=32, pattern=r"^[ -z|~]*$")] = ""
    """Up to 32 ASCII characters, no braces."""


class StatusTransformSettings(Section):
    """What an HTTP status of a back end means to clients."""

    status_code: Annotated[int, Field(ge=201, le=599, strict=True)]
    """The status; 200 is always an answer."""
    to_error: StatusErrorSettings | None = None
    """The error that the command is answered with."""
    to_disconnect: StatusDisconnectSettings | None = None
    """How the connection is ended."""

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if (self.to_error is None) == (self.to_disconnect is None):
            raise contradiction(
                f"the status {self.status_code} needs either to_error or to_disconnect",
                ("to_error",),
                ("to_disconnect",),
                ("status_code",),
            )
        return self


class CircuitSettings(Section):
    """When a back end that fails is left alone."""

    failure_threshold: Count = 5
    """Failures in a row after which it is not asked any more."""
    open_for: PositiveDuration = 5.0
    """How long until one request tries whether it is back."""


class UpstreamSettings(Section):
    """A back end that speaks the HTTP format of Centrifugo's proxy."""

    endpoint: AnyHttpUrl | None = None
    """URL that requests are posted to; unset: there is no such back end."""
    timeout: PositiveDuration = 1.0
    """A whole request, repetitions included; shorter than gateway.pong_timeout."""
    http_headers: tuple[ForwardedHeader, ...] = ()
    """Headers of the client's WebSocket request to pass on, such as Cookie."""
    emulated_headers: tuple[ForwardedHeader, ...] = ()
    """Headers from the client's connect command to pass on; clients choose their values freely."""
    static_headers: dict[ForwardedHeader, Secret] = {}  # noqa: RUF012 - pydantic copies it
    """Headers of every request."""
    include_connection_meta: bool = False
    """Send along the meta that a token or the connect back end gave the connection."""
    binary_encoding: bool = False
    """Send data as Base64 text in b64data."""
    status_to_code_transforms: tuple[StatusTransformSettings, ...] = ()
    """Statuses that are not faults but answers."""
    max_in_flight: Count = 100
    """Requests in progress at most; past it clients are told to try again (error 111)."""
    max_answer_size: Size = 1024 * 1024
    """Largest body of an answer."""
    circuit: CircuitSettings = CircuitSettings()
    """When it is left alone."""

    @model_validator(mode="after")
    def _headers_from_one_place(self) -> Self:
        passed_on = {name.lower() for name in (*self.http_headers, *self.emulated_headers)}
        twice = next((name for name in self.static_headers if name.lower() in passed_on), None)
        if twice is not None:
            raise contradiction(
                f"a client could replace the static header {twice} by one of its own: take it out "
                "of http_headers and emulated_headers",
                ("static_headers", twice),
            )
        given = next((name for name in self.static_headers if name.lower() == "authorization"), "")
        url = self.endpoint
        if (given or "authorization" in passed_on) and url and (url.username or url.password):
            raise contradiction(
                "the credentials in the URL are sent as the header Authorization as well: "
                "remove the one or the other",
                ("endpoint",),
            )
        return self

    @model_validator(mode="after")
    def _statuses_once(self) -> Self:
        twice = repeated([str(each.status_code) for each in self.status_to_code_transforms])
        if twice is not None:
            raise contradiction(
                f"the status {self.status_to_code_transforms[twice].status_code} stands there "
                "twice; give it one meaning",
                ("status_to_code_transforms", twice, "status_code"),
            )
        return self


class NamedUpstreamSettings(UpstreamSettings):
    """A back end that namespaces refer to."""

    name: UpstreamName
    """How it is referred to."""
    endpoint: AnyHttpUrl  # type: ignore[mutable-override]  # frozen: nobody can unset it
    """URL that requests are posted to."""


class RPCNamespaceSettings(Section):
    """Where the methods `name:...` are executed."""

    name: UpstreamName
    """The part of the method's name before the colon."""
    proxy_name: str = ""
    """Name of a back end in gateway.proxy.proxies; empty: gateway.proxy.rpc."""


class ProxySettings(Section):
    """Back ends that what clients ask is forwarded to."""

    connect: UpstreamSettings = UpstreamSettings()
    """Says who clients are that connect without a token."""
    refresh: UpstreamSettings = UpstreamSettings()
    """Says whether connections go on whose time is over; clients need not refresh then."""
    subscribe: UpstreamSettings = UpstreamSettings()
    """Decides on subscriptions to channels with subscribe_proxy_enabled."""
    publish: UpstreamSettings = UpstreamSettings()
    """Decides on what clients publish to channels with publish_proxy_enabled."""
    sub_refresh: UpstreamSettings = UpstreamSettings()
    """Says whether subscriptions go on whose time is over, in channels with
    sub_refresh_proxy_enabled; clients need not refresh them then."""
    rpc: UpstreamSettings = UpstreamSettings()
    """Executes the methods that clients call."""
    proxies: tuple[NamedUpstreamSettings, ...] = ()
    """More back ends, for namespaces to refer to."""
    rpc_namespaces: tuple[RPCNamespaceSettings, ...] = ()
    """Where the methods `name:...` are executed; of other namespaces there are no methods."""

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        for key in ("proxies", "rpc_namespaces"):
            names = [each.name for each in getattr(self, key)]
            twice = repeated(names)
            if twice is not None:
                raise contradiction(
                    f"the name {names[twice]} stands there twice; it would not be known which is "
                    "meant",
                    (key, twice, "name"),
                )
        return self

    @model_validator(mode="after")
    def _namespaces_lead_somewhere(self) -> Self:
        known = {each.name for each in self.proxies}
        for index, namespace in enumerate(self.rpc_namespaces):
            if namespace.proxy_name and namespace.proxy_name not in known:
                raise contradiction(
                    self.unknown(namespace.proxy_name), ("rpc_namespaces", index, "proxy_name")
                )
            if not namespace.proxy_name and self.rpc.endpoint is None:
                raise contradiction(
                    f"the methods {namespace.name}:... lead nowhere: set proxy_name, or "
                    "gateway.proxy.rpc.endpoint",
                    ("rpc_namespaces", index, "name"),
                )
        return self

    def usual(self) -> dict[str, UpstreamSettings]:
        """Return the back ends there are for each kind of event."""
        named = {
            "connect": self.connect,
            "refresh": self.refresh,
            "subscribe": self.subscribe,
            "publish": self.publish,
            "sub_refresh": self.sub_refresh,
            "rpc": self.rpc,
        }
        return {event: each for event, each in named.items() if each.endpoint is not None}

    def unknown(self, name: str) -> str:
        """Return the words for a name that is not among the back ends."""
        known = sorted(each.name for each in self.proxies)
        return f"there is no {name} in gateway.proxy.proxies; there {_listed(known)}"

    def upstreams(self) -> Iterator[tuple[tuple[str | int, ...], UpstreamSettings]]:
        """Return every back end with its path from here."""
        for event, upstream in self.usual().items():
            yield (event,), upstream
        for index, each in enumerate(self.proxies):
            yield ("proxies", index), each


def _listed(names: Sequence[str]) -> str:
    return f"are only {', '.join(names)}" if names else "are none"
