"""The DNS probe against a server that answers as a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.support.probes import run_once

ZONE = {
    ("www.example.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("example.", "MX"): ["10 mail.example."],
    ("large.example.", "A"): ["192.0.2.9"],
}


def answer(query: dns.message.Message, *, truncated: bool) -> bytes:
    response = dns.message.make_response(query)
    question = query.question[0]
    records = ZONE.get((question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
    if records:
        response.answer.append(
            dns.rrset.from_text(
                question.name, 60, "IN", dns.rdatatype.to_text(question.rdtype), *records
            )
        )
    elif question.name.to_text().startswith("no."):
        response.set_rcode(dns.rcode.NXDOMAIN)
    if truncated and question.name.to_text().startswith("large."):
        response.answer.clear()
        response.flags |= dns.flags.TC
    return response.to_wire()


class UDP(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        if query.question[0].name.to_text().startswith("silent."):
            return
        wire = answer(query, truncated=True)
        if query.question[0].name.to_text().startswith("broken."):
            wire = data[:2] + b"\x80"
        self.transport.sendto(wire, address)  # type: ignore[attr-defined]


async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> tuple[asyncio.Server, asyncio.BaseTransport]:
    """Listen with TCP and UDP on one port, which takes some luck."""
    loop = asyncio.get_running_loop()
    while True:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        try:
            address = server.sockets[0].getsockname()[:2]
            transport, _ = await loop.create_datagram_endpoint(UDP, address)
        except OSError:
            server.close()
        else:
            return server, transport


@asynccontextmanager
async def dns_server() -> AsyncIterator[str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        wire = answer(dns.message.from_wire(await reader.readexactly(size)), truncated=False)
        writer.write(len(wire).to_bytes(2) + wire)
        writer.close()

    server, transport = await listening(talk)
    port = server.sockets[0].getsockname()[1]
    try:
        async with server:
            yield f"127.0.0.1:{port}"
    finally:
        transport.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_name_that_resolves_works(transport):
    """The answers are the reason, the body, and counted."""
    async with dns_server() as server:
        result = await run_once(
            "dns",
            {
                "query_name": "www.example",
                "server": server,
                "transport": transport,
                "expect": ["192.0.2.2"],
            },
            conditions=["[DNS_RCODE] == NOERROR", "[BODY] == pat(*192.0.2.2)"],
        )

    assert result.success, result.reason
    assert result.reason == "192.0.2.1, 192.0.2.2"
    assert result.attributes["dns.answer.count"] == 2
    assert result.attributes["dns.response_code"] == "NOERROR"


async def test_other_types_are_asked_for():
    """A mail exchanger is an answer like an address."""
    async with dns_server() as server:
        probe: dict[str, object] = {"query_name": "example", "query_type": "MX", "server": server}
        result = await run_once("dns", probe)

    assert (result.success, result.reason) == (True, "10 mail.example.")


async def test_an_answer_too_large_for_udp_comes_by_tcp():
    """A truncated answer is asked for again."""
    async with dns_server() as server:
        result = await run_once("dns", {"query_name": "large.example", "server": server})

    assert (result.success, result.reason) == (True, "192.0.2.9")


@pytest.mark.parametrize(
    ("name", "settings", "error_type", "reason"),
    [
        ("no.example", {}, "rcode", "the answer is NXDOMAIN"),
        ("www.example", {"query_type": "TXT"}, "answer", "www.example has no TXT record"),
        (
            "www.example",
            {"expect": ["192.0.2.7", "192.0.2.8"]},
            "answer",
            "got 192.0.2.1, 192.0.2.2, expected 192.0.2.7 or 192.0.2.8",
        ),
        ("silent.example", {}, "timeout", "no answer from 127.0.0.1"),
        ("broken.example", {}, "protocol", "the answer is not DNS: "),
    ],
)
async def test_other_answers_are_failures(name, settings, error_type, reason):
    """Each has a reason."""
    async with dns_server() as server:
        probe = {"query_name": name, "server": server, **settings}
        result = await run_once("dns", probe, timeout="300ms")

    assert (result.success, result.error_type) == (False, error_type)
    assert result.reason.startswith(reason)


async def test_a_condition_may_want_a_name_not_to_exist():
    """A condition on the code takes the place of NOERROR."""
    async with dns_server() as server:
        probe: dict[str, object] = {"query_name": "no.example", "server": server}
        result = await run_once("dns", probe, conditions=["[DNS_RCODE] == NXDOMAIN"])

    assert result.success, result.reason
