"""What tokens say: the claims of connection and subscription tokens, read and judged. No I/O.

Whether a token may be believed is decided in ``service.gateway.authentication``.
Source: Centrifugo documentation, "Client JWT authentication" and "Channel JWT authorization".
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from service.codec import JSONError, decode_exactly, encode
from service.gateway.token_errors import TokenExpiredError, TokenRefusedError

MAX_LIFETIME_S: Final = 365 * 24 * 3600
"""Tokens that are good for longer count as good for so long: clients keep the time in 32 bits."""


@dataclass(frozen=True, slots=True)
class SubscriptionOverride:
    """Options of a channel that a token sets anew for one subscription; None: as configured.

    Attributes:
        presence: The subscriber is listed in the channel's presence.
        join_leave: Its coming and going is told.
        force_recovery: It may recover, asked for or not.
        force_positioning: Its position is watched, asked for or not.
        force_push_join_leave: It is told of others' coming and going, asked for or not.
    """

    presence: bool | None = None
    join_leave: bool | None = None
    force_recovery: bool | None = None
    force_positioning: bool | None = None
    force_push_join_leave: bool | None = None


NO_OVERRIDE: Final = SubscriptionOverride()
_OVERRIDES: Final = tuple(field.name for field in fields(SubscriptionOverride))


@dataclass(frozen=True, slots=True)
class ServerSubscription:
    """A channel that a connection is subscribed to without asking.

    Attributes:
        channel: Its name, not checked yet.
        info: What others in the channel may know of the client, as JSON; None: nothing.
        data: What the client is given with the subscription, as JSON; None: nothing.
        override: Options of this subscription.
    """

    channel: str
    info: bytes | None = None
    data: bytes | None = None
    override: SubscriptionOverride = NO_OVERRIDE


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection belongs to.

    Attributes:
        user: Id of the user; empty for an anonymous one.
        info: What subscribers may know of the client, as JSON; None when nothing was given.
        expires_at: Unix seconds at which the connection must have been refreshed; None: never.
        meta: What only back ends get to know, as JSON; None when nothing was given.
        subscriptions: Channels it is subscribed to from the start.
    """

    user: str
    info: bytes | None = None
    expires_at: float | None = None
    meta: bytes | None = None
    subscriptions: tuple[ServerSubscription, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscriptionGrant:
    """What a subscription token allows.

    Attributes:
        info: What others in the channel may know of the client, as JSON; None: nothing.
        data: What the client is given with the subscription, as JSON; None: nothing.
        expires_at: Unix seconds at which it must have been refreshed; None: never.
        override: Options of this subscription.
    """

    info: bytes | None = None
    data: bytes | None = None
    expires_at: float | None = None
    override: SubscriptionOverride = NO_OVERRIDE


@dataclass(frozen=True, slots=True)
class SubscriptionClaims:
    """A subscription token as it is, not yet held against who uses it.

    Attributes:
        user: Whom it was given to.
        channel: The channel it is for.
        client: The one connection it is for; empty: any of the user's.
        grant: What it allows.
    """

    user: str
    channel: str
    client: str
    grant: SubscriptionGrant


class Claims:
    """The claims of a token whose signature is good, as the values they must be.

    Args:
        payload: JSON of the token.

    Raises:
        TokenRefusedError: Not an object of JSON; by the methods: a claim is not what it must be.
    """

    def __init__(self, payload: bytes) -> None:
        try:
            claims = decode_exactly(payload)
        except JSONError as error:
            raise TokenRefusedError(f"the claims are not JSON: {error}") from error
        self._claims = _object(claims, "the claims")

    def check_audience(self, audience: str, issuer: str) -> None:
        """Refuse what is meant for, or comes from, somebody else; empty: not checked."""
        meant_for = self._claims.get("aud")
        if audience and not (
            meant_for == audience or (isinstance(meant_for, list) and audience in meant_for)
        ):
            raise TokenRefusedError(f"the claim aud is not {audience!r}")
        if issuer and self._claims.get("iss") != issuer:
            raise TokenRefusedError(f"the claim iss is not {issuer!r}")

    def connection(self, now: float) -> Identity:
        """Return who the token speaks for.

        Args:
            now: Unix time in seconds.

        Raises:
            TokenExpiredError: Not now.
        """
        if self._claims.get("channel"):
            raise TokenRefusedError("a subscription token in place of a connection's")
        return Identity(
            user=_text(self._claims, "sub"),
            info=_json(self._claims, "info"),
            expires_at=self._times(now),
            meta=_json(self._claims, "meta"),
            subscriptions=self._subscriptions(),
        )

    def subscription(self, now: float) -> SubscriptionClaims:
        """Return what the token allows, and whom.

        Args:
            now: Unix time in seconds.

        Raises:
            TokenExpiredError: Not now.
        """
        expires_at = self._times(now)
        channel = _text(self._claims, "channel")
        if not channel:
            raise TokenRefusedError("a subscription token without the claim channel")
        return SubscriptionClaims(
            user=_text(self._claims, "sub"),
            channel=channel,
            client=_text(self._claims, "client"),
            grant=SubscriptionGrant(
                info=_json(self._claims, "info"),
                data=_json(self._claims, "data"),
                expires_at=expires_at,
                override=_override(self._claims),
            ),
        )

    def _times(self, now: float) -> float | None:
        """Judge the times and return when what the token gives ends."""
        _time(self._claims, "iat")
        _text(self._claims, "jti")
        not_before, expires = _time(self._claims, "nbf"), _time(self._claims, "exp")
        if not_before is not None and not_before > now:
            raise TokenExpiredError("the token is not valid yet")
        if expires is not None and expires <= now:
            raise TokenExpiredError("the token has expired")
        ends = _time(self._claims, "expire_at")
        if ends is None:
            ends = expires
        return min(ends, now + MAX_LIFETIME_S) if ends is not None and ends > 0 else None

    def _subscriptions(self) -> tuple[ServerSubscription, ...]:
        options = _object(self._claims.get("subs") or {}, "the claim subs")
        if options:  # then the claim channels says nothing, as in Centrifugo
            return tuple(_subscription(channel, fields) for channel, fields in options.items())
        channels = self._claims.get("channels") or []
        if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
            raise TokenRefusedError("the claim channels is not a list of strings")
        return tuple(map(ServerSubscription, dict.fromkeys(channels)))


def _subscription(channel: str, value: object) -> ServerSubscription:
    options = _object(value or {}, f"the claim subs for {channel!r}")
    return ServerSubscription(
        channel, _json(options, "info"), _json(options, "data"), _override(options)
    )


def _override(claims: Mapping[str, Any]) -> SubscriptionOverride:
    given = _object(claims.get("override") or {}, "the claim override")
    values: dict[str, bool] = {}
    for name in _OVERRIDES:
        if given.get(name) is not None:
            value = _object(given[name], f"the override {name}").get("value", False)
            if not isinstance(value, bool):
                raise TokenRefusedError(f"the override {name} is not true or false")
            values[name] = value
    return SubscriptionOverride(**values) if values else NO_OVERRIDE


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TokenRefusedError(f"{what:.100}: not an object")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TokenRefusedError(f"the claim {name} is not a string")
    return value


def _json(claims: Mapping[str, Any], name: str) -> bytes | None:
    """Return a claim as the JSON that will be embedded; ``b64`` before its name: in base64."""
    encoded = _text(claims, f"b64{name}")
    value = claims.get(name)
    try:
        if encoded:
            value = decode_exactly(base64.b64decode(encoded, validate=True))
        return encode(value) if value is not None else None
    except binascii.Error as error:
        raise TokenRefusedError(f"the claim b64{name} is not base64") from error
    except ValueError as error:  # JSONError, and characters that base64 has not
        raise TokenRefusedError(f"the claim {name} cannot be passed on: {error}") from error


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    raise TokenRefusedError(f"the claim {name} is not a time")
