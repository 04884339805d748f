"""The probes of gRPC, Redis, SQL and SMTP against servers of their protocols."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.support.certificates import Certificates
from tests.support.http import raw_server
from tests.support.postgresql import PostgreSQLServer, UnavailableError
from tests.support.probes import run_once
from tests.support.redis import RedisServer


@asynccontextmanager
async def grpc_server(
    *, with_health: bool = True, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    if with_health:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    status = health_pb2.HealthCheckResponse
    await servicer.set("", status.SERVING)
    await servicer.set("orders", status.NOT_SERVING)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("service", "error_type", "reason"),
    [
        ("", "", "SERVING"),
        ("orders", "not_serving", "the service is NOT_SERVING"),
        ("nobody", "answer", "the server knows no service 'nobody'"),
    ],
)
async def test_grpc_asks_for_the_health_of_a_service(service, error_type, reason):
    """SERVING works, everything else is a failure."""
    async with grpc_server() as address:
        result = await run_once("grpc", {"address": address, "service": service})

    assert (result.error_type, result.reason) == (error_type, reason)


async def test_grpc_tells_servers_without_health_and_nobody_apart(unused_tcp_port):
    """A server that has no such service is there at least."""
    async with grpc_server(with_health=False) as address:
        without = await run_once("grpc", {"address": address})
    nobody = await run_once("grpc", {"address": f"127.0.0.1:{unused_tcp_port}"})

    assert without.reason == "the server does not have the health service"
    assert nobody.error_type == "connect"


async def test_grpc_with_tls_has_the_name_that_is_wanted(tmp_path):
    """A wrong name, a stranger's certificate and a server in plain text are failures of TLS."""
    certificates = Certificates.make(tmp_path)
    leaf = certificates.authority.issue_cert("localhost")
    chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])
    tls = {"ca_file": certificates.ca_file, "server_name": "localhost"}
    async with grpc_server(credentials=credentials) as address:
        given = {"address": address, "use_tls": True}
        named = await run_once("grpc", {**given, "tls": tls})
        other = await run_once("grpc", {**given, "tls": {**tls, "server_name": "else.test"}})
        stranger = await run_once("grpc", {**given, "tls": {"server_name": "localhost"}})
        without = await run_once("grpc", {"address": address})
    async with grpc_server() as address:
        plain = await run_once("grpc", {"address": address, "use_tls": True, "tls": tls})

    assert (named.success, named.reason) == (True, "SERVING")
    assert [each.error_type for each in (other, stranger, plain)] == ["tls"] * 3
    assert other.reason.startswith("no TLS connection: ")
    assert without.error_type == "connect"


@asynccontextmanager
async def redis_server(
    password: str = "", context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Speak as much of RESP2 as a client asks before it pings."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = not password
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2].decode())
                match [words[0].upper(), *words[1:]]:
                    case ["HELLO", *_]:
                        answer = b"-ERR unknown command 'HELLO'\r\n"
                    case ["AUTH", *given]:
                        known = known or given[-1] == password
                        answer = b"+OK\r\n" if known else b"-WRONGPASS invalid password\r\n"
                    case _ if not known:
                        answer = b"-NOAUTH Authentication required.\r\n"
                    case ["PING"]:
                        answer = b"+PONG\r\n"
                    case _:
                        answer = b"+OK\r\n"
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_redis_answers_ping():
    """With the right password, if it asks for one."""
    async with redis_server("hush") as port:
        url = f"redis://127.0.0.1:{port}/0"
        result = await run_once("redis", {"url": url, "password": "hush"})
        wrong = await run_once("redis", {"url": f"redis://:other@127.0.0.1:{port}/0"})

    assert (result.success, result.reason) == (True, "PONG")
    assert wrong.error_type == "authorization"
    assert "other" not in wrong.reason


async def test_redis_with_tls_has_the_name_and_version_that_are_wanted(tmp_path):
    """The certificate must have the name of the settings, and the version must be high enough."""
    certificates = Certificates.make(tmp_path)
    old = certificates.another_server()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = {"ca_file": certificates.ca_file, "server_name": "localhost"}
    conditions = ["[CERTIFICATE_EXPIRATION] > 1h", "[IP] == 127.0.0.1"]
    async with redis_server(context=certificates.server) as port:
        url = f"rediss://127.0.0.1:{port}"
        named = await run_once("redis", {"url": url, "tls": tls}, conditions=conditions)
        other = await run_once("redis", {"url": url, "tls": {**tls, "server_name": "else.test"}})
    async with redis_server(context=old) as port:
        url = f"rediss://127.0.0.1:{port}"
        too_old = await run_once("redis", {"url": url, "tls": {**tls, "min_version": "TLS13"}})

    assert named.success, named.reason
    assert named.attributes["tls.protocol.version"] == "TLSv1.3"
    assert other.error_type == "tls"
    assert not too_old.success


