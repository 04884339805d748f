"""The TLS probe against certificates of every kind."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from service.health.probes.certificates import tls_attributes
from service.pools.request_record import TLSRecord
from tests.support.certificates import Certificates
from tests.support.http import raw_server
from tests.support.probes import run_once

DAY_S = 86400.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def server(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    started = await asyncio.start_server(talk, "localhost", 0, ssl=context)
    async with started:
        yield started.sockets[0].getsockname()[1]


def probe(port: int, certificates: Certificates, **settings: object) -> dict[str, object]:
    return {
        "address": f"localhost:{port}",
        "tls": {"ca_file": certificates.ca_file},
        **settings,
    }


async def test_a_valid_certificate_works(certificates):
    """Version, subject, and when the chain expires are told."""
    async with server(certificates.server_for("localhost", 30)) as port:
        result = await run_once(
            "tls", probe(port, certificates), conditions=["[CERTIFICATE_EXPIRATION] > 29d"]
        )

    assert result.success, result.reason
    assert result.reason == "TLSv1.3, valid for 29d23h"
    assert result.attributes["tls.protocol.version"] == "TLSv1.3"
    assert float(result.attributes["tls.handshake.duration"]) > 0
    assert len(str(result.attributes["tls.server.hash.sha256"])) == 64


def test_the_first_certificate_of_the_chain_to_expire_counts():
    """An intermediate certificate that ends sooner than the server's own is seen."""
    authority = trustme.CA()
    ends = [datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2040, 2030, 2050)]
    chain = tuple(
        ssl.PEM_cert_to_DER_cert(
            authority.issue_cert("localhost", not_after=end).cert_chain_pems[0].bytes().decode()
        )
        for end in ends
    )
    found = tls_attributes(TLSRecord("TLSv1.3", "x", chain, 0.1))

    assert found["tls.server.certificate.not_after"] == ends[1].timestamp()


@pytest.mark.parametrize(
    ("name", "days", "reason"),
    [
        ("localhost", -1, "the certificate is refused: certificate has expired"),
        ("example.org", 30, "the certificate is refused: Hostname mismatch"),
    ],
)
async def test_a_refused_certificate_is_a_failure_with_its_facts(certificates, name, days, reason):
    """Why it is refused is said, and when it expires is known all the same."""
    async with server(certificates.server_for(name, days)) as port:
        result = await run_once("tls", probe(port, certificates))

    assert (result.success, result.error_type) == (False, "tls")
    assert result.reason.startswith(reason)
    assert "tls.server.certificate.not_after" in result.attributes


async def test_a_certificate_of_nobody_known_is_refused(certificates):
    """Without the right authority there is no trust, unless nothing is verified."""
    async with server(certificates.server) as port:
        refused = await run_once("tls", {"address": f"localhost:{port}"})
        taken = await run_once("tls", {"address": f"localhost:{port}", "tls": {"verify": False}})

    assert refused.error_type == "tls"
    assert taken.success, taken.reason


async def test_a_certificate_that_expires_soon_is_a_failure(certificates):
    """A week is asked for, or what the settings or a condition say."""
    async with server(certificates.server_for("localhost", 3)) as port:
        usual = await run_once("tls", probe(port, certificates))
        less = await run_once("tls", probe(port, certificates, min_validity="2d"))
        condition = await run_once(
            "tls", probe(port, certificates), conditions=["[CERTIFICATE_EXPIRATION] > 48h"]
        )

    assert usual.error_type == "certificate"
    assert usual.reason == "a certificate of the chain expires in 2d23h59m, less than 1w"
    assert less.success
    assert condition.success


async def test_a_name_that_is_not_the_hosts_may_be_asked_for(certificates):
    """Who is connected to by address shows a certificate of a name."""
    async with server(certificates.server_for("example.org", 30)) as port:
        settings = {"ca_file": certificates.ca_file, "server_name": "example.org"}
        result = await run_once("tls", {"address": f"localhost:{port}", "tls": settings})

    assert result.success, result.reason


async def test_a_port_without_tls_is_a_failure(certificates):
    """Something that answers in plain text says so in the reason."""
    async with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        result = await run_once("tls", {"address": f"127.0.0.1:{port}"})

    assert (result.success, result.error_type) in ((False, "tls"), (False, "connect"))
    assert result.reason


async def test_a_missing_file_is_named():
    """Certificates that cannot be read are the fault of the settings."""
    settings: dict[str, object] = {
        "address": "localhost:1",
        "tls": {"ca_file": str(Path("/nowhere/ca.pem"))},
    }
    result = await run_once("tls", settings)

    assert result.error_type == "configuration"
    assert "/nowhere/ca.pem" in result.reason


@asynccontextmanager
async def starttls_server(
    context: ssl.SSLContext, greeting: bytes, replies: dict[bytes, bytes]
) -> AsyncIterator[int]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        try:
            while line := await reader.readline():
                writer.write(replies[line.split()[-1].upper()])
                if b"TLS" in line.upper() or b"STLS" in line.upper():
                    await writer.start_tls(context)
                    await reader.read()
        except (OSError, KeyError):
            pass
        finally:
            writer.close()

    started = await asyncio.start_server(talk, "localhost", 0)
    async with started:
        yield started.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("protocol", "greeting", "replies"),
    [
        (
            "smtp",
            b"220-one\r\n220 two\r\n",
            {b"GATEWATCH": b"250-x\r\n250 STARTTLS\r\n", b"STARTTLS": b"220 go\r\n"},
        ),
        ("imap", b"* OK hello\r\n", {b"STARTTLS": b"* NOTE x\r\na OK go\r\n"}),
        ("pop3", b"+OK hello\r\n", {b"STLS": b"+OK go\r\n"}),
    ],
    ids=["smtp", "imap", "pop3"],
)
async def test_protocols_are_asked_for_tls(certificates, protocol, greeting, replies):
    """A certificate behind STARTTLS is looked at like any other."""
    context = certificates.server_for("localhost", 30)
    async with starttls_server(context, greeting, replies) as port:
        result = await run_once("tls", probe(port, certificates, starttls=protocol))

    assert result.success, result.reason
    assert result.attributes["tls.protocol.version"] == "TLSv1.3"


async def test_a_server_that_does_not_go_on_with_tls_is_a_failure(certificates):
    """What it says instead stands in the reason."""
    replies = {b"GATEWATCH": b"250 x\r\n", b"STARTTLS": b"454 not today\r\n"}
    async with starttls_server(certificates.server, b"220 hello\r\n", replies) as port:
        result = await run_once("tls", probe(port, certificates, starttls="smtp"))

    assert (result.error_type, "454 not today" in result.reason) == ("answer", True)
