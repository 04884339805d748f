"""Signs tokens as an application's back end does, for trying things out.

Source: Centrifugo documentation, "Client JWT authentication" and "Channel JWT authorization".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from alerts.clock import Clock
from service.config.token_settings import TokenSettings
from service.gateway.token_errors import TokenKeyError
from service.gateway.token_keys import PrivateKey, algorithms_of, hmac_key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and what it signs with.

    Attributes:
        algorithm: Name of the algorithm.
        material: The secret of an HMAC as text, or a private key.
        key_id: The ``kid`` tokens name it by; None: they do not.
    """

    algorithm: str
    material: PrivateKey | str = field(repr=False)
    key_id: str | None = None


def shared_secret(secret: str) -> SigningKey:
    """Return the key that signs with a shared secret.

    Raises:
        TokenKeyError: It is a public key or a certificate.
    """
    hmac_key(secret)
    return SigningKey("HS256", secret)


def private_key(pem: bytes, *, key_id: str | None = None) -> SigningKey:
    """Return the key that PEM holds; RSA keys sign with RS256.

    Raises:
        TokenKeyError: It holds none, an encrypted one, or one that is not for tokens.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise TokenKeyError("is encrypted; take it without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TokenKeyError(
            "is not a private key in PEM; it begins with -----BEGIN PRIVATE KEY-----"
        ) from error
    if not isinstance(key, PrivateKey):
        raise TokenKeyError("is a key of another kind; take RSA, ECDSA or Ed25519")
    return SigningKey(min(algorithms_of(key)), key, key_id)


class TokenIssuer:
    """Signs tokens that the gateway accepts where it is set up for the key.

    Args:
        settings: The audience and issuer that are required of tokens.
        key: What to sign with.
        clock: The time of signing.
    """

    def __init__(self, settings: TokenSettings, key: SigningKey, *, clock: Clock) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock

    def connection(self, user: str, *, ttl_s: float | None, info: object = None) -> str:
        """Return a connection token.

        Args:
            user: Whom it speaks for.
            ttl_s: How long it is good, in seconds; None: for ever.
            info: What subscribers may know of the client; None: nothing.
        """
        return self._signed({"sub": user}, ttl_s, info)

    def subscription(
        self, user: str, channel: str, *, ttl_s: float | None, info: object = None
    ) -> str:
        """Return a subscription token; arguments as before.

        Args:
            user: Whom it speaks for.
            channel: What it lets that user subscribe to.
            ttl_s: How long it is good, in seconds; None: for ever.
            info: What others in the channel may know of the client; None: nothing.
        """
        return self._signed({"sub": user, "channel": channel}, ttl_s, info)

    def _signed(self, claims: dict[str, Any], ttl_s: float | None, info: object) -> str:
        now = int(self._clock.time())
        claims["iat"] = now
        if ttl_s is not None:
            claims["exp"] = now + int(ttl_s)
        if info is not None:
            claims["info"] = info
        if self._settings.audience:
            claims["aud"] = self._settings.audience
        if self._settings.issuer:
            claims["iss"] = self._settings.issuer
        key = self._key
        headers = {"kid": key.key_id} if key.key_id is not None else None
        return jwt.encode(claims, key.material, algorithm=key.algorithm, headers=headers)