@asynccontextmanager
async def behind_tls(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Take TLS for a server that has none, and yield where."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                writer.write(data)
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, behind_writer), carry(behind_reader, writer))

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_real_redis_with_tls(tmp_path):
    """One that asks for a password and a certificate gets both, and is known by its name."""
    certificates = Certificates.make(tmp_path)
    tls = {
        "ca_file": certificates.ca_file,
        "server_name": "localhost",
        "cert_file": certificates.client_cert,
        "key_file": certificates.client_key,
    }
    with RedisServer("--requirepass", "hush", keep_data=False) as real:
        async with behind_tls(real.port, certificates.strict_server()) as port:
            given: dict[str, object] = {
                "url": f"rediss://127.0.0.1:{port}/1",
                "password": "hush",
                "tls": tls,
            }
            good = await run_once("redis", given, conditions=["[CERTIFICATE_EXPIRATION] > 1h"])
            wrong = await run_once("redis", {**given, "password": "other"})
            name = await run_once("redis", {**given, "tls": {**tls, "server_name": "else.test"}})
            nameless = {each: tls[each] for each in ("ca_file", "server_name")}
            anonymous = await run_once("redis", {**given, "tls": nameless})

    assert (good.success, good.reason) == (True, "PONG")
    assert good.attributes["tls.protocol.version"] == "TLSv1.3"
    assert (wrong.error_type, name.error_type) == ("authorization", "tls")
    assert not anonymous.success
    assert anonymous.error_type in ("tls", "disconnected")


async def test_redis_behind_a_unix_socket_answers_ping(tmp_path):
    """A path stands for host and port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.strip() == b"PING":
                writer.write(b"+PONG\r\n")
        writer.close()

    async with await asyncio.start_unix_server(talk, tmp_path / "redis.sock"):
        there = await run_once("redis", {"url": f"unix://{tmp_path}/redis.sock"})
        gone = await run_once("redis", {"url": f"unix://{tmp_path}/other.sock"})

    assert (there.success, there.reason) == (True, "PONG")
    assert gone.reason == "no connection: No such file or directory"


async def test_redis_that_is_not_there_or_is_another_server_fails(unused_tcp_port):
    """Both have a reason, in time."""
    nobody = await run_once("redis", {"url": f"redis://127.0.0.1:{unused_tcp_port}"})
    async with raw_server(hold=True) as port:
        silent = await run_once("redis", {"url": f"redis://127.0.0.1:{port}"}, timeout="500ms")

    assert nobody.error_type == "connect"
    assert silent.error_type == "timeout"


async def test_sql_asks_a_database(tmp_path):
    """The rows are JSON for conditions; what the query changes is taken back."""
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.executescript("CREATE TABLE t (n, name); INSERT INTO t VALUES (3, 'x'), (4, 'y')")
    url = f"sqlite:///{tmp_path / 'a.db'}"
    changed = await run_once("sql", {"url": url, "query": "DELETE FROM t"})
    result = await run_once(
        "sql",
        {"url": url, "query": "SELECT * FROM t ORDER BY n"},
        conditions=["len([BODY]) == 2", "[BODY][0].n == 3", "[BODY][1].name == y"],
    )

    assert (changed.success, changed.reason) == (True, "0 rows")
    assert (result.success, result.reason) == (True, "2 rows")


async def test_sql_that_fails_says_why(tmp_path):
    """A wrong query and a database that cannot be had are told apart."""
    wrong = await run_once("sql", {"url": "sqlite:///:memory:", "query": "SELECT * FROM absent"})
    missing = await run_once("sql", {"url": f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}"})

    assert (wrong.error_type, wrong.reason) == ("query", "the query fails: no such table: absent")
    assert missing.error_type == "connect"
    assert missing.reason.startswith("no connection: there is no file ")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQLServer]:
    try:
        with PostgreSQLServer() as server:
            yield server
    except UnavailableError as error:
        pytest.skip(str(error))


async def test_sql_asks_postgresql(postgresql):
    """Over asyncpg, with types of its own shown as text."""
    result = await run_once(
        "sql",
        {
            "url": postgresql.url(postgresql.create_database()),
            "query": "SELECT now() - now() AS lag, 1 AS one",
        },
        conditions=["[BODY][0].one == 1"],
    )

    assert (result.success, result.reason) == (True, "1 row")


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_sql_servers_that_are_not_there_fail(unused_tcp_port, kind):
    """The password is in no reason."""
    url = f"{kind}://me:hush@127.0.0.1:{unused_tcp_port}/x"
    result = await run_once("sql", {"url": url})

    assert result.error_type == "connect", result.reason
    assert "hush" not in result.reason


def mysql_packet(sequence: int, body: bytes) -> bytes:
    """Return a packet of MySQL's protocol: its size in three bytes, its number, and the rest."""
    return struct.pack("<I", len(body) | sequence << 24) + body


def mysql_error(code: int, state: str, words: str, *, sequence: int = 2) -> bytes:
    """Return the packet that says what is wrong."""
    said = f"#{state}{words}".encode()
    return mysql_packet(sequence, b"\xff" + struct.pack("<H", code) + said)


