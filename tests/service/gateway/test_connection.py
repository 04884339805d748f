"""Client connections over real sockets: commands, errors, limits, ends."""

import asyncio
import json
from typing import Any

import aiohttp
import jwt
import pytest

from alerts.clock import ManualClock
from service.gateway.protocol import MAX_ENVELOPE_BYTES
from tests.support.gateway import API_KEY, running_gateway, until
from tests.support.tokens import jwk, key_set_server, private_key, signed

SECRET = "a secret of at least thirty-two bytes"


async def test_publications_reach_subscribers_and_only_those():
    """What is published to a channel reaches who subscribed to it."""
    async with running_gateway() as running, running.client() as one, running.client() as other:
        await one.subscribe("news")
        await other.subscribe("weather")

        await running.publish("news", {"n": 1})
        await running.publish("weather", {"n": 2})

        assert await one.published() == {"n": 1}
        assert await other.published() == {"n": 2}


async def test_numbers_arrive_as_they_were_sent():
    """Also those that fit neither 64 bits nor a float, from back ends and clients alike."""
    data = b'{"wei":123456789012345678901234567890,"price":0.1,"big":18446744073709551615}'
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("news")
        body = b'{"channel":"news","data":' + data + b"}"
        headers = {"X-API-Key": API_KEY}
        async with running.http.post(
            running.api_url("publish"), data=body, headers=headers
        ) as answer:
            assert answer.status == 200
        await client.send(b'{"id":7,"publish":' + body + b"}")

        frames = [(await client.socket.receive(timeout=10)).data for _ in range(3)]
        assert "".join(frames).count(f'"data":{data.decode()}') == 2


async def test_a_burst_arrives_as_one_frame_of_several_pushes():
    """The first message goes at once; what follows in the window shares a frame."""
    clock = ManualClock()
    async with running_gateway(clock=clock) as running, running.client() as client:
        await client.subscribe("news")

        for number in range(4):
            await running.publish("news", number)
        await clock.advance(0.010)

        assert [push["push"]["pub"]["data"] for push in await client.frame()] == [0]
        assert [push["push"]["pub"]["data"] for push in await client.frame()] == [1, 2, 3]


async def test_a_client_sees_nothing_that_was_published_before_it_subscribed():
    """Also not what was still waiting in the window."""
    clock = ManualClock()
    async with running_gateway(clock=clock) as running:
        async with running.client() as early, running.client() as late:
            await early.subscribe("news")
            await running.publish("news", "sent at once")
            await running.publish("news", "waits")
            await late.subscribe("news")
            await running.publish("news", "after")
            await clock.advance(0.010)

            assert [await early.published() for _ in range(3)] == ["sent at once", "waits", "after"]
            assert await late.published() == "after"


async def test_connect_answers_with_what_clients_need():
    """Id, version and the rhythm of pings."""
    async with running_gateway(ping_interval="25s") as running, running.client() as client:
        result = client.connect_result

    assert result["client"]
    assert result["ping"] == 25
    assert result["pong"] is True
    assert result["version"].startswith("gatewatch ")


async def test_commands_of_one_frame_are_answered_in_order():
    """Clients send connect and subscribe together."""
    async with running_gateway() as running, running.client(connect=False) as client:
        await client.send(
            '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}\n'
            '{"id":3,"publish":{"channel":"a","data":1}}'
        )

        replies = [await client.reply() for _ in range(4)]

    assert "connect" in replies[0]
    assert replies[1] == {"id": 2, "subscribe": {}}
    assert replies[2] == {"id": 3, "publish": {}}
    assert "push" in replies[3]


