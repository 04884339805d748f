"""Clients that break rules on purpose: each costs its own connection, and no one else anything."""

import asyncio
import json
import logging
import struct
from typing import Any

import jwt
import pytest

from alerts.clock import ManualClock
from service.config.gateway_settings import GatewaySettings
from service.gateway.channels import ChannelRules
from service.gateway.codes import SHUTDOWN
from service.telemetry.log_repeats import RepeatsHandler
from tests.support.gateway import RunningGateway, running_gateway, until
from tests.support.peer import BINARY, CLOSE, CONNECT, PING, SUBSCRIBE, TEXT, Peer, peer

SECRET = "a secret of at least thirty-two bytes"


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as a fault."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("code", [3008, 4321, 65535])
async def test_the_codes_that_clients_close_with_are_not_counted_as_ours(code):
    """Otherwise a client could raise alerts, and make as many series as there are codes."""
    async with running_gateway() as running, peer(running, CONNECT) as client:
        client.send(code.to_bytes(2), CLOSE)

        assert await client.close_code() == 1000
        await until(lambda: len(running.gateway.connections) == 0)
        assert running.gateway.connections.stats.closed == {}


async def test_a_close_is_answered_once():
    """The close frame of a peer that answers ours gets no second one."""
    async with running_gateway() as running, peer(running, CONNECT) as client:
        client.send(b"{")
        assert await client.close_code() == 3501

        client.send((3501).to_bytes(2), CLOSE)

        assert await client.reader.read() == b""


async def test_what_comes_after_the_end_is_neither_executed_nor_logged(caplog):
    """One line per connection, however much a peer sends before it is cut."""
    caplog.set_level(logging.INFO, "service")
    async with running_gateway() as running, peer(running, CONNECT) as client:
        for _ in range(50):
            client.send(b"{")
        client.send(b"", CLOSE)
        await until(lambda: len(running.gateway.connections) == 0)

    assert len([r for r in caplog.records if "disconnected" in r.getMessage()]) == 1


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_why_a_client_was_disconnected_stands_in_the_log(caplog, opcode):
    """With its address; the client itself learns code and reason of the protocol only."""
    caplog.set_level(logging.INFO, "service")
    async with running_gateway() as running, peer(running, CONNECT) as client:
        client.send(b"{", opcode)
        assert await client.close_code() == 3501

    (line,) = [r.getMessage() for r in caplog.records if "disconnected" in r.getMessage()]
    assert " at 127.0.0.1 disconnected: " in line


async def test_refused_connections_cannot_flood_the_log(caplog):
    """They are lines of one kind, of which the log takes so many in a while."""
    caplog.set_level(logging.INFO, "service")
    handler = RepeatsHandler([], ManualClock(), limit=20)
    async with running_gateway(max_connections=1) as running, peer(running, CONNECT):
        for _ in range(30):
            url = running.websocket_url.replace("ws:", "http:")
            async with running.http.get(url) as answer:
                assert answer.status == 503

    refusals = [record for record in caplog.records if "refused" in record.getMessage()]
    for record in refusals:
        handler.handle(record)
    assert handler.stats.left_out["info"] == 10
    line = refusals[0].getMessage()
    assert line == "a connection from 127.0.0.1 was refused: all 1 connections are in use"


@pytest.mark.parametrize("number", [b'"' + b"x" * 60_000 + b'"', b"[" * 1000 + b"]" * 1000])
async def test_a_monstrous_id_is_refused_without_being_repeated(caplog, number):
    """Neither size nor depth of what a client sends reaches the log."""
    caplog.set_level(logging.INFO, "service")
    async with running_gateway() as running, peer(running, CONNECT) as client:
        client.send(b'{"id":' + number + b',"publish":{}}')

        assert await client.close_code() == 3501
    assert max(len(record.getMessage()) for record in caplog.records) < 400


async def test_data_too_deep_to_pass_on_is_a_bad_request(caplog):
    """107: trying again would not help."""
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("a")
        data = "[" * 500 + "]" * 500
        await client.send('{"id":9,"publish":{"channel":"a","data":' + data + "}}")

        error = (await client.reply())["error"]

    assert error["code"] == 107
    assert "nested" in error["message"]
    assert complaints(caplog) == []


async def test_a_refused_connect_is_the_last_command():
    """A client may not try one token after the other on one connection."""
    clock = ManualClock()
    old = jwt.encode({"sub": "7", "exp": int(clock.time()) - 1}, SECRET)
    good = jwt.encode({"sub": "7"}, SECRET)
    async with running_gateway(clock=clock, token={"hmac_secret": SECRET}) as running:
        async with running.client(connect=False) as client:
            assert (await client.call(connect={"token": old}))["error"]["code"] == 109

            await client.send(json.dumps({"id": 2, "connect": {"token": good}}))

            assert (await client.closed())[0] == 3501


