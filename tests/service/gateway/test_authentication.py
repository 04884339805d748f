"""Tokens of every algorithm, and what the protocol answers to those that are not good."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import ManualClock
from service.config.settings import HTTPPoolSettings
from service.config.token_settings import TokenSettings
from service.gateway.authentication import MAX_TOKEN_LENGTH, Authenticator, static_key_problems
from service.gateway.codes import DisconnectError, ProtocolError
from service.gateway.token_errors import TokenKeyError
from service.gateway.token_keys import ALGORITHMS
from service.gateway.tokens import MAX_LIFETIME_S, Identity, SubscriptionGrant
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments
from tests.support.tokens import SECRET, jwk, key_set_server, private_key, public_pem, signed

NOW = 1_700_000_000
KEYS = {
    "hmac_secret": SECRET,
    "rsa_public_key": public_pem(private_key("RS256")),
    "ecdsa_public_key": public_pem(private_key("ES256")),
    "eddsa_public_key": public_pem(private_key("EdDSA")),
}


def authenticator(
    subscription: dict[str, Any] | None = None, clock: ManualClock | None = None, **settings: Any
) -> Authenticator:
    return Authenticator(
        TokenSettings.model_validate(settings or KEYS),
        TokenSettings.model_validate(subscription or {}),
        clock=clock or ManualClock(),
    )


async def outcome(awaitable: Any) -> int | str:
    """Return the code that came of it, or that it was good."""
    try:
        await awaitable
    except ProtocolError as error:
        return error.code
    except DisconnectError as error:
        return error.close.code
    return "good"


async def subscribe(who: Authenticator, token: str, **asked: str) -> SubscriptionGrant:
    return await who.subscription(token, **{"channel": "$a", "user": "7", "client_id": "c"} | asked)


async def prolong(who: Authenticator, token: str, **asked: str) -> SubscriptionGrant:
    asked = {"channel": "$a", "user": "7", "client_id": "c"} | asked
    return await who.subscription_refresh(token, **asked)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_every_algorithm_is_verified(algorithm):
    """With the key of its kind, and with no other key."""
    kind = {"H": "hmac_secret", "R": "rsa_public_key", "E": "ecdsa_public_key"}
    name = "eddsa_public_key" if algorithm == "EdDSA" else kind[algorithm[0]]
    key = SECRET if algorithm[0] == "H" else private_key(algorithm)
    setting: dict[str, Any] = {name: key if isinstance(key, str) else public_pem(key)}
    others: dict[str, Any] = {other: value for other, value in KEYS.items() if other != name}
    token = signed({"sub": "7"}, algorithm, key)

    assert await authenticator(**setting).connection(token) == Identity("7")
    assert await outcome(authenticator(**others).connection(token)) == 3500


@pytest.mark.parametrize(
    ("setting", "token", "now"),
    [
        (
            {"hmac_secret": "your-256-bit-secret"},
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
            "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ."
            "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
            NOW,
        ),
        (
            {
                "ecdsa_public_key": "-----BEGIN PUBLIC KEY-----\n"
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                "-----END PUBLIC KEY-----\n"
            },
            "eyJhbGciOiJFUzI1NiJ9."
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
            "Ijp0cnVlfQ."
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU"
            "1Q",
            1_300_000_000,
        ),
    ],
    ids=["jwt.io", "RFC 7515 A.3"],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_tokens_that_others_have_published_are_good(setting, token, now):
    """And no longer with one character of the signature changed."""
    who = authenticator(clock=ManualClock(now), **setting)
    changed = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]

    assert await outcome(who.connection(token)) == "good"
    assert await outcome(who.connection(changed)) == 3500


def confused(pem: str) -> str:
    """Return a token with a public key as the secret of its HMAC; libraries refuse to."""
    head = jwt.encode({"sub": "7"}, SECRET, "HS256").rpartition(".")[0]
    signer = hmac.HMAC(pem.encode(), hashes.SHA256())
    signer.update(head.encode())
    return f"{head}.{jwt.utils.base64url_encode(signer.finalize()).decode()}"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "ä.b.c",
        signed({"sub": "7"}, "HS256", "another secret of enough length!!"),
        signed({"sub": "7"}, "RS256", private_key("RS256", 2)),
        signed({"sub": "7"}, "HS256")[:-2],
        signed({"sub": "7"}, "HS256") + ".x",
        signed({"sub": "7"}, "ES384"),
        jwt.encode({"sub": "7"}, "", "none"),
        jwt.encode({"sub": "7"}, private_key("RS256"), "PS256"),
        jwt.encode({"sub": "7"}, SECRET, "HS256", headers={"crit": ["exp"]}),
        jwt.encode({"sub": "7"}, SECRET, "HS256", headers={"kid": "k" * 257}),
        signed({"sub": "7", "info": "x" * MAX_TOKEN_LENGTH}, "HS256"),
        signed({"sub": "7", "channel": "$a"}, "HS256"),
        confused(KEYS["rsa_public_key"]),
        confused(KEYS["eddsa_public_key"].strip()),
    ],
    ids=lambda token: f"{len(token)} bytes",  # the keys are new in every process
)
async def test_what_is_no_token_of_ours_ends_the_connection(token):
    """3500 for a connection and its refresh, and for the refresh of a subscription."""
    who = authenticator()

    assert await outcome(who.connection(token)) == 3500
    assert await outcome(who.refresh(token, user="7")) == 3500
    if "channel" not in jwt_claims(token):
        assert await outcome(prolong(who, token)) == 3500
        assert await outcome(subscribe(who, token)) == 103


def jwt_claims(token: str) -> dict[str, Any]:
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}


async def test_without_keys_no_token_is_good():
    """Not even one that is signed with nothing."""
    who = Authenticator(TokenSettings(), TokenSettings(), clock=ManualClock())

    assert await outcome(who.connection(signed({"sub": "7"}, "HS256"))) == 3500
    assert await outcome(subscribe(who, signed({"sub": "7", "channel": "$a"}, "HS256"))) == 103


@pytest.mark.parametrize(
    ("claims", "connect", "refresh"),
    [
        ({"exp": NOW}, 109, 3005),
        ({"exp": NOW - 5, "expire_at": NOW + 60}, 109, 3005),
        ({"nbf": NOW + 5}, 109, 3005),
        ({"expire_at": NOW}, 110, 110),
        ({"exp": NOW + 5}, "good", "good"),
        ({"exp": NOW + 5, "sub": "8"}, "good", 3500),
        ({"sub": None}, "good", 3500),
        ({"sub": 7}, 3500, 3500),
    ],
)
async def test_outcomes_of_connection_tokens(claims, connect, refresh):
    """Codes are Centrifugo's: an expired token is a matter of getting a new one, once."""
    who, token = authenticator(), signed({"sub": "7", **claims}, "HS256")

    assert await outcome(who.connection(token)) == connect
    assert await outcome(who.refresh(token, user="7")) == refresh


