"""Connection tokens: who a client is, as a JWT signed by the application's back end.

Source: Centrifugo documentation, "Client JWT authentication"; HMAC algorithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import jwt

from alerts.clock import Clock
from service.codec import JSONError, encode
from service.config.settings import TokenSettings
from service.gateway.codes import (
    INVALID_TOKEN,
    DisconnectError,
    token_expired,
)

_ALGORITHMS: Final = ["HS256", "HS384", "HS512"]
MAX_LIFETIME_S: Final = 365 * 24 * 3600
"""Tokens that are good for longer count as good for so long: clients keep the time in 32 bits."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection belongs to.

    Attributes:
        user: Id of the user; empty for an anonymous one.
        info: What subscribers may know of the client, as JSON; None when nothing was given.
        expires_at: Unix seconds at which the connection must have been refreshed; None: never.
        meta: What only back ends get to know, as JSON; None when nothing was given.
    """

    user: str
    info: bytes | None = None
    expires_at: float | None = None
    meta: bytes | None = None


class ConnectionTokens:
    """Verifies and issues connection tokens."""

    def __init__(self, settings: TokenSettings, *, clock: Clock) -> None:
        """Use a secret and the required claims."""
        self._settings = settings
        self._clock = clock
        secret = settings.hmac_secret
        self._secret = secret.get_secret_value() if secret is not None else ""

    def verify(self, token: str) -> Identity:
        """Return who a token speaks for.

        Raises:
            ProtocolError: The token was good and has expired (109).
            DisconnectError: It is no token of ours (3500).
        """
        if not self._secret:
            raise DisconnectError(INVALID_TOKEN, "a token came, but no token secret is configured")
        settings = self._settings
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=_ALGORITHMS,
                audience=settings.audience or None,
                issuer=settings.issuer or None,
                # The time claims are checked below, against our own clock.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": bool(settings.audience),
                },
            )
        except jwt.InvalidTokenError as error:
            raise DisconnectError(INVALID_TOKEN, f"token refused: {error}") from error
        return self._identity(claims)

    def expiry(self, identity: Identity) -> dict[str, Any]:
        """Return what a client must know to refresh its token in time; empty when it need not."""
        if identity.expires_at is None:
            return {}
        return {"expires": True, "ttl": max(1, round(identity.expires_at - self._clock.time()))}

    def issue(self, user: str, *, ttl_s: float | None) -> str:
        """Return a token for a user, for a client that has no back end yet.

        Raises:
            ValueError: No token secret is configured.
        """
        if not self._secret:
            raise ValueError("gateway.token.hmac_secret is not set, so no token can be signed")
        now = int(self._clock.time())
        claims: dict[str, Any] = {"sub": user, "iat": now}
        if ttl_s is not None:
            claims["exp"] = now + int(ttl_s)
        if self._settings.audience:
            claims["aud"] = self._settings.audience
        if self._settings.issuer:
            claims["iss"] = self._settings.issuer
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def _identity(self, claims: dict[str, Any]) -> Identity:
        if "channel" in claims:
            raise DisconnectError(INVALID_TOKEN, "a subscription token in place of a connection's")
        user, info = claims.get("sub", ""), claims.get("info")
        if not isinstance(user, str):
            raise DisconnectError(INVALID_TOKEN, "the claim sub is not a string")
        try:
            encode(user)
            shown = encode(info) if info is not None else None
        except JSONError as error:
            detail = f"the claims sub and info cannot be shown to others: {error}"
            raise DisconnectError(INVALID_TOKEN, detail) from error
        now = self._clock.time()
        not_before, expires_at = _time(claims, "nbf"), _time(claims, "exp")
        if not_before is not None and not_before > now:
            raise DisconnectError(INVALID_TOKEN, "the token is not valid yet")
        if expires_at is None:
            return Identity(user, shown)
        if expires_at <= now:
            raise token_expired()
        return Identity(user, shown, min(expires_at, now + MAX_LIFETIME_S))


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, bool) and isinstance(value, int | float):
            seconds = float(value)
            if math.isfinite(seconds):
                return seconds
    except OverflowError:
        pass  # an integer of hundreds of digits
    raise DisconnectError(INVALID_TOKEN, f"the claim {name} is not a time")
