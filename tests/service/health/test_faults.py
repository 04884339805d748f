"""Checks of things that misbehave beside checks of things that work, all at the same time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET

import pytest

from service.config.health_settings import HealthSettings
from service.health.checks import configured_checks, run_check
from service.health.state import ProbeResult
from tests.support.certificates import Certificates
from tests.support.http import loopback_server, raw_server
from tests.support.probes import probe_parts

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TEN_GIB = HEAD + b"Content-Length: 10737418240\r\n\r\n"


@asynccontextmanager
async def resetting_server() -> AsyncIterator[int]:
    """Send half an answer and reset the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


FAULTS = {
    "hangs before the header": "timeout",
    "hangs in the body": "timeout",
    "header without end": "protocol",
    "body of 10 GiB": "body_size",
    "body without end": "body_size",
    "redirects in circles": "redirects",
    "resolves to nothing": "dns",
    "refuses": "connect",
    "resets in the body": "body",
    "expired": "tls",
    "of another name": "tls",
    "no UTF-8": "condition",
    "no JSON": "condition",
}
"""What is wrong, and what the result calls it."""


@asynccontextmanager
async def faulty_urls(
    certificates: Certificates, closed_port: int
) -> AsyncIterator[dict[str, str]]:
    async with AsyncExitStack() as stack:

        async def raw(*chunks: bytes, repeat: bytes = b"", hold: bool = False) -> str:
            port = await stack.enter_async_context(raw_server(*chunks, repeat=repeat, hold=hold))
            return f"http://127.0.0.1:{port}/"

        async def secure(name: str, days: float) -> str:
            context = certificates.server_for(name, days)
            server = await asyncio.start_server(
                lambda _, writer: writer.close(), "localhost", 0, ssl=context
            )
            await stack.enter_async_context(server)
            return f"https://localhost:{server.sockets[0].getsockname()[1]}/"

        server = await stack.enter_async_context(loopback_server())
        reset = await stack.enter_async_context(resetting_server())
        yield {
            "hangs before the header": server.url("/hang"),
            "hangs in the body": await raw(HEAD + b"Content-Length: 9\r\n\r\nhalf", hold=True),
            "header without end": await raw(HEAD, repeat=b"X-Again: 1\r\n" * 100),
            "body of 10 GiB": await raw(TEN_GIB, repeat=b"x" * 65536),
            "body without end": server.url("/endless"),
            "redirects in circles": server.url("/loop"),
            "resolves to nothing": "http://gatewatch.invalid/",
            "refuses": f"http://127.0.0.1:{closed_port}/",
            "resets in the body": f"http://127.0.0.1:{reset}/",
            "expired": await secure("localhost", -1),
            "of another name": await secure("example.org", 30),
            "no UTF-8": await raw(HEAD + b'Content-Length: 5\r\n\r\n{"\xff"}', hold=True),
            "no JSON": await raw(HEAD + b"Content-Length: 6\r\n\r\n<html>", hold=True),
            "works": server.url("/ok"),
        }


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


async def test_every_fault_is_a_result_with_a_reason(certificates, unused_tcp_port):
    """Each fails its own check for its own reason, and those between them work."""
    async with faulty_urls(certificates, unused_tcp_port) as urls, probe_parts() as parts:
        faulty = [
            {
                "name": name,
                "timeout": "2s" if FAULTS.get(name) == "timeout" else "20s",
                "http": {"url": url, "tls": {"ca_file": certificates.ca_file}},
                "conditions": ["[BODY].status == up"] if name != "works" else [],
            }
            for name, url in urls.items()
        ]
        good = [{"name": f"good {n}", "http": {"url": urls["works"]}} for n in range(30)]
        settings = HealthSettings.model_validate({"checks": [*good, *faulty]})
        checks = configured_checks(settings, parts)
        results = await asyncio.gather(*(run_check(check, parts.clock) for check in checks))
    found: dict[str, ProbeResult] = {
        check.name: result for check, result in zip(checks, results, strict=True)
    }

    assert {name: found[name].error_type for name in FAULTS} == FAULTS
    assert all(found[name].reason for name in FAULTS)
    assert all(result.success for name, result in found.items() if name not in FAULTS)