@pytest.mark.parametrize(
    ("claims", "begin", "prolonged"),
    [
        ({}, "good", "good"),
        ({"client": "c"}, "good", "good"),
        ({"client": ""}, "good", "good"),
        ({"client": "d"}, 3500, 3500),
        ({"sub": "8"}, 3500, 3500),
        ({"sub": ""}, 3500, 3500),
        ({"channel": "$b"}, 3500, 3500),
        ({"channel": ""}, 103, 3500),
        ({"channel": None}, 103, 3500),
        ({"info": None, "b64info": "?"}, 103, 3500),
        ({"exp": NOW - 1}, 109, 109),
        ({"exp": NOW - 1, "channel": "$b"}, 109, 109),
        ({"expire_at": NOW - 1}, 110, 110),
    ],
)
async def test_outcomes_of_subscription_tokens(claims, begin, prolonged):
    """One for somebody else ends the connection; one that is not ours is denied."""
    token = signed({"sub": "7", "channel": "$a", **claims}, "HS256")

    assert await outcome(subscribe(authenticator(), token)) == begin
    assert await outcome(prolong(authenticator(), token)) == prolonged


async def test_a_refused_subscription_token_is_in_the_log_and_is_not_shown(caplog):
    """The client learns 103 only; who runs the gateway learns why."""
    caplog.set_level("INFO")
    token = signed({"sub": "7", "channel": "$a"}, "HS256", "another secret of enough length!!")

    assert await outcome(subscribe(authenticator(), token)) == 103

    assert "token of client c was refused: Signature verification failed" in caplog.text
    assert token not in caplog.text


async def test_subscription_tokens_may_have_keys_of_their_own():
    """Then those of connection tokens are not good for them, nor the other way round."""
    other = "another secret of enough length!!"
    who = authenticator({"hmac_secret": other, "audience": "subs"}, hmac_secret=SECRET)
    claims = {"sub": "7", "channel": "$a", "aud": "subs"}

    assert await outcome(subscribe(who, signed(claims, "HS256", other))) == "good"
    assert await outcome(subscribe(who, signed(claims, "HS256"))) == 103
    assert await outcome(subscribe(who, signed(claims | {"aud": "x"}, "HS256", other))) == 103
    assert await outcome(who.connection(signed({"sub": "7"}, "HS256"))) == "good"
    assert await outcome(who.connection(signed({"sub": "7"}, "HS256", other))) == 3500