async def test_fields_that_are_null_are_absent():
    """As in the protocol's schema, where nothing else can be meant."""
    async with running_gateway() as running, running.client(connect=False) as client:
        reply = await client.call(connect={"token": None, "name": None, "version": None})

    assert "connect" in reply


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "https://℀.example.org", ""])
async def test_an_origin_that_is_none_is_refused(origin):
    """403, whatever stands there."""
    async with running_gateway() as running:
        url = running.websocket_url.replace("ws:", "http:")
        async with running.http.get(url, headers={"Origin": origin}) as answer:
            assert answer.status == 403


async def test_an_allowed_origin_may_contain_what_patterns_use():
    """An IPv6 address has brackets."""
    async with running_gateway(allowed_origins=["http://[::1]:3000"]) as running:
        headers = {"Origin": "http://[::1]:3000"}
        async with running.http.ws_connect(running.websocket_url, headers=headers) as socket:
            assert not socket.closed


async def test_the_subprotocol_of_the_protocol_is_accepted():
    """Browsers drop a connection whose server took none of those they offered."""
    async with running_gateway() as running:
        async with running.http.ws_connect(
            running.websocket_url, protocols=["centrifuge-protobuf", "centrifuge-json"]
        ) as socket:
            assert socket.protocol == "centrifuge-json"


async def test_a_subprotocol_that_is_not_spoken_is_refused(caplog):
    """400 with the reason, in place of a connection that cannot work, and nothing in the log."""
    async with running_gateway() as running:
        url = running.websocket_url.replace("ws:", "http:")
        headers = {"Sec-WebSocket-Protocol": "centrifuge-protobuf"}
        async with running.http.get(url, headers=headers) as answer:
            assert answer.status == 400
            assert "centrifuge-json" in await answer.text()
    assert complaints(caplog) == []


async def test_writing_to_a_connection_that_was_just_reset_is_quiet(caplog):
    """Until the loop learns of the loss, a burst may be written to it; that is nobody's fault."""
    async with running_gateway() as running, peer(running, CONNECT, SUBSCRIBE) as client:
        (connection,) = running.gateway.connections
        socket = client.writer.get_extra_info("socket")
        socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: a reset, not a goodbye
        client.writer.transport.abort()
        await asyncio.sleep(0)
        for _ in range(50):
            assert connection.write(b"\x81\x02{}", 1)
        await until(lambda: len(running.gateway.connections) == 0)

    assert complaints(caplog) == []


async def stop_reading(running: RunningGateway, client: Peer) -> None:
    """Fill all buffers on the way to a client, and a part of ours."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    (connection,) = running.gateway.connections
    while connection.queued_bytes < 100_000:
        connection.write(b"\x81\x7e\xff\xff" + b" " * 0xFFFF, 0)
        await asyncio.sleep(0)


async def test_a_client_that_pings_and_does_not_read_ends_quietly(caplog):
    """Its pongs wait behind what it does not read; when it is cut, that is no fault of ours."""
    clock = ManualClock()
    settings: dict[str, Any] = {"max_queue_size": "64MiB", "ping_interval": "1d"}
    async with running_gateway(clock=clock, **settings) as running:
        async with peer(running, CONNECT) as client:
            await stop_reading(running, client)
            for _ in range(5000):
                client.send(b"x" * 125, PING)
            (connection,) = running.gateway.connections
            seen: list[int] = []

            def stuck() -> bool:
                seen.append(connection.queued_bytes)
                return seen[-50:] == seen[-1:] * 50

            await until(stuck)

            connection.abort()
            await until(lambda: len(running.gateway.connections) == 0)

    assert complaints(caplog) == []


async def test_who_says_goodbye_without_reading_does_not_keep_its_socket():
    """What it did not take is thrown away; its place and its buffer are free."""
    settings: dict[str, Any] = {"max_queue_size": "64MiB", "ping_interval": "1d"}
    async with running_gateway(**settings) as running, peer(running, CONNECT) as client:
        await stop_reading(running, client)
        (connection,) = running.gateway.connections

        client.send((1000).to_bytes(2), CLOSE)

        await until(lambda: len(running.gateway.connections) == 0)
        await until(lambda: connection.queued_bytes == 0)


def test_on_uvloop_a_connection_that_is_gone_spoils_nothing():
    """Its transport raises when written to; neighbours get their messages, and a stop ends."""
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        async with running_gateway() as running, peer(running, CONNECT, SUBSCRIBE) as gone:
            (connection,) = running.gateway.connections
            async with running.client() as neighbour:
                await neighbour.subscribe("a")
                gateway = running.gateway

                connection.abort()
                await asyncio.sleep(0)  # the transport is told, the endpoint not yet
                rule = ChannelRules(GatewaySettings()).rule("a")
                gateway.hub.publish("a", b"1", rule=rule, source="api")
                draining = asyncio.create_task(gateway.drain())
                connection.close(SHUTDOWN)

                assert await neighbour.published() == 1
                assert await neighbour.closed() == (3001, "shutdown")
                assert (await draining).aborted == 0
            assert await gone.reader.read() == b""

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