async def test_a_client_publication_names_its_client():
    """Subscribers see user and client of who published."""
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("chat")

        await client.call(publish={"channel": "chat", "data": {"text": "hi"}})

        publication = (await client.reply())["push"]["pub"]
        assert publication["info"] == {"user": "", "client": client.connect_result["client"]}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"subscribe": {"channel": "nowhere:a"}}, 102),
        ({"subscribe": {"channel": "$private"}}, 103),
        ({"subscribe": {"channel": "dialog#7,8"}}, 103),
        ({"subscribe": {"channel": "a"}}, 105),
        ({"subscribe": {"channel": ""}}, 107),
        ({"subscribe": {"channel": "b", "token": "x"}}, 103),
        ({"subscribe": {"channel": "b", "type": 1}}, 108),
        ({"subscribe": {"channel": "b", "tf": {"op": "eq"}}}, 107),
        ({"subscribe": {"channel": "x" * 256}}, 107),
        ({"publish": {"channel": "b", "data": 1}}, 103),
        ({"publish": {"channel": "a"}}, 107),
        ({"presence": {"channel": "a"}}, 108),
        ({"history": {"channel": "a"}}, 108),
        ({"rpc": {"method": "x", "data": None}}, 108),
        ({"unsubscribe": {}}, 107),
    ],
)
async def test_a_command_that_cannot_be_done_is_answered_with_its_error(command, code):
    """The connection goes on."""
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("a")

        reply = await client.call(**command)

        assert reply["error"]["code"] == code
        assert reply["error"]["message"]
        assert "unsubscribe" in await client.call(unsubscribe={"channel": "a"})


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", 3501),
        ("\n", 3501),
        ("{}", 3501),
        ('{"id":9,"fly":{}}', 3501),
        ('{"id":9,"connect":{}}', 3501),
        ('{"id":9,"subscribe":{"channel":5}}', 3501),
        ('{"id":9,"refresh":{}}', 3501),
        ('{"send":{"data":1}}', 3508),
        ("x" * 70000, 1009),
    ],
)
async def test_a_frame_that_breaks_the_protocol_costs_only_its_connection(frame, code):
    """The neighbour gets its messages; the offender gets the code."""
    async with running_gateway() as running, running.client() as neighbour:
        await neighbour.subscribe("news")
        async with running.client() as offender:
            await offender.subscribe("news")
            await offender.send(frame)

            assert (await offender.closed())[0] == code

        await running.publish("news", 1)
        assert await neighbour.published() == 1
        assert running.gateway.connections.stats.closed == {code: 1}


async def test_a_binary_frame_is_refused():
    """The protocol here is JSON text."""
    async with running_gateway() as running, running.client() as client:
        await client.socket.send_bytes(b"\x00")

        assert (await client.closed())[0] == 3501


async def test_commands_before_connect_are_refused():
    """A client introduces itself first."""
    async with running_gateway() as running, running.client(connect=False) as client:
        await client.send('{"id":1,"subscribe":{"channel":"a"}}')

        assert await client.closed() == (3501, "bad request")


