"""Subscriptions by token, and those that a connection's token brings along."""

import json
from typing import Any

import pytest

from alerts.clock import ManualClock
from tests.support.gateway import RawClient, RunningGateway, running_gateway
from tests.support.tokens import SECRET, signed

NOW = 1_700_000_000
SETTINGS: dict[str, Any] = {
    "token": {"hmac_secret": SECRET},
    "ping_interval": "1d",
    "stale_timeout": "1d",
    "idle_timeout": "1d",
    "namespaces": [
        {
            "name": "room",
            "history_size": 10,
            "history_ttl": "1h",
            "force_recovery": True,
        },
        {"name": "lobby", "presence": True, "allow_presence_for_subscriber": True},
        {
            "name": "closed",
            "allow_subscribe_for_client": False,
            "allow_publish_for_subscriber": True,
        },
    ],
}


def gateway(clock: ManualClock, **settings: Any) -> Any:
    return running_gateway(clock=clock, **{**SETTINGS, **settings})


def connection(**claims: Any) -> dict[str, Any]:
    """Return a connect command for the user 7."""
    return {"token": signed({"sub": "7", **claims}, "HS256")}


def subscription(channel: str, **claims: Any) -> dict[str, Any]:
    """Return a subscribe or sub_refresh command with a token for its channel."""
    token = signed({"sub": "7", "channel": channel, **claims}, "HS256")
    return {"channel": channel, "token": token}


async def connected(client: RawClient, **claims: Any) -> dict[str, Any]:
    """Connect, and return the result."""
    result: dict[str, Any] = (await client.call(connect=connection(**claims)))["connect"]
    return result


@pytest.mark.parametrize("channel", ["$secret", "$lobby:a", "closed:a", "dialog#8,9", "open"])
async def test_a_token_lets_in_whatever_the_rule_says(channel):
    """Private channels, closed ones, and those of other users."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client)
        if channel != "open":
            assert (await client.call(subscribe={"channel": channel}))["error"]["code"] == 103

        assert await client.call(subscribe=subscription(channel)) == {
            "id": 3 if channel != "open" else 2,
            "subscribe": {},
        }

        await running.publish(channel, "for those with a token")
        assert await client.published() == "for those with a token"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"channel": "$a", "token": "x"}, 103),
        (subscription("$a", exp=NOW - 1), 109),
        (subscription("$a", expire_at=NOW - 1), 110),
        (subscription("$nowhere:a"), 102),
        (subscription("$" + "a" * 255), 107),
        (subscription("$again"), 105),
        ({**subscription("$a"), "type": 1}, 108),
        (subscription("lobby:a", override={"force_recovery": {"value": True}}), 107),
    ],
)
async def test_a_subscription_that_cannot_be_had_is_an_error(asked, code):
    """The connection goes on."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client)
        await client.call(subscribe=subscription("$again"))

        assert (await client.call(subscribe=asked))["error"]["code"] == code
        assert "unsubscribe" in await client.call(unsubscribe={"channel": "$again"})


@pytest.mark.parametrize(
    "asked",
    [
        {**subscription("$a"), "channel": "$b"},
        subscription("$a", sub="8"),
        subscription("$a", client="another"),
    ],
)
async def test_a_token_of_somebody_else_ends_the_connection(asked):
    """It was stolen, or the application is mistaken."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client)
        await client.send(json.dumps({"id": 9, "subscribe": asked}))

        assert await client.closed() == (3500, "invalid token")


async def test_a_token_says_what_others_see_and_what_the_client_gets():
    """``info`` beside its publications, ``data`` with the answer."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client, info={"name": "Ann"})
        asked = subscription("$a", info={"role": "editor"}, data={"topic": "news"})
        reply = await client.call(subscribe=asked)
        assert reply["subscribe"] == {"data": {"topic": "news"}}

        await client.call(publish={"channel": "$a", "data": 1})

        info = (await client.reply())["push"]["pub"]["info"]
        assert info["conn_info"] == {"name": "Ann"}
        assert info["chan_info"] == {"role": "editor"}


