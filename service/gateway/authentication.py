"""Decides on tokens: whether to believe one, and what the protocol answers if not.

Source: Centrifugo documentation, "Client JWT authentication"; the outcomes are Centrifugo's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self

import jwt

from alerts.clock import Clock
from service.config.token_settings import TokenSettings
from service.gateway.codes import (
    CONNECTION_EXPIRED,
    INVALID_TOKEN,
    DisconnectError,
    expired,
    internal_error,
    permission_denied,
    token_expired,
)
from service.gateway.jwks import KeySet, KeySetStats
from service.gateway.token_errors import (
    KeysUnavailableError,
    TokenExpiredError,
    TokenKeyError,
    TokenRefusedError,
)
from service.gateway.token_keys import (
    ALGORITHMS,
    HMAC_ALGORITHMS,
    KeyKind,
    VerificationKey,
    hmac_key,
    public_key,
)
from service.gateway.tokens import Claims, Identity, SubscriptionClaims, SubscriptionGrant
from service.pools.http import HTTPConnectionPool

_LOG: Final = logging.getLogger(__name__)

MAX_TOKEN_LENGTH: Final = 64 * 1024
"""Characters of a token; a frame of the default size cannot hold more anyway."""
MAX_KEY_ID_LENGTH: Final = 256


class Expiring(Protocol):
    """What ends unless it is refreshed."""

    @property
    def expires_at(self) -> float | None:
        """Unix seconds; None: never."""


def static_keys(settings: TokenSettings) -> dict[str, Callable[[], VerificationKey]]:
    """Return how to read each key that stands in the settings, by the name of the setting."""
    keys: dict[str, Callable[[], VerificationKey]] = {}
    if settings.hmac_secret is not None:
        keys["hmac_secret"] = partial(hmac_key, settings.hmac_secret.get_secret_value())
    for name, pem, kind in (
        ("rsa_public_key", settings.rsa_public_key, KeyKind.RSA),
        ("ecdsa_public_key", settings.ecdsa_public_key, KeyKind.ECDSA),
        ("eddsa_public_key", settings.eddsa_public_key, KeyKind.EDDSA),
    ):
        if pem:
            keys[name] = partial(public_key, pem, kind)
    return keys


def static_key_problems(settings: TokenSettings) -> Iterator[tuple[str, str]]:
    """Yield the name of each key that cannot be used, and why."""
    for name, read in static_keys(settings).items():
        try:
            read()
        except TokenKeyError as error:
            yield name, str(error)


class TokenVerifier:
    """Checks signatures, audience and issuer by one section of the settings.

    Args:
        settings: Keys and required claims.
        clock: Tells how old fetched keys are.
        pool: Fetches them; None: whoever has no pool can have no ``jwks_url``.
        stats: Where fetches are counted.

    Raises:
        TokenKeyError: A key in the settings cannot be used.
    """

    def __init__(
        self,
        settings: TokenSettings,
        *,
        clock: Clock,
        pool: HTTPConnectionPool | None,
        stats: KeySetStats,
    ) -> None:
        self.settings: Final = settings
        self._keys = [read() for read in static_keys(settings).values()]
        self._signatures = jwt.PyJWS(algorithms=sorted(ALGORITHMS))
        self.key_set: KeySet | None = None
        if settings.jwks_url is not None:
            if pool is None:
                raise ValueError("keys are to be fetched, and there is no HTTP pool")
            self.key_set = KeySet(
                str(settings.jwks_url),
                pool=pool,
                clock=clock,
                refresh_interval_s=settings.jwks_refresh_interval,
                stats=stats,
            )

    async def claims(self, token: str) -> Claims:
        """Return the claims of a token that is ours.

        Raises:
            TokenRefusedError: It is not.
            KeysUnavailableError: That cannot be told now.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenRefusedError(f"longer than {MAX_TOKEN_LENGTH} characters")
        if not token.isascii():
            raise TokenRefusedError("not a JWT: it is not ASCII")
        try:
            header = self._signatures.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenRefusedError(f"not a JWT: {error}") from error
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise TokenRefusedError(f"an algorithm that is not accepted: {algorithm!r}")
        key_id = header.get("kid")
        if key_id is not None and len(key_id) > MAX_KEY_ID_LENGTH:
            raise TokenRefusedError(f"a kid longer than {MAX_KEY_ID_LENGTH} characters")
        keys = await self._fitting_keys(algorithm, key_id)
        claims = Claims(self._payload(token, algorithm, keys))
        claims.check_audience(self.settings.audience, self.settings.issuer)
        return claims

    async def _fitting_keys(self, algorithm: str, key_id: str | None) -> Sequence[VerificationKey]:
        if self.key_set is not None and algorithm not in HMAC_ALGORITHMS:
            keys = await self.key_set.keys(algorithm, key_id)
            if not keys:
                raise TokenRefusedError(f"no key with the kid {key_id!r} for {algorithm}")
            return keys
        keys = [key for key in self._keys if algorithm in key.algorithms]
        if not keys:
            raise TokenRefusedError(f"signed with {algorithm}, for which no key is configured")
        return keys

    def _payload(self, token: str, algorithm: str, keys: Sequence[VerificationKey]) -> bytes:
        refused: jwt.PyJWTError | None = None
        for key in keys:
            try:
                decoded = self._signatures.decode_complete(
                    token, key.material, algorithms=[algorithm]
                )
            except jwt.PyJWTError as error:
                refused = error
            else:
                payload: bytes = decoded["payload"]
                return payload
        raise TokenRefusedError(str(refused)) from refused


