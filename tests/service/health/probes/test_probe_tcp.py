"""The TCP probe against ports that behave in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.http import raw_server
from tests.support.probes import run_once


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1024):
                writer.write(data.upper())
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_port_that_takes_connections_works():
    """How long name and connection took, and who answered, is told."""
    async with echo() as address:
        result = await run_once("tcp", {"address": address}, conditions=["[IP] == 127.0.0.1"])

    assert (result.success, result.reason) == (True, "connected to 127.0.0.1")
    assert result.attributes["network.peer.address"] == "127.0.0.1"
    assert {"dns.lookup.duration", "tcp.connect.duration"} <= set(result.attributes)


async def test_a_port_that_answers_as_expected_works():
    """What is sent arrives, and what comes back is looked through."""
    async with echo() as address:
        probe: dict[str, object] = {"address": address, "send": "ping\r\n", "expect": "PING"}
        result = await run_once("tcp", probe, conditions=["[BODY] == PING"])

    assert result.success, result.reason


async def test_another_answer_is_a_failure():
    """The reason shows the beginning of what came."""
    async with raw_server(b"220 hello\r\n") as port:
        probe: dict[str, object] = {"address": f"127.0.0.1:{port}", "send": "x\n", "expect": "+OK"}
        result = await run_once("tcp", probe)

    assert (result.error_type, result.reason) == (
        "answer",
        "'+OK' is not in the answer '220 hello'",
    )


async def test_an_answer_without_end_is_read_up_to_a_limit():
    """Whoever talks on and on without the word fails, and is not listened to for ever."""
    async with raw_server(repeat=b"blah " * 1000) as port:
        probe: dict[str, object] = {"address": f"127.0.0.1:{port}", "send": "x\n", "expect": "+OK"}
        result = await run_once("tcp", probe)

    assert result.error_type == "answer"


async def test_silence_is_a_failure_in_time():
    """A port that connects and says nothing costs the timeout of its check."""
    async with raw_server(hold=True) as port:
        probe: dict[str, object] = {"address": f"127.0.0.1:{port}", "expect": "+OK"}
        result = await run_once("tcp", probe, timeout="500ms")

    assert (result.error_type, result.reason) == ("timeout", "no complete answer within 500ms")


@pytest.mark.parametrize(("wanted", "success"), [("true", False), ("false", True)])
async def test_a_condition_may_want_a_port_closed(unused_tcp_port, wanted, success):
    """That nobody answers is a failure unless a condition says otherwise."""
    address = f"127.0.0.1:{unused_tcp_port}"
    alone = await run_once("tcp", {"address": address})
    result = await run_once("tcp", {"address": address}, conditions=[f"[CONNECTED] == {wanted}"])

    assert (alone.success, alone.error_type) == (False, "connect")
    assert alone.reason.startswith("no connection: ")
    assert result.success is success


@pytest.mark.parametrize("host", ["gatewatch.invalid", "x" * 70 + ".example"])
async def test_a_name_that_does_not_resolve_is_a_failure(host):
    """It is told apart from a port that is closed, however the name fails."""
    result = await run_once("tcp", {"address": f"{host}:80"})

    assert (result.success, result.error_type) == (False, "dns")
