"""Keys that are replaced while clients come and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alerts.clock import ManualClock
from service.config.gateway_settings import GatewaySettings
from service.config.token_settings import TokenSettings
from service.gateway.authentication import Authenticator
from service.gateway.codes import DisconnectError, ProtocolError
from service.gateway.observation import GatewayObservation
from service.gateway.token_errors import TokenKeyError
from tests.service.test_observation import Page
from tests.support.gateway import API_KEY, OPEN, running_gateway, until
from tests.support.tokens import SECRET, jwk, key_set_server, private_key, signed

OTHER_SECRET = "another secret of thirty-two bytes"


def settings(**changes: Any) -> GatewaySettings:
    return GatewaySettings.model_validate({**OPEN, "token": {"hmac_secret": SECRET}, **changes})


async def outcome(who: Authenticator, token: str) -> int | str:
    """Return the code that came of a connection token, or that it was good."""
    try:
        await who.connection(token)
    except ProtocolError as error:
        return error.code
    except DisconnectError as error:
        return error.close.code
    return "good"


async def test_clients_are_known_by_the_new_key_and_those_there_are_stay():
    """Until they refresh, for which they need a token of the new key."""
    old = {"token": signed({"sub": "7"}, "HS256")}
    new = {"token": signed({"sub": "7"}, "HS256", OTHER_SECRET)}
    async with running_gateway(token={"hmac_secret": SECRET}) as running:
        gateway = running.gateway
        async with running.client(connect=False) as client:
            await client.call(connect=old)
            keys = gateway.prepare_keys(settings(token={"hmac_secret": OTHER_SECRET}))
            async with running.client(connect=False) as unchanged:
                assert "connect" in await unchanged.call(connect=old)
            await gateway.use_keys(keys)

            async with running.client(connect=False) as late:
                await late.send(f'{{"id":1,"connect":{{"token":"{old["token"]}"}}}}')
                assert (await late.closed())[0] == 3500
            async with running.client(connect=False) as late:
                assert "connect" in await late.call(connect=new)
            await client.subscribe("news")
            assert "refresh" in await client.call(refresh=new)


async def test_back_ends_are_known_by_the_new_key_alone():
    """The old one is refused at once, and so is every one where there is none any more."""
    async with running_gateway() as running:

        async def status(key: str) -> int:
            headers = {"X-API-Key": key}
            async with running.http.post(running.api_url("info"), json={}, headers=headers) as got:
                return got.status

        found = []
        for key in ("new key", None):
            await running.gateway.use_keys(running.gateway.prepare_keys(settings(api_key=key)))
            found.append([await status(API_KEY), await status("new key"), await status("")])

    assert found == [[401, 200, 401], [401, 401, 401]]


async def test_a_key_that_cannot_be_used_changes_nothing():
    """Neither for clients nor for back ends."""
    async with running_gateway(token={"hmac_secret": SECRET}) as running:
        with pytest.raises(TokenKeyError):
            running.gateway.prepare_keys(settings(token={"rsa_public_key": "x"}, api_key="new"))

        async with running.client(connect=False) as client:
            token = signed({"sub": "7"}, "HS256")
            assert "connect" in await client.call(connect={"token": token})
        await running.publish("news", 1)


async def test_a_key_set_that_stays_keeps_its_keys():
    """It is not fetched again because something else changed; a new address is fetched at once."""
    token = signed({"sub": "7"}, "ES256", kid="a")
    async with key_set_server() as one, key_set_server() as two:
        one.keys = [jwk(private_key("ES256"), kid="a")]
        two.keys = [jwk(private_key("ES256", 1), kid="a")]
        async with running_gateway(token={"jwks_url": one.url}) as running:
            gateway = running.gateway
            assert await outcome(gateway.authenticator, token) == "good"
            same = settings(token={"jwks_url": one.url}, api_key="new")
            await gateway.use_keys(gateway.prepare_keys(same))
            assert await outcome(gateway.authenticator, token) == "good"
            assert (one.requests, two.requests) == (1, 0)

            other = settings(token={"jwks_url": two.url})
            await gateway.use_keys(gateway.prepare_keys(other))
            await until(lambda: two.requests == 1)
            assert await outcome(gateway.authenticator, token) == 3500
            rotated = signed({"sub": "7"}, "ES256", private_key("ES256", 1), kid="a")
            assert await outcome(gateway.authenticator, rotated) == "good"

    assert (one.requests, two.requests) == (1, 1)


async def test_subscription_tokens_may_get_keys_of_their_own_and_lose_them():
    """Without any they are checked like connection tokens."""
    given = signed({"sub": "7", "channel": "$a"}, "HS256", OTHER_SECRET)
    ours = TokenSettings.model_validate({"hmac_secret": SECRET})
    theirs = TokenSettings.model_validate({"hmac_secret": OTHER_SECRET})
    found = []
    async with Authenticator(ours, TokenSettings(), clock=ManualClock()) as who:
        for subscription in (TokenSettings(), theirs, TokenSettings()):
            await who.use(who.prepare(ours, subscription))
            try:
                await who.subscription(given, channel="$a", user="7", client_id="c")
                found.append("good")
            except ProtocolError as error:
                found.append(str(error.code))

    assert found == ["103", "good", "103"]


async def test_the_age_of_a_key_set_and_its_fetches_are_metrics():
    """There is no age before the first fetch; failures are told apart by their cause."""
    clock = ManualClock()
    token = signed({"sub": "7"}, "ES256", kid="a")
    async with key_set_server() as server:
        server.keys, server.status = [jwk(private_key("ES256"), kid="a")], 503
        settings = {"jwks_url": server.url, "jwks_refresh_interval": "1h"}
        async with running_gateway(clock=clock, token=settings) as running:
            page = Page()
            GatewayObservation(running.gateway).register(page.observers)
            who = running.gateway.authenticator
            assert await outcome(who, token) == 100
            before = page.read()
            server.status = 200
            await clock.advance(10)
            assert await outcome(who, token) == "good"
            await clock.advance(90)
            after = page.read()

    kind = ("gateway.token.kind", "connection")
    failed = frozenset({kind, ("error.type", "answer")})
    assert "gateway.token.keys.age" not in before
    assert before["gateway.token.keys.fetches"] == {failed: 1}
    assert after["gateway.token.keys.age"] == {frozenset({kind}): 90}
    assert after["gateway.token.keys.fetches"] == {frozenset({kind}): 1, failed: 1}


async def test_who_waits_for_keys_that_are_given_up_may_try_again():
    """With the next try the new keys are asked."""
    token = signed({"sub": "7"}, "HS256", OTHER_SECRET)
    fetched = signed({"sub": "7"}, "ES256", kid="a")
    async with key_set_server() as server:
        server.release.clear()
        async with running_gateway(token={"jwks_url": server.url}) as running:
            who = running.gateway.authenticator
            waiting = asyncio.create_task(outcome(who, fetched))
            await server.arrived.wait()
            other = settings(token={"hmac_secret": OTHER_SECRET})
            await running.gateway.use_keys(running.gateway.prepare_keys(other))

            assert await waiting == 100
            assert await outcome(who, token) == "good"
            assert await outcome(who, fetched) == 3500
