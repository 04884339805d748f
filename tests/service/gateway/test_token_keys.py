"""Keys: which may be used, and what for."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from service.gateway.token_errors import TokenKeyError
from service.gateway.token_keys import (
    HMAC_ALGORITHMS,
    RSA_ALGORITHMS,
    KeyKind,
    hmac_key,
    jwk_key,
    public_key,
)
from tests.support.tokens import SECRET, jwk, private_key, private_pem, public_pem

RSA_KEY, EC_KEY, ED_KEY = (private_key(name) for name in ("RS256", "ES256", "EdDSA"))


def test_a_secret_is_for_hmac_only():
    """And does not show in what is printed of it."""
    key = hmac_key(SECRET)

    assert key.algorithms == HMAC_ALGORITHMS
    assert SECRET not in repr(key)


@pytest.mark.parametrize(
    "secret", [public_pem(RSA_KEY), public_pem(ED_KEY), '{"kty": "oct", "k": "c2VjcmV0"}']
)
def test_what_others_may_know_is_no_secret(secret):
    """A public key as a secret would let everybody sign."""
    with pytest.raises(TokenKeyError, match="which others may know"):
        hmac_key(secret)


@pytest.mark.parametrize(
    ("algorithm", "kind", "algorithms"),
    [
        ("RS256", KeyKind.RSA, RSA_ALGORITHMS),
        ("ES256", KeyKind.ECDSA, {"ES256"}),
        ("ES384", KeyKind.ECDSA, {"ES384"}),
        ("ES512", KeyKind.ECDSA, {"ES512"}),
        ("EdDSA", KeyKind.EDDSA, {"EdDSA"}),
    ],
)
def test_a_public_key_is_for_its_own_algorithms(algorithm, kind, algorithms):
    """The curve of a key says which one; from PEM and from a key set alike."""
    key = private_key(algorithm)

    assert public_key(public_pem(key), kind).algorithms == algorithms
    assert jwk_key(jwk(key)).algorithms == algorithms


@pytest.mark.parametrize(
    ("pem", "complaint"),
    [
        ("", "not a public key in PEM"),
        ("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "not a public key in PEM"),
        (private_pem(RSA_KEY).decode(), "not a public key in PEM"),
        (public_pem(EC_KEY), "give an RSA key"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "has 1024 bits; take 2048 to 8192"),
    ],
)
def test_a_key_that_does_not_fit_its_setting_is_refused(pem, complaint):
    """With what would be right."""
    with pytest.raises(TokenKeyError, match=complaint):
        public_key(pem, KeyKind.RSA)


def test_curves_that_are_not_for_tokens_are_refused():
    """Among them those of cryptography that have no algorithm, and Ed448."""
    curve = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(TokenKeyError, match="take P-256, P-384 or P-521"):
        public_key(public_pem(curve), KeyKind.ECDSA)
    other = ed448.Ed448PrivateKey.generate()
    with pytest.raises(TokenKeyError, match="another kind"):
        public_key(public_pem(other), KeyKind.EDDSA)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "member",
    [
        {},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        jwk(RSA_KEY, use="enc"),
        jwk(RSA_KEY, key_ops=["encrypt"]),
        jwk(RSA_KEY, alg="HS256"),
        jwk(RSA_KEY, alg="none"),
        jwk(RSA_KEY, alg="ES256"),
        jwk(RSA_KEY, alg="RSA-OAEP"),
        jwk(RSA_KEY, alg=7),
        jwk(RSA_KEY, alg=["RS256"]),
        jwk(RSA_KEY, kid=7),
        jwk(RSA_KEY, n=7),
        jwk(RSA_KEY, key_ops=7),
        jwk(EC_KEY, crv="P-384"),
        jwk(rsa.generate_private_key(65537, 1024)),
    ],
)
def test_a_member_of_a_key_set_that_cannot_verify_is_refused(member):
    """It may be there for other purposes."""
    with pytest.raises(TokenKeyError):
        jwk_key(member)


def test_a_member_of_a_key_set_may_say_what_it_is_for():
    """One algorithm of several, its purpose and its name."""
    key = jwk_key(jwk(RSA_KEY, kid="one", alg="RS384", use="sig", key_ops=["verify"]))

    assert key.algorithms == {"RS384"}
    assert key.key_id == "one"
