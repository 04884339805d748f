"""Connection tokens: who a client is, as a JWT signed by the application's back end.

Source: Centrifugo documentation, "Client JWT authentication"; HMAC algorithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import jwt

from alerts.clock import Clock
from service.config.settings import TokenSettings
from service.gateway.codes import (
    INVALID_TOKEN,
    DisconnectError,
    token_expired,
)

_ALGORITHMS: Final = ["HS256", "HS384", "HS512"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection belongs to.

    Attributes:
        user: Id of the user; empty for an anonymous one.
        info: What subscribers may know of the client; None when nothing was given.
        expires_at: Unix seconds at which the connection must have been refreshed; None: never.
    """

    user: str
    info: Any = None
    expires_at: float | None = None


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
        user = claims.get("sub", "")
        expires_at = claims.get("exp")
        if not isinstance(user, str):
            raise DisconnectError(INVALID_TOKEN, "the claim sub is not a string")
        if expires_at is not None and (
            isinstance(expires_at, bool) or not isinstance(expires_at, int | float)
        ):
            raise DisconnectError(INVALID_TOKEN, "the claim exp is not a number")
        not_before = claims.get("nbf", 0)
        if not isinstance(not_before, int | float) or not_before > self._clock.time():
            raise DisconnectError(INVALID_TOKEN, "the token is not valid yet")
        if expires_at is not None and expires_at <= self._clock.time():
            raise token_expired()
        return Identity(user, claims.get("info"), expires_at)