@pytest.mark.parametrize(("left_s", "ttl"), [(0.1, 1), (1.4, 1), (1.6, 2), (60, 60)])
async def test_the_time_left_is_told_in_whole_seconds(left_s, ttl):
    """At least one, since zero would mean never."""
    who = authenticator()
    identity = await who.connection(signed({"exp": NOW + left_s}, "HS256"))

    assert who.expiry(identity) == {"expires": True, "ttl": ttl}
    assert who.expiry(SubscriptionGrant()) == {}


async def test_the_time_left_is_a_year_at_most():
    """As clients keep it in 32 bits."""
    who = authenticator()
    identity = await who.connection(signed({"exp": 2**63}, "HS256"))

    assert who.expiry(identity)["ttl"] == MAX_LIFETIME_S


async def test_keys_of_a_key_set_verify_and_secrets_go_on():
    """A provider's tokens beside those that are signed with the shared secret."""
    clock = ManualClock()
    pool = HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=clock,
    )
    async with key_set_server() as server, pool:
        server.keys = [jwk(private_key(name), kid=name) for name in ("RS256", "ES384", "EdDSA")]
        settings = TokenSettings.model_validate({"jwks_url": server.url, "hmac_secret": SECRET})
        who = Authenticator(settings, TokenSettings(), clock=clock, pool=pool)
        async with who:
            for name in ("RS256", "ES384", "EdDSA"):
                token = signed({"sub": "7"}, name, kid=name)
                assert await who.connection(token) == Identity("7")
            wrong = signed({"sub": "7"}, "RS256", private_key("RS256", 3), kid="RS256")
            assert await outcome(who.connection(wrong)) == 3500
            assert await outcome(who.connection(signed({"sub": "7"}, "HS256"))) == "good"
            confusing = signed({"sub": "7"}, "HS256", "another secret of enough length!!", "RS256")
            assert await outcome(who.connection(confusing)) == 3500
            assert server.requests == 1
            unknown = signed({"sub": "7", "channel": "$a"}, "RS256", kid="rotated")
            assert await outcome(subscribe(who, unknown)) == 100
            await clock.advance(60)
            assert await outcome(subscribe(who, unknown)) == 103
            await clock.advance(60)
            unknown = signed({"sub": "7"}, "RS256", kid="rotated")
            assert await outcome(who.connection(unknown)) == 3500


async def test_while_no_key_can_be_had_clients_are_asked_to_try_again():
    """100 and temporary; a terminal code would send them away for good."""
    clock = ManualClock()
    pool = HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=clock,
    )
    async with key_set_server() as server, pool:
        server.status = 503
        settings = TokenSettings.model_validate({"jwks_url": server.url})
        async with Authenticator(settings, TokenSettings(), clock=clock, pool=pool) as who:
            token = signed({"sub": "7", "channel": "$a"}, "ES256", kid="a")
            with pytest.raises(ProtocolError) as refused:
                await who.connection(token)
            assert (refused.value.code, refused.value.temporary) == (100, True)
            assert await outcome(who.refresh(token, user="7")) == 100
            assert await outcome(subscribe(who, token)) == 100
            assert await outcome(prolong(who, token)) == 100


def test_keys_that_cannot_be_used_are_told_by_name():
    """All of them; and a gateway is not built with one."""
    settings: dict[str, Any] = {
        **KEYS,
        "rsa_public_key": KEYS["ecdsa_public_key"],
        "ecdsa_public_key": "x",
    }
    settings["hmac_secret"] = KEYS["rsa_public_key"]

    problems = dict(static_key_problems(TokenSettings.model_validate(settings)))

    assert list(problems) == ["hmac_secret", "rsa_public_key", "ecdsa_public_key"]
    assert problems["rsa_public_key"] == "is a key of another kind; give an RSA key"
    with pytest.raises(TokenKeyError):
        authenticator(**settings)


def test_keys_cannot_be_fetched_without_a_pool():
    """A mistake of whoever builds it, not of the settings."""
    with pytest.raises(ValueError, match="no HTTP pool"):
        authenticator(jwks_url="http://127.0.0.1/jwks.json")