MYSQL_GREETING = mysql_packet(
    0,
    b"\x0a8.0.36\0"
    + struct.pack("<I8sxHBHHB10x12sx", 7, b"12345678", 0xF7FF, 33, 2, 0x8008, 21, b"901234567890")
    + b"mysql_native_password\0",
)


@asynccontextmanager
async def mysql_server(first: bytes, then: bytes = b"") -> AsyncIterator[str]:
    """Greet, read a login if there is more to say, say it and hang up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        if then:
            size = int.from_bytes((await reader.readexactly(4))[:3], "little")
            await reader.readexactly(size)
            writer.write(then)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"mysql://me:hush@127.0.0.1:{server.sockets[0].getsockname()[1]}/x"


@pytest.mark.parametrize(
    ("first", "then", "error_type", "reason"),
    [
        (
            MYSQL_GREETING,
            mysql_error(1045, "28000", "Access denied for user 'me'@'localhost'"),
            "authorization",
            "the login is refused: Access denied for user 'me'@'localhost'",
        ),
        (
            MYSQL_GREETING,
            mysql_error(1049, "42000", "Unknown database 'x'"),
            "connect",
            "no connection: Unknown database 'x'",
        ),
        (
            mysql_error(1040, "08004", "Too many connections", sequence=0),
            b"",
            "connect",
            "no connection: Too many connections",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", "connect", "no connection: Packet sequence"),
        (b"", b"", "connect", "no connection: Lost connection"),
    ],
    ids=["password", "database", "full", "another protocol", "hangs up"],
)
async def test_mysql_that_refuses_says_why(first, then, error_type, reason):
    """In the words of the server, and a refused login is told apart."""
    async with mysql_server(first, then) as url:
        result = await run_once("sql", {"url": url})

    assert result.error_type == error_type
    assert result.reason.startswith(reason)
    assert "hush" not in result.reason


async def test_postgresql_that_refuses_the_password_says_so():
    """A refused login is told apart from a server that is not there."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readexactly(8)  # asks for TLS
            writer.write(b"N")
            await reader.readexactly(8)
            body = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "me"\0\0'
            writer.write(b"E" + struct.pack(">I", len(body) + 4) + body)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await run_once("sql", {"url": f"postgresql://me:hush@127.0.0.1:{port}/x"})

    assert result.error_type == "authorization"
    assert result.reason == 'the login is refused: password authentication failed for user "me"'


@asynccontextmanager
async def smtp_server(certificates: Certificates | None, port: int) -> AsyncIterator[str]:
    context = None if certificates is None else certificates.server
    controller = Controller(Sink(), hostname="localhost", port=port, tls_context=context)
    await asyncio.to_thread(controller.start)
    try:
        yield f"localhost:{port}"
    finally:
        await asyncio.to_thread(controller.stop)


async def test_smtp_greets_and_goes_on_with_tls(tmp_path: Path, unused_tcp_port: int):
    """The greeting is the reason, and the certificate is looked at."""
    certificates = Certificates.make(tmp_path)
    async with smtp_server(certificates, unused_tcp_port) as address:
        result = await run_once(
            "smtp",
            {"address": address, "tls": {"ca_file": certificates.ca_file}},
            conditions=["[STATUS] == 220", "[CERTIFICATE_EXPIRATION] > 7d"],
        )
        refused = await run_once("smtp", {"address": address})

    assert result.success, result.reason
    assert result.reason.startswith("220 ")
    assert refused.error_type == "tls"


async def test_smtp_with_tls_from_the_start_has_the_name_that_is_wanted(tmp_path: Path):
    """The certificate must have the name of the settings, as after STARTTLS."""
    certificates = Certificates.make(tmp_path)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 fine\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=certificates.server) as server:
        settings = {
            "address": f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "encryption": "implicit",
        }
        tls = {"ca_file": certificates.ca_file, "server_name": "localhost"}
        named = await run_once("smtp", {**settings, "tls": tls}, conditions=["[IP] == 127.0.0.1"])
        other = await run_once("smtp", {**settings, "tls": {**tls, "server_name": "else.test"}})

    assert named.success, named.reason
    assert other.error_type == "tls"


async def test_smtp_without_starttls_is_a_failure_if_it_is_asked_for(unused_tcp_port_factory):
    """A server in plain text works only if that is wanted."""
    async with smtp_server(None, unused_tcp_port_factory()) as address:
        failed = await run_once("smtp", {"address": address})
        wanted = await run_once("smtp", {"address": address, "encryption": "none"})
    nobody = await run_once("smtp", {"address": f"localhost:{unused_tcp_port_factory()}"})

    assert failed.reason == "the server does not offer STARTTLS"
    assert wanted.success, wanted.reason
    assert nobody.error_type == "connect"


async def test_smtp_that_refuses_everybody_is_a_failure():
    """The code and the words of the server are shown."""
    async with raw_server() as port:
        closed = await run_once("smtp", {"address": f"127.0.0.1:{port}"}, timeout="500ms")

    assert not closed.success
