"""Connection tokens: claims at and past their limits."""

import json
from typing import Any

import jwt
import pytest

from alerts.clock import ManualClock
from service.config.settings import TokenSettings
from service.gateway.codes import INVALID_TOKEN, DisconnectError, ProtocolError
from service.gateway.tokens import MAX_LIFETIME_S, ConnectionTokens

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(clock) -> ConnectionTokens:
    return ConnectionTokens(TokenSettings.model_validate({"hmac_secret": SECRET}), clock=clock)


def signed(claims: str) -> str:
    """Return a token of the right secret around any text."""
    return jwt.api_jws.encode(claims.encode(), SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    "claims",
    [
        '{"exp": Infinity}',
        '{"exp": 1e400}',
        '{"exp": -Infinity}',
        '{"exp": NaN}',
        '{"exp": true}',
        '{"exp": "2000000000"}',
        '{"nbf": NaN}',
        '{"nbf": true}',
        '{"exp": 1' + "0" * 400 + "}",
        '{"sub": "\\ud800"}',
        '{"info": "\\ud800"}',
        '{"info": ' + "[" * 400 + "]" * 400 + "}",
        '{"info": ' + "9" * 30 + "}",
        "[]",
        "7",
        "{",
    ],
)
def test_claims_that_cannot_be_used_make_the_token_invalid(tokens, claims):
    """3500 at once, in place of an error with every message of that client."""
    with pytest.raises(DisconnectError) as refused:
        tokens.verify(signed(claims))

    assert refused.value.close is INVALID_TOKEN


@pytest.mark.parametrize("exp", [1e300, 10**15, 2**63])
def test_no_token_lasts_longer_than_a_year(tokens, clock, exp):
    """Client libraries keep the time in 32 bits, and timers have limits too."""
    identity = tokens.verify(signed(json.dumps({"sub": "7", "exp": exp})))

    assert identity.expires_at == clock.time() + MAX_LIFETIME_S
    assert tokens.expiry(identity) == {"expires": True, "ttl": MAX_LIFETIME_S}


@pytest.mark.parametrize("exp", [-1, 0, -1e300, 1_700_000_000])
def test_a_token_is_expired_from_its_second_on(tokens, exp):
    """Error 109, also for times before the first one."""
    with pytest.raises(ProtocolError) as refused:
        tokens.verify(signed(json.dumps({"exp": exp})))

    assert refused.value.code == 109


@pytest.mark.parametrize(("left_s", "ttl"), [(0.1, 1), (1.4, 1), (1.6, 2), (60, 60)])
def test_the_time_left_is_told_in_whole_seconds(tokens, clock, left_s, ttl):
    """At least one, since zero would mean never."""
    identity = tokens.verify(signed(json.dumps({"exp": clock.time() + left_s})))

    assert tokens.expiry(identity)["ttl"] == ttl


@pytest.mark.parametrize(
    ("claims", "user", "info"),
    [
        ({}, "", None),
        ({"sub": "7", "exp": None, "nbf": 1.5}, "7", None),
        ({"info": {"name": "ä"}}, "", '{"name":"ä"}'.encode()),
        ({"info": False}, "", b"false"),
    ],
)
def test_claims_become_an_identity(tokens, claims: dict[str, Any], user, info):
    """What subscribers may see is encoded once."""
    identity = tokens.verify(signed(json.dumps(claims)))

    assert (identity.user, identity.info, identity.expires_at) == (user, info, None)