async def test_a_token_overrides_options_of_its_channel():
    """For this subscription only."""
    hidden = subscription("lobby:a", override={"presence": {"value": False}})
    async with gateway(ManualClock()) as running:
        async with running.client(connect=False) as client, running.client() as other:
            await connected(client)
            await other.subscribe("lobby:a")
            await client.call(subscribe=hidden)

            present = (await other.call(presence={"channel": "lobby:a"}))["presence"]["presence"]
            assert list(present) == [other.connect_result["client"]]

            plain = subscription("room:a", override={"force_recovery": {"value": False}})
            assert (await client.call(subscribe=plain))["subscribe"] == {}
            await other.call(subscribe={"channel": "room:a"})


async def test_a_subscription_ends_when_it_was_not_refreshed():
    """With 25 seconds of grace, and 2501; a refresh in time moves the end."""
    clock = ManualClock()
    async with gateway(clock) as running, running.client(connect=False) as client:
        await connected(client)
        reply = await client.call(subscribe=subscription("$a", exp=NOW + 60))
        assert reply["subscribe"] == {"expires": True, "ttl": 60}
        await clock.advance(84)
        reply = await client.call(sub_refresh=subscription("$a", exp=NOW + 600))
        assert reply["sub_refresh"] == {"expires": True, "ttl": 516}
        await clock.advance(540)
        await running.publish("$a", "still there")
        assert await client.published() == "still there"

        await clock.advance(1)

        push = {"code": 2501, "reason": "subscription expired"}
        assert await client.reply() == {"push": {"channel": "$a", "unsubscribe": push}}
        assert "subscribe" in await client.call(subscribe=subscription("$a"))


async def test_a_refresh_may_take_the_end_away_and_change_what_others_see():
    """The new token counts, not the one before."""
    clock = ManualClock()
    async with gateway(clock) as running, running.client(connect=False) as client:
        await connected(client)
        await client.call(subscribe=subscription("$a", exp=NOW + 60, info=1))
        reply = await client.call(sub_refresh=subscription("$a", info=2))
        assert reply["sub_refresh"] == {}

        await clock.advance(3600)
        await client.call(publish={"channel": "$a", "data": 1})

        assert (await client.reply())["push"]["pub"]["info"]["chan_info"] == 2


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"channel": "$a"}, 107),
        ({"channel": "$b", "token": "x"}, 103),
        (subscription("$a", exp=NOW - 1), 109),
        (subscription("$a", expire_at=NOW - 1), 110),
        ({**subscription("$a"), "type": 1}, 108),
    ],
)
async def test_a_refresh_that_cannot_be_done_is_an_error(asked, code):
    """The subscription goes on until its end."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client)
        await client.call(subscribe=subscription("$a"))

        assert (await client.call(sub_refresh=asked))["error"]["code"] == code
        await running.publish("$a", 1)
        assert await client.published() == 1


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, 3501),
        ({"channel": "$a", "token": "x"}, 3500),
        (subscription("$a", sub="8"), 3500),
        (subscription("$a", client="another"), 3500),
        ({**subscription("$b"), "channel": "$a"}, 3500),
        (subscription("news"), 3501),
    ],
)
async def test_a_refresh_with_a_wrong_token_ends_the_connection(asked, code):
    """As does one of a subscription that the client did not make itself."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client, channels=["news"])
        await client.call(subscribe=subscription("$a"))
        await client.send(json.dumps({"id": 9, "sub_refresh": asked}))

        assert (await client.closed())[0] == code


