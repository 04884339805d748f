"""How tokens of clients are checked: ``gateway.token`` and ``gateway.subscription_token``."""

from __future__ import annotations

from typing import Self

from pydantic import AnyHttpUrl, model_validator

from service.config.section import Section
from service.config.types import PositiveDuration, PublicKey, Secret, contradiction


class TokenSettings(Section):
    """How tokens (JWT) are checked. Without any key every token is refused."""

    hmac_secret: Secret | None = None
    """Secret of HS256, HS384 and HS512 tokens."""
    rsa_public_key: PublicKey = ""
    """Public key of RS256, RS384 and RS512 tokens, in PEM; empty: none."""
    ecdsa_public_key: PublicKey = ""
    """Public key of ES256, ES384 or ES512 tokens, in PEM; empty: none."""
    eddsa_public_key: PublicKey = ""
    """Public key of EdDSA tokens (Ed25519), in PEM; empty: none."""
    jwks_url: AnyHttpUrl | None = None
    """Address of a JSON Web Key Set with the public keys, in place of those above."""
    jwks_refresh_interval: PositiveDuration = 3600.0
    """How old the key set may become before it is fetched again."""
    audience: str = ""
    """Required value of the claim `aud`; empty: not checked."""
    issuer: str = ""
    """Required value of the claim `iss`; empty: not checked."""

    @property
    def has_keys(self) -> bool:
        """Whether any token can be good."""
        return bool(self.hmac_secret or self.jwks_url or any(self._public_keys.values()))

    @property
    def _public_keys(self) -> dict[str, str]:
        return {
            "rsa_public_key": self.rsa_public_key,
            "ecdsa_public_key": self.ecdsa_public_key,
            "eddsa_public_key": self.eddsa_public_key,
        }

    @model_validator(mode="after")
    def _one_source_of_public_keys(self) -> Self:
        given = next((name for name, key in self._public_keys.items() if key), None)
        if given is not None and self.jwks_url is not None:
            raise contradiction(
                "public keys come from jwks_url or stand here, not both: remove the one or the "
                "other",
                (given,),
                ("jwks_url",),
            )
        return self