@pytest.mark.parametrize(
    ("token", "end"),
    [
        ("", 3507),
        ("nonsense", 3500),
        (jwt.encode({"sub": "7"}, "another secret of thirty-two bytes!!"), 3500),
        (jwt.encode({"sub": "7", "channel": "a"}, SECRET), 3500),
        (jwt.encode({"sub": 7}, SECRET), 3500),
        (jwt.encode({"sub": "7", "exp": "soon"}, SECRET), 3500),
        (jwt.encode({"sub": "7"}, "", algorithm="none"), 3500),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_wrong_token_ends_the_connection(token, end):
    """No token is only enough where anonymous clients are allowed."""
    settings: dict[str, Any] = {"allow_anonymous": False, "token": {"hmac_secret": SECRET}}
    async with running_gateway(**settings) as running, running.client(connect=False) as client:
        await client.send(json.dumps({"id": 1, "connect": {"token": token}}))

        assert (await client.closed())[0] == end


async def test_an_expired_token_is_an_error_so_that_the_client_gets_a_new_one():
    """109, and the connection waits for its end without accepting more."""
    clock = ManualClock()
    token = jwt.encode({"sub": "7", "exp": int(clock.time()) - 1}, SECRET)
    async with running_gateway(clock=clock, token={"hmac_secret": SECRET}) as running:
        async with running.client(connect=False) as client:
            reply = await client.call(connect={"token": token})
            assert reply["error"] == {"code": 109, "message": "token expired"}

            await client.send('{"id":2,"subscribe":{"channel":"a"}}')
            assert (await client.closed())[0] == 3501


async def test_a_connection_ends_when_its_token_was_not_refreshed():
    """With 25 seconds of grace, and 3005; a refresh in time moves the end."""
    clock = ManualClock()
    now = int(clock.time())
    token = jwt.encode({"sub": "7", "exp": now + 60, "info": {"name": "x"}}, SECRET)
    longer = jwt.encode({"sub": "7", "exp": now + 600}, SECRET)
    settings: dict[str, Any] = {
        "token": {"hmac_secret": SECRET},
        "ping_interval": "1d",
        "stale_timeout": "1d",
    }
    async with running_gateway(clock=clock, **settings) as running:
        async with running.client(connect=False) as client:
            result = (await client.call(connect={"token": token}))["connect"]
            assert (result["expires"], result["ttl"]) == (True, 60)
            await clock.advance(84)
            assert (await client.call(refresh={"token": longer}))["refresh"]["ttl"] == 516
            await clock.advance(540)
            await client.call(unsubscribe={"channel": "a"})

            await clock.advance(1)

            assert await client.closed() == (3005, "connection expired")


async def test_who_does_not_answer_a_ping_is_closed():
    """3012 after the pong timeout; who answers stays."""
    clock = ManualClock()
    async with running_gateway(clock=clock, ping_interval="20s") as running:
        async with running.client() as silent, running.client() as alive:
            await clock.advance(20)
            assert await silent.reply() == {}
            assert await alive.reply() == {}
            await alive.send("{}")
            connections = running.gateway.connections
            await until(lambda: sum(c.awaiting_pong_since is None for c in connections) == 1)

            await clock.advance(8)

            assert await silent.closed() == (3012, "no pong")
            assert "unsubscribe" in await alive.call(unsubscribe={"channel": "a"})


async def test_who_never_connects_is_closed_as_stale():
    """An open socket without a connect command does not keep its place."""
    clock = ManualClock()
    async with running_gateway(clock=clock) as running, running.client(connect=False) as client:
        await until(lambda: len(running.gateway.connections) == 1)

        await clock.advance(10)

        assert await client.closed() == (3502, "stale")


async def test_a_peer_that_does_not_answer_the_close_is_cut():
    """The place of a dead peer is free again after the close timeout."""
    clock = ManualClock()
    async with running_gateway(clock=clock) as running:
        _reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(
            b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await until(lambda: len(running.gateway.connections) == 1)
        await clock.advance(10)
        assert len(running.gateway.connections) == 1

        await clock.advance(5)
        await until(lambda: len(running.gateway.connections) == 0)

        writer.close()


@pytest.mark.parametrize("places", [1, 2])
async def test_one_connection_too_many_is_answered_503(places):
    """A proper answer that tells clients to come back, and a place that is freed is used."""
    async with running_gateway(max_connections=places) as running:
        clients = [await running.http.ws_connect(running.websocket_url) for _ in range(places)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await running.http.ws_connect(running.websocket_url)
        await clients[0].close()
        await until(lambda: len(running.gateway.connections) < places)

        async with running.client() as client:
            await client.subscribe("a")
        for socket in clients:
            await socket.close()

    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "5"
    assert running.gateway.connections.stats.refused["limit"] == 1


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://app.example.com", 101),
        ("http://127.0.0.1:{port}", 101),
        ("https://example.org", 403),
        ("null", 403),
    ],
)
async def test_browsers_may_connect_from_allowed_origins_only(origin, status):
    """The list, and the gateway's own address."""
    async with running_gateway(allowed_origins=["https://*.example.com"]) as running:
        headers = {"Origin": origin.format(port=running.port)}
        try:
            socket = await running.http.ws_connect(running.websocket_url, headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            got = error.status
        else:
            got = 101
            await socket.close()

    assert got == status


async def test_a_plain_request_is_told_what_this_address_speaks():
    """426 instead of a broken upgrade."""
    async with running_gateway() as running:
        url = running.websocket_url.replace("ws:", "http:")
        async with running.http.get(url) as answer:
            assert answer.status == 426


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_connection_has_so_many_channels_and_no_more(limit):
    """Error 106 beyond; leaving one makes room."""
    async with running_gateway(max_channels_per_connection=limit) as running:
        async with running.client() as client:
            for number in range(limit):
                await client.subscribe(f"c{number}")
            refused = await client.call(subscribe={"channel": "more"})
            await client.call(unsubscribe={"channel": "c0"})
            await client.subscribe("more")

    assert refused["error"]["code"] == 106


async def test_a_peer_that_stops_reading_is_cut_off_and_hurts_nobody():
    """3008; the neighbours get everything, and what was not delivered is counted."""
    settings: dict[str, Any] = {"max_queue_size": "64KiB", "ping_interval": "1h"}
    async with running_gateway(batching={"max_delay": "0s"}, **settings) as running:
        async with running.client() as quick, running.client() as slow:
            await quick.subscribe("news")
            await slow.subscribe("news")
            slow.stop_reading()

            closed = running.gateway.connections.stats.closed
            for number in range(2000):
                await running.publish("news", {"n": number, "pad": "x" * 60_000})
                assert (await quick.published())["n"] == number
                if closed:
                    break

            assert closed == {3008: 1}
            assert running.gateway.stats.dropped["slow_consumer"] >= 1
            await running.publish("news", {"n": "after"})
            assert (await quick.published())["n"] == "after"
            slow.vanish()


async def test_a_stop_delivers_what_was_accepted_and_says_when_to_come_back():
    """Waiting messages are flushed before 3001; new publications and connections are refused."""
    clock = ManualClock()
    async with running_gateway(clock=clock) as running, running.client() as client:
        await client.subscribe("news")
        for number in range(3):
            await running.publish("news", number)
        draining = asyncio.create_task(running.gateway.drain())

        assert [await client.published() for _ in range(3)] == [0, 1, 2]
        assert await client.closed() == (3001, "shutdown")
        report = await draining

        assert (report.closed, report.aborted) == (1, 0)
        headers = {"X-API-Key": API_KEY}
        url = running.api_url("publish")
        async with running.http.post(
            url, json={"channel": "news", "data": 1}, headers=headers
        ) as answer:
            assert answer.status == 503
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await running.http.ws_connect(running.websocket_url)


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
async def test_a_publication_that_no_client_could_take_is_refused(extra, fits):
    """107 to its publisher, back end or client; else it would cost every subscriber its place."""
    size = 16384 - MAX_ENVELOPE_BYTES + extra
    data = "x" * (size - 2)
    async with running_gateway(max_queue_size="16KiB") as running, running.client() as client:
        await client.subscribe("a")
        tagged = {"channel": "a", "data": data[:-100], "tags": {"t": "x" * (92 + extra)}}
        for publish in (
            lambda: client.call(publish={"channel": "a", "data": data}),
            lambda: running.api("publish", {"channel": "a", "data": data}),
            lambda: running.api("publish", tagged),
        ):
            answer = await publish()
            assert ("error" not in answer) is fits
            assert fits or answer["error"]["code"] == 107
            if fits:
                await client.published()  # two of them do not fit the queue
        assert "unsubscribe" in await client.call(unsubscribe={"channel": "a"})


async def test_a_client_that_is_closed_while_its_token_is_judged_stays_closed():
    """The answer of a provider that comes too late opens nothing."""
    clock = ManualClock()
    token = signed({"sub": "7"}, "ES256", kid="a")
    async with key_set_server() as server:
        server.keys = [jwk(private_key("ES256"), kid="a")]
        server.release.clear()
        async with running_gateway(clock=clock, token={"jwks_url": server.url}) as running:
            async with running.client(connect=False) as client:
                await client.send(
                    json.dumps({"id": 1, "connect": {"token": token}})
                    + '\n{"id":2,"subscribe":{"channel":"a"}}'
                )
                await asyncio.wait_for(server.arrived.wait(), 10)
                await until(lambda: any(c.messages_in for c in running.gateway.connections))
                (connection,) = running.gateway.connections

                await clock.advance(10)
                server.release.set()

                assert await client.closed() == (3502, "stale")
                await until(lambda: len(running.gateway.connections) == 0)
                assert connection.identity is None


async def test_later_commands_wait_for_the_token_of_connect_and_others_do_not():
    """Clients send subscribe behind connect; a slow provider holds up that one connection only."""
    token = signed({"sub": "7"}, "ES256", kid="a")
    async with key_set_server() as server:
        server.keys = [jwk(private_key("ES256"), kid="a")]
        server.release.clear()
        async with running_gateway(token={"jwks_url": server.url}) as running:
            async with running.client(connect=False) as client, running.client() as other:
                await client.send(
                    json.dumps({"id": 1, "connect": {"token": token}})
                    + '\n{"id":2,"subscribe":{"channel":"a"}}'
                )
                await asyncio.wait_for(server.arrived.wait(), 10)
                await other.subscribe("a")
                server.release.set()

                assert "connect" in await client.reply()
                assert await client.reply() == {"id": 2, "subscribe": {}}