@dataclass(frozen=True, slots=True)
class Verifiers:
    """What tokens are checked by, the one for connections and the one for subscriptions."""

    connection: TokenVerifier
    subscription: TokenVerifier

    def key_sets(self) -> dict[str, KeySet]:
        """Return the sets that are fetched, each once, by what it is for."""
        found: dict[str, KeySet] = {}
        if self.connection.key_set is not None:
            found["connection"] = self.connection.key_set
        if self.subscription.key_set is not None and self.subscription is not self.connection:
            found["subscription"] = self.subscription.key_set
        return found


class Authenticator:
    """Says who clients are and what they may subscribe to, by their tokens.

    An async context manager: fetched keys are kept fresh while it is open.

    Args:
        connection: Settings of connection tokens.
        subscription: Settings of subscription tokens; without keys: those of connection tokens.
        clock: The time tokens are judged by.
        pool: Fetches keys; needed where a ``jwks_url`` is set.

    Attributes:
        verifiers: What tokens are checked by now.
        key_set_stats: Fetches of keys, by what the set is for.

    Raises:
        TokenKeyError: A key in the settings cannot be used.
    """

    def __init__(
        self,
        connection: TokenSettings,
        subscription: TokenSettings,
        *,
        clock: Clock,
        pool: HTTPConnectionPool | None = None,
    ) -> None:
        self._clock = clock
        self._pool = pool
        self.key_set_stats = {"connection": KeySetStats(), "subscription": KeySetStats()}
        self.verifiers = self._prepared(connection, subscription, None)
        self._running = False

    def prepare(self, connection: TokenSettings, subscription: TokenSettings) -> Verifiers:
        """Return what tokens are checked by with other settings, for ``use``; nothing changes.

        A verifier whose settings are as they were is the same one, with the keys it has.

        Raises:
            TokenKeyError: A key in the settings cannot be used.
        """
        return self._prepared(connection, subscription, self.verifiers)

    def _prepared(
        self, connection: TokenSettings, subscription: TokenSettings, now: Verifiers | None
    ) -> Verifiers:
        def verifier(
            kind: str, settings: TokenSettings, now: TokenVerifier | None
        ) -> TokenVerifier:
            if now is not None and now.settings == settings:
                return now
            stats = self.key_set_stats[kind]
            return TokenVerifier(settings, clock=self._clock, pool=self._pool, stats=stats)

        ours = verifier("connection", connection, now.connection if now else None)
        if not subscription.has_keys:
            return Verifiers(ours, ours)
        theirs = verifier("subscription", subscription, now.subscription if now else None)
        return Verifiers(ours, theirs)

    async def use(self, verifiers: Verifiers) -> None:
        """Check tokens by others from now on; connections there are go on until they refresh."""
        old = set(self.verifiers.key_sets().values())
        new = set(verifiers.key_sets().values())
        self.verifiers = verifiers
        if self._running:
            for key_set in new - old:
                await key_set.__aenter__()
            for key_set in old - new:
                await key_set.aclose()

    async def __aenter__(self) -> Self:
        self._running = True
        for key_set in self.verifiers.key_sets().values():
            await key_set.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running = False
        for key_set in self.verifiers.key_sets().values():
            await key_set.aclose()

    async def connection(self, token: str) -> Identity:
        """Return who a connection token speaks for.

        Raises:
            ProtocolError: Expired (109), a connection that ended before (110), or the keys cannot
                be had (100, temporary).
            DisconnectError: It is no token of ours (3500).
        """
        try:
            claims = await self.verifiers.connection.claims(token)
            identity = claims.connection(self._clock.time())
        except TokenExpiredError as error:
            raise token_expired() from error
        except TokenRefusedError as error:
            raise DisconnectError(INVALID_TOKEN, f"connection token refused: {error}") from error
        except KeysUnavailableError as error:
            raise self._unavailable(error) from error
        self._check_ahead(identity)
        return identity

    async def refresh(self, token: str, *, user: str) -> Identity:
        """Return who a token speaks for that prolongs the connection of a user.

        Raises:
            ProtocolError: A connection that ended before (110), or no keys (100, temporary).
            DisconnectError: Expired (3005), no token of ours, or another user's (3500).
        """
        try:
            claims = await self.verifiers.connection.claims(token)
            identity = claims.connection(self._clock.time())
        except TokenExpiredError as error:
            detail = "a refresh with an expired token"
            raise DisconnectError(CONNECTION_EXPIRED, detail) from error
        except TokenRefusedError as error:
            raise DisconnectError(INVALID_TOKEN, f"refresh token refused: {error}") from error
        except KeysUnavailableError as error:
            raise self._unavailable(error) from error
        if identity.user != user:
            raise DisconnectError(INVALID_TOKEN, "a refresh with the token of another user")
        self._check_ahead(identity)
        return identity

    async def subscription(
        self, token: str, *, channel: str, user: str, client_id: str
    ) -> SubscriptionGrant:
        """Return what a subscription token allows a client in a channel.

        Args:
            token: The token.
            channel: What the client wants to subscribe to.
            user: The user of its connection.
            client_id: The id of its connection.

        Raises:
            ProtocolError: Not ours (103), expired (109), a subscription that ended before (110),
                or the keys cannot be had (100, temporary).
            DisconnectError: It is for another channel, user or client (3500).
        """
        try:
            claims = (await self.verifiers.subscription.claims(token)).subscription(
                self._clock.time()
            )
        except TokenRefusedError as error:
            message = "a subscription token of client %s was refused: %.200s"
            _LOG.info(message, client_id, error)
            raise permission_denied() from error
        except TokenExpiredError as error:
            raise token_expired() from error
        except KeysUnavailableError as error:
            raise self._unavailable(error) from error
        return self._granted(claims, channel, user, client_id)

    async def subscription_refresh(
        self, token: str, *, channel: str, user: str, client_id: str
    ) -> SubscriptionGrant:
        """Return what a token allows that prolongs a subscription; arguments as before.

        Raises:
            ProtocolError: Expired (109), a subscription that ended before (110), or the keys
                cannot be had (100, temporary).
            DisconnectError: It is not ours, or for another channel, user or client (3500).
        """
        try:
            claims = (await self.verifiers.subscription.claims(token)).subscription(
                self._clock.time()
            )
        except TokenRefusedError as error:
            raise DisconnectError(INVALID_TOKEN, f"sub_refresh token refused: {error}") from error
        except TokenExpiredError as error:
            raise token_expired() from error
        except KeysUnavailableError as error:
            raise self._unavailable(error) from error
        return self._granted(claims, channel, user, client_id)

    def expiry(self, of: Expiring) -> dict[str, Any]:
        """Return what a client must know to refresh in time; empty when it need not."""
        if of.expires_at is None:
            return {}
        return {"expires": True, "ttl": max(1, round(of.expires_at - self._clock.time()))}

    def _granted(
        self, claims: SubscriptionClaims, channel: str, user: str, client_id: str
    ) -> SubscriptionGrant:
        for name, said, wanted in (
            ("channel", claims.channel, channel),
            ("user", claims.user, user),
            ("client", claims.client or client_id, client_id),
        ):
            if said != wanted:
                raise DisconnectError(INVALID_TOKEN, f"a subscription token of another {name}")
        self._check_ahead(claims.grant)
        return claims.grant

    def _check_ahead(self, given: Expiring) -> None:
        """Refuse what ended before it began, by its claim expire_at."""
        if given.expires_at is not None and given.expires_at <= self._clock.time():
            raise expired()

    def _unavailable(self, error: KeysUnavailableError) -> Exception:
        _LOG.warning("a token could not be judged: %s", error)
        return internal_error()
