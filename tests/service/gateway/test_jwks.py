"""A key set over real sockets: rotation, outage, and how often it is asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import ManualClock
from service.config.settings import HTTPPoolSettings
from service.gateway.jwks import MAX_BYTES, MAX_KEYS, MIN_INTERVAL_S, KeySet, parse_key_set
from service.gateway.token_errors import KeysUnavailableError, TokenKeyError
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments
from tests.support.tokens import KeySetServer, jwk, key_set_server, private_key

HOUR_S = 3600.0
OLD, NEW = jwk(private_key("ES256"), kid="old"), jwk(private_key("ES256", 2), kid="new")


@asynccontextmanager
async def key_set(server: KeySetServer, clock: ManualClock) -> AsyncIterator[KeySet]:
    pool = HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=clock,
    )
    async with pool, KeySet(server.url, pool=pool, clock=clock, refresh_interval_s=HOUR_S) as keys:
        yield keys


async def ids(keys: KeySet, key_id: str | None, algorithm: str = "ES256") -> list[str | None]:
    return [key.key_id for key in await keys.keys(algorithm, key_id)]


async def test_keys_are_asked_for_once_and_kept():
    """However many tokens come, those that come together included."""
    async with key_set_server() as server, key_set(server, ManualClock()) as keys:
        server.keys = [OLD, NEW]

        found = await asyncio.gather(*(ids(keys, "old") for _ in range(50)))

        assert found == [["old"]] * 50
        assert await ids(keys, "new") == ["new"]
        assert server.requests == 1


async def test_they_are_asked_for_before_the_first_token_comes():
    """So that its client does not wait."""
    async with key_set_server() as server, key_set(server, ManualClock()):
        server.keys = [OLD]

        await asyncio.wait_for(server.arrived.wait(), 10)

        assert server.requests == 1


async def test_a_key_that_is_not_there_is_asked_for():
    """A provider that rotates its keys signs with the new one at once."""
    clock = ManualClock()
    async with key_set_server() as server, key_set(server, clock) as keys:
        server.keys = [OLD]
        assert await ids(keys, "old") == ["old"]
        server.keys = [NEW]
        await clock.advance(MIN_INTERVAL_S)

        assert await ids(keys, "new") == ["new"]
        assert server.requests == 2


async def test_a_key_that_was_withdrawn_is_not_used():
    """From the first fetch on that does not show it any more."""
    clock = ManualClock()
    async with key_set_server() as server, key_set(server, clock) as keys:
        server.keys = [OLD]
        assert await ids(keys, "old") == ["old"]
        server.keys = [NEW]
        await clock.advance(HOUR_S)

        assert await ids(keys, "old") == []


async def test_unknown_keys_do_not_make_requests_without_end():
    """One in ten seconds; what cannot be told within them is a matter of trying again."""
    clock = ManualClock()
    async with key_set_server() as server, key_set(server, clock) as keys:
        server.keys = [OLD]
        assert await ids(keys, "old") == ["old"]
        for number in range(20):
            with pytest.raises(KeysUnavailableError, match="not known yet"):
                await ids(keys, f"made up {number}")
        assert server.requests == 1
        await clock.advance(MIN_INTERVAL_S)

        assert await ids(keys, "made up") == []
        with pytest.raises(KeysUnavailableError):
            await ids(keys, "made up")
        assert server.requests == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, None),
        (404, None),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"keys": {}}'),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [7, {"kty": "oct", "k": "AA"}]}'),
        (200, b" " * (MAX_BYTES + 1)),
    ],
)
async def test_old_keys_are_used_while_the_endpoint_is_away(status, body, caplog):
    """And it is asked again after ten seconds, not with every token."""
    clock = ManualClock()
    async with key_set_server() as server, key_set(server, clock) as keys:
        server.keys = [OLD]
        assert await ids(keys, "old") == ["old"]
        server.status, server.body = status, body
        await clock.advance(HOUR_S)

        assert await ids(keys, "old") == await ids(keys, "old") == ["old"]
        assert server.requests == 2
        assert f"1 older ones are used: GET {server.url}" in caplog.text
        with pytest.raises(KeysUnavailableError):
            await ids(keys, "new")
        server.status, server.body, server.keys = 200, None, [NEW]
        await clock.advance(MIN_INTERVAL_S)
        assert await ids(keys, "new") == ["new"]


async def test_credentials_of_the_endpoint_do_not_show(caplog):
    """Neither in the log nor in an error, whatever comes of the request."""
    caplog.set_level("INFO")
    clock = ManualClock()
    async with key_set_server() as server:
        server.url = server.url.replace("//", "//me:hush@") + "?key=hush"
        async with key_set(server, clock) as keys:
            server.keys = [OLD]
            assert await ids(keys, "old") == ["old"]
            server.status = 500
            await clock.advance(MIN_INTERVAL_S)
            with pytest.raises(KeysUnavailableError) as unknown:
                await ids(keys, "new")

    assert "1 keys of tokens from http://" in caplog.text
    assert "answered 500" in caplog.text
    ours = [line for line in caplog.messages if "/jwks.json?" not in line]  # the server's log
    assert "hush" not in "".join(ours) + str(unknown.value)


async def test_without_any_key_nothing_can_be_said():
    """A client whose token cannot be judged tries again; it is not sent away for good."""
    clock = ManualClock()
    async with key_set_server() as server, key_set(server, clock) as keys:
        server.status = 503
        with pytest.raises(KeysUnavailableError):
            await ids(keys, "old")
        server.status, server.keys = 200, [OLD]
        await clock.advance(MIN_INTERVAL_S)

        assert await ids(keys, "old") == ["old"]


async def test_who_needs_no_fetch_does_not_wait_for_one():
    """A token with a new key keeps nobody with an old one waiting."""
    clock = ManualClock()
    async with key_set_server() as server, key_set(server, clock) as keys:
        server.keys = [OLD]
        assert await ids(keys, "old") == ["old"]
        await clock.advance(MIN_INTERVAL_S)
        server.keys = [OLD, NEW]
        server.arrived.clear()
        server.release.clear()
        waiting = asyncio.create_task(ids(keys, "new"))
        await asyncio.wait_for(server.arrived.wait(), 10)

        assert await ids(keys, "old") == ["old"]
        assert not waiting.done()
        server.release.set()
        assert await waiting == ["new"]


async def test_who_goes_away_leaves_the_fetch_to_others():
    """The connection that began it may be gone before it ends."""
    async with key_set_server() as server, key_set(server, ManualClock()) as keys:
        server.keys = [OLD]
        server.release.clear()
        first = asyncio.create_task(ids(keys, "old"))
        second = asyncio.create_task(ids(keys, "old"))
        await asyncio.wait_for(server.arrived.wait(), 10)
        first.cancel()
        server.release.set()

        assert await second == ["old"]
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_the_end_does_not_wait_for_a_fetch():
    """Who waited for it is told that nothing is known."""
    async with key_set_server() as server:
        server.release.clear()
        async with key_set(server, ManualClock()) as keys:
            waiting = asyncio.create_task(ids(keys, "old"))
            await asyncio.wait_for(server.arrived.wait(), 10)

        with pytest.raises(KeysUnavailableError):
            await waiting
        await keys.aclose()
        with pytest.raises(KeysUnavailableError):
            await ids(keys, "old")


async def test_a_token_that_names_no_key_takes_the_only_one():
    """Of those that fit its algorithm; among several none is guessed."""
    clock = ManualClock()
    async with key_set_server() as server, key_set(server, clock) as keys:
        server.keys = [OLD, jwk(private_key("EdDSA"), kid="ed")]
        assert await ids(keys, None) == ["old"]
        assert await ids(keys, None, "EdDSA") == ["ed"]
        server.keys = [OLD, NEW]
        await clock.advance(HOUR_S)

        assert await ids(keys, None) == []


def test_no_more_keys_are_read_than_a_set_may_have():
    """A set without end is no reason to spend time without end."""
    many = b",".join([b'{"kty":"oct"}'] * MAX_KEYS + [b'{"kty":"RSA"}'])

    with pytest.raises(TokenKeyError, match="none of the 101 keys can be used; the first has a"):
        parse_key_set(b'{"keys":[' + many + b"]}")
