"""Claims of tokens: at and past their limits."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gateway.token_errors import TokenExpiredError, TokenRefusedError
from service.gateway.tokens import (
    MAX_LIFETIME_S,
    Claims,
    Identity,
    ServerSubscription,
    SubscriptionClaims,
    SubscriptionGrant,
    SubscriptionOverride,
)

NOW = 1_700_000_000.0


def connection(**claims: Any) -> Identity:
    return Claims(json.dumps(claims).encode()).connection(NOW)


def subscription(**claims: Any) -> SubscriptionClaims:
    return Claims(json.dumps({"channel": "$a", **claims}).encode()).subscription(NOW)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


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
        '{"iat": "today"}',
        '{"jti": 7}',
        '{"exp": 1' + "0" * 400 + "}",
        '{"expire_at": "never"}',
        '{"sub": 42}',
        '{"sub": "\\ud800"}',
        '{"info": "\\ud800"}',
        '{"info": ' + "[" * 400 + "]" * 400 + "}",
        '{"meta": ' + "[" * 400 + "]" * 400 + "}",
        '{"b64info": 7}',
        '{"b64info": "!!!!"}',
        '{"b64info": "ä"}',
        '{"b64info": "bm90IEpTT04="}',
        '{"channels": "news"}',
        '{"channels": [7]}',
        '{"channels": {"news": {}}}',
        '{"subs": ["news"]}',
        '{"subs": {"news": 7}}',
        '{"subs": {"news": {"override": 7}}}',
        '{"subs": {"news": {"override": {"presence": true}}}}',
        '{"subs": {"news": {"override": {"presence": {"value": 1}}}}}',
        '{"channel": "news"}',
        '{"channel": 7}',
        "[]",
        "7",
        "{",
        "",
    ],
)
def test_claims_that_cannot_be_used_are_refused(claims):
    """At once, in place of an error with every message of that client."""
    with pytest.raises(TokenRefusedError):
        Claims(claims.encode()).connection(NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {"channel": ""},
        {"channel": None},
        {"channel": 7},
        {"client": 7},
        {"sub": 7},
        {"info": None, "b64info": "?"},
        {"b64data": "?"},
        {"override": []} | {"override": [1]},
        {"override": {"join_leave": {"value": None}}},
    ],
)
def test_claims_of_a_subscription_are_judged_too(claims):
    """The channel is required, as the user of the connection is compared with what is said."""
    with pytest.raises(TokenRefusedError):
        subscription(**claims)


@pytest.mark.parametrize("exp", [1e300, 10**15, 2**63])
@pytest.mark.parametrize("claim", ["exp", "expire_at"])
def test_nothing_lasts_longer_than_a_year(claim, exp):
    """Client libraries keep the time in 32 bits, and timers have limits too."""
    assert connection(**{claim: exp}).expires_at == NOW + MAX_LIFETIME_S


@pytest.mark.parametrize("exp", [-1, 0, -1e300, NOW])
def test_a_token_is_expired_from_its_second_on(exp):
    """Also for times before the first one."""
    with pytest.raises(TokenExpiredError):
        connection(exp=exp)


def test_a_token_before_its_time_counts_as_expired():
    """As in Centrifugo: the client gets another one and tries again."""
    with pytest.raises(TokenExpiredError):
        connection(nbf=NOW + 1)
    assert connection(nbf=NOW).user == ""


@pytest.mark.parametrize(
    ("claims", "expires_at"),
    [
        ({}, None),
        ({"exp": NOW + 60}, NOW + 60),
        ({"exp": NOW + 60, "expire_at": None}, NOW + 60),
        ({"exp": NOW + 60, "expire_at": 0}, None),
        ({"exp": NOW + 60, "expire_at": -5}, None),
        ({"exp": NOW + 60, "expire_at": NOW + 3600}, NOW + 3600),
        ({"expire_at": NOW + 30}, NOW + 30),
        ({"expire_at": NOW - 30}, NOW - 30),
    ],
)
def test_what_a_token_gives_may_end_at_another_time_than_the_token(claims, expires_at):
    """The claim expire_at says when; 0 is never."""
    assert connection(**claims).expires_at == expires_at
    assert subscription(**claims).grant.expires_at == expires_at


@pytest.mark.parametrize(
    ("claims", "identity"),
    [
        ({}, Identity("")),
        ({"sub": None, "info": None, "meta": None, "subs": None, "channels": None}, Identity("")),
        ({"sub": "7", "exp": None, "nbf": 1.5, "iat": 1, "jti": "x"}, Identity("7")),
        ({"info": {"name": "ä"}}, Identity("", '{"name":"ä"}'.encode())),
        ({"info": False}, Identity("", b"false")),
        ({"info": 1, "b64info": b64('{"a": 1}')}, Identity("", b'{"a":1}')),
        ({"meta": {"plan": "pro"}}, Identity("", meta=b'{"plan":"pro"}')),
        ({"channel": ""}, Identity("")),
        (
            {"channels": ["news", "a:b", "news"]},
            Identity("", subscriptions=(ServerSubscription("news"), ServerSubscription("a:b"))),
        ),
        (
            {"channels": ["ignored"], "subs": {"news": None}},
            Identity("", subscriptions=(ServerSubscription("news"),)),
        ),
        (
            {
                "subs": {
                    "news": {
                        "info": 1,
                        "b64data": b64("[2]"),
                        "override": {
                            "presence": {"value": True},
                            "join_leave": {},
                            "force_recovery": None,
                            "unknown": 7,
                        },
                    }
                }
            },
            Identity(
                "",
                subscriptions=(
                    ServerSubscription(
                        "news", b"1", b"[2]", SubscriptionOverride(presence=True, join_leave=False)
                    ),
                ),
            ),
        ),
    ],
)
def test_claims_become_an_identity(claims, identity):
    """What others may see is encoded once."""
    assert connection(**claims) == identity


def test_numbers_in_claims_stay_as_they_are():
    """Also those that fit neither 64 bits nor a float."""
    found = Claims(b'{"info": {"wei": 123456789012345678901234567890}}').connection(NOW)

    assert found.info == b'{"wei":123456789012345678901234567890}'


def test_claims_become_a_grant():
    """With everything a subscription may be given."""
    found = subscription(
        sub="7",
        client="c1",
        info={"role": "admin"},
        data=[1],
        override={"force_recovery": {"value": True}, "force_positioning": {"value": False}},
    )

    override = SubscriptionOverride(force_recovery=True, force_positioning=False)
    grant = SubscriptionGrant(b'{"role":"admin"}', b"[1]", None, override)
    assert found == SubscriptionClaims("7", "$a", "c1", grant)


@pytest.mark.parametrize(
    ("aud", "iss", "good"),
    [
        ("us", "me", True),
        (["them", "us"], "me", True),
        ("them", "me", False),
        (["them"], "me", False),
        (None, "me", False),
        ({"us": 1}, "me", False),
        ("us", "you", False),
        ("us", ["me"], False),
        ("us", None, False),
    ],
)
def test_a_token_for_others_or_from_others_is_refused(aud, iss, good):
    """Where the settings ask for an audience and an issuer."""
    claims = Claims(json.dumps({"aud": aud, "iss": iss}).encode())
    claims.check_audience("", "")
    if good:
        claims.check_audience("us", "me")
    else:
        with pytest.raises(TokenRefusedError):
            claims.check_audience("us", "me")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = (
    *("sub", "exp", "iat", "nbf", "jti", "aud", "iss", "info", "b64info", "channels", "subs"),
    *("meta", "expire_at", "channel", "client", "override", "data", "b64data"),
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(NAMES), ANY_JSON))
def test_any_claims_are_taken_or_refused(claims):
    """Whatever stands there, a refusal or something that JSON can carry comes out."""
    payload = json.dumps(claims).encode()
    for read in (Claims.connection, Claims.subscription):
        try:
            found = read(Claims(payload), NOW)
        except (TokenRefusedError, TokenExpiredError):
            continue
        grant = found if isinstance(found, Identity) else found.grant
        assert grant.info is None or json.loads(grant.info) is not None
        assert grant.expires_at is None or 0 < grant.expires_at <= NOW + MAX_LIFETIME_S


@given(st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused(payload):
    """A good signature does not make sense of what was signed."""
    with suppress(TokenRefusedError, TokenExpiredError):
        Claims(payload).connection(NOW)
