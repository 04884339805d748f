"""Keys that tokens are verified with, and the algorithms each of them may be used for.

A key is bound to its algorithms when it is read, so that a token never chooses how a key is used:
a public key does not become the secret of an HMAC, and a key of one curve does not verify another's
signatures. No I/O.
Sources: RFC 7518 (algorithms, sizes of keys), RFC 7517 (JSON Web Keys), RFC 8037 (Ed25519).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import HMACAlgorithm

from service.gateway.token_errors import TokenKeyError

HMAC_ALGORITHMS: Final = frozenset(("HS256", "HS384", "HS512"))
RSA_ALGORITHMS: Final = frozenset(("RS256", "RS384", "RS512"))
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
EDDSA_ALGORITHMS: Final = frozenset(("EdDSA",))
ALGORITHMS: Final = HMAC_ALGORITHMS | RSA_ALGORITHMS | {*_CURVES.values()} | EDDSA_ALGORITHMS
"""Every algorithm that tokens may be signed with."""

_RSA_BITS: Final = range(2048, 8192 + 1)
"""RFC 7518, 3.3 has the lower bound; larger ones than the upper take long to verify with."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


class KeyKind(StrEnum):
    """Kinds of public keys."""

    RSA = "RSA"
    ECDSA = "ECDSA"
    EDDSA = "Ed25519"


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, and what it may verify.

    Attributes:
        algorithms: Names of the algorithms it is for.
        material: The secret of an HMAC as text, or a public key.
        key_id: The ``kid`` tokens refer to it by; None when it has none.
    """

    algorithms: frozenset[str]
    material: PublicKey | str = field(repr=False)
    key_id: str | None = None


def hmac_key(secret: str) -> VerificationKey:
    """Return the key a shared secret is.

    Raises:
        TokenKeyError: It is a public key or a certificate, which everybody may know.
    """
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError as error:
        raise TokenKeyError(
            "is a public key, a certificate or a JSON Web Key, which others may know; "
            "take at least 32 random characters"
        ) from error
    return VerificationKey(HMAC_ALGORITHMS, secret)


def public_key(pem: str, kind: KeyKind) -> VerificationKey:
    """Return the public key that PEM text holds.

    Raises:
        TokenKeyError: It holds none, one of another kind, or one that is not safe.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TokenKeyError(
            "is not a public key in PEM; it begins with -----BEGIN PUBLIC KEY-----"
        ) from error
    if not isinstance(key, PublicKey) or kind_of(key) is not kind:
        raise TokenKeyError(f"is a key of another kind; give an {kind} key")
    return VerificationKey(algorithms_of(key), key)


def jwk_key(jwk: Mapping[str, Any]) -> VerificationKey:
    """Return the public key that a member of a JSON Web Key Set is.

    Raises:
        TokenKeyError: It is not for verifying, not public, or of an unknown or unsafe kind.
    """
    key_id, algorithm = jwk.get("kid"), jwk.get("alg")
    operations = jwk.get("key_ops", ["verify"])
    verifies = isinstance(operations, list) and "verify" in operations
    if jwk.get("use", "sig") != "sig" or not verifies:
        raise TokenKeyError("is not for verifying signatures")
    if key_id is not None and not isinstance(key_id, str):
        raise TokenKeyError("has a kid that is not a string")
    if jwk.get("kty") not in ("RSA", "EC", "OKP"):
        raise TokenKeyError("has a kty that is not RSA, EC or OKP")
    try:
        # The name of the algorithm only chooses how the members are read.
        key = jwt.PyJWK({name: value for name, value in jwk.items() if name != "alg"}).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise TokenKeyError(f"cannot be read: {error}") from error
    if not isinstance(key, PublicKey):
        raise TokenKeyError("is not a public key")
    allowed = algorithms_of(key)
    if algorithm is not None:
        allowed = frozenset(name for name in allowed if name == algorithm)
        if not allowed:
            raise TokenKeyError(f"is for the algorithm {algorithm!r}, which it does not fit")
    return VerificationKey(allowed, key, key_id)


def kind_of(key: PublicKey | PrivateKey) -> KeyKind:
    """Return the kind of a key."""
    if isinstance(key, RSAPublicKey | RSAPrivateKey):
        return KeyKind.RSA
    if isinstance(key, EllipticCurvePublicKey | EllipticCurvePrivateKey):
        return KeyKind.ECDSA
    return KeyKind.EDDSA


def algorithms_of(key: PublicKey | PrivateKey) -> frozenset[str]:
    """Return the algorithms a key is for, all of them as safe as the key.

    Raises:
        TokenKeyError: An RSA key of a size, or a curve, that is not for tokens.
    """
    if isinstance(key, RSAPublicKey | RSAPrivateKey):
        if key.key_size not in _RSA_BITS:
            raise TokenKeyError(
                f"has {key.key_size} bits; take {_RSA_BITS[0]} to {_RSA_BITS[-1]} of them"
            )
        return RSA_ALGORITHMS
    if isinstance(key, EllipticCurvePublicKey | EllipticCurvePrivateKey):
        algorithm = _CURVES.get(key.curve.name)
        if algorithm is None:
            raise TokenKeyError(f"has the curve {key.curve.name}; take P-256, P-384 or P-521")
        return frozenset((algorithm,))
    return EDDSA_ALGORITHMS