async def test_a_connection_brings_its_subscriptions_along():
    """What the token names needs no permission, and what is published there arrives."""
    subs = {
        "closed:a": {"info": {"role": "editor"}, "data": [1]},
        "$secret": {},
        "room:a": {"override": {"force_recovery": {"value": False}}},
    }
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        result = await connected(client, subs=subs)

        assert result["subs"] == {"closed:a": {"data": [1]}, "$secret": {}, "room:a": {}}
        await client.call(publish={"channel": "closed:a", "data": 1})
        assert (await client.reply())["push"]["pub"]["info"]["chan_info"] == {"role": "editor"}
        for channel in ("$secret", "room:a"):
            body = {"channel": channel, "data": channel}
            assert "result" in await running.api("publish", body)
            assert await client.published() == channel


async def reconnected(running: RunningGateway, **position: Any) -> dict[str, Any]:
    async with running.client(connect=False) as client:
        command = connection(channels=["room:a"]) | {"subs": {"room:a": position}}
        result: dict[str, Any] = (await client.call(connect=command))["connect"]["subs"]["room:a"]
        return result


async def test_subscriptions_of_a_connection_recover_with_it():
    """From the positions that stand in the connect command."""
    async with gateway(ManualClock()) as running:
        async with running.client(connect=False) as client:
            begun = (await connected(client, channels=["room:a"]))["subs"]["room:a"]
        assert (begun["recoverable"], begun["offset"]) == (True, 0)
        for number in range(3):
            body = {"channel": "room:a", "data": number}
            assert "result" in await running.api("publish", body)

        found = await reconnected(running, recover=True, offset=1, epoch=begun["epoch"])
        assert found["recovered"] and found["was_recovering"]
        assert [item["data"] for item in found["publications"]] == [1, 2]
        found = await reconnected(running, recover=True, offset=1, epoch="other", flag=2)
        assert (found["was_recovering"], found["offset"]) == (True, 3)
        assert "recovered" not in found


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (connection(channels=["nowhere:a"]), 102),
        (connection(channels=[""]), 107),
        (connection(channels=["ä"]), 107),
        (connection(subs={"lobby:a": {"override": {"force_recovery": {"value": True}}}}), 107),
    ],
)
async def test_a_connection_to_channels_that_are_none_is_an_error(command, code):
    """The application is mistaken, and nothing of it is done by half."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        assert (await client.call(connect=command))["error"]["code"] == code

        assert len(running.gateway.hub) == 0


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (connection(channels=["a", "b", "c"]), 3505),
        (connection(channels=["a"]) | {"subs": [1]}, 3501),
        (connection(channels=["a"]) | {"subs": {"a": 1}}, 3501),
        (connection(channels=["a"]) | {"subs": {"a": {"recover": 1}}}, 3501),
    ],
)
async def test_a_connection_that_asks_for_what_cannot_be_is_ended(command, code):
    """Too many channels, or positions that are none."""
    settings = {"max_channels_per_connection": 2}
    async with gateway(ManualClock(), **settings) as running:
        async with running.client(connect=False) as client:
            await client.send(json.dumps({"id": 1, "connect": command}))

            assert (await client.closed())[0] == code
        assert len(running.gateway.hub) == 0


async def test_a_refresh_with_other_channels_has_the_client_come_back():
    """Its subscriptions are those of the token it connects with."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client, channels=["a", "b"], info=1)
        same = signed({"sub": "7", "channels": ["b", "a"]}, "HS256")
        assert "refresh" in await client.call(refresh={"token": same})
        await client.call(publish={"channel": "a", "data": 1})
        assert (await client.reply())["push"]["pub"]["info"]["conn_info"] == 1
        other = signed({"sub": "7", "channels": ["a"]}, "HS256")
        await client.send(json.dumps({"id": 9, "refresh": {"token": other}}))

        assert await client.closed() == (3010, "insufficient state")


async def test_an_expired_token_does_not_refresh():
    """The connection is over, and its client may come back with a good one."""
    async with gateway(ManualClock()) as running, running.client(connect=False) as client:
        await connected(client, exp=NOW + 60)
        late = signed({"sub": "7", "exp": NOW - 1}, "HS256")
        await client.send(json.dumps({"id": 9, "refresh": {"token": late}}))

        assert await client.closed() == (3005, "connection expired")
