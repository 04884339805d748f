"""What is PostgreSQL's own: its URL, its settings, and what it refuses."""

from __future__ import annotations

import socket
import sys
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from alerts.notify.outbox import Outbox
from alerts.storage import postgresql as postgresql_module
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from tests.support.alerts import make_notification
from tests.support.postgresql import PASSWORD, PostgreSQLServer


async def failure(url: str) -> str:
    """Return why a database cannot be opened."""
    with pytest.raises(StorageError) as caught:
        async with Database(url):
            pass
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_schemes(
    postgresql_server: PostgreSQLServer, shared_postgresql: str, scheme: str
) -> None:
    """A URL may begin in every way that is usual."""
    url = postgresql_server.url(shared_postgresql, scheme=scheme)
    async with Database(url) as database:
        assert database.name.startswith(f"{shared_postgresql} at /")
        assert await Outbox(database).waiting() == ()


async def test_settings(postgresql_server: PostgreSQLServer, postgresql_url: str) -> None:
    """Commits wait for the disk even where the server is set not to, and every wait ends."""
    name = postgresql_server.sql("SELECT datname FROM pg_database ORDER BY oid DESC LIMIT 1")
    postgresql_server.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with Database(postgresql_url, busy_timeout_s=2) as database:
        async with database.transaction() as connection:
            values = {
                setting: (await connection.exec_driver_sql(f"SHOW {setting}")).scalar()
                for setting in (
                    "synchronous_commit",
                    "lock_timeout",
                    "statement_timeout",
                    "idle_in_transaction_session_timeout",
                    "application_name",
                )
            }

    assert values == {
        "synchronous_commit": "on",
        "lock_timeout": "2s",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "1min",
        "application_name": "gatewatch",
    }


async def test_application_name(postgresql_url: str) -> None:
    """What the URL says about the connection holds."""
    async with Database(f"{postgresql_url}&application_name=night%20watch") as database:
        async with database.transaction() as connection:
            found = await connection.exec_driver_sql("SHOW application_name")

            assert found.scalar() == "night watch"


async def test_locked(postgresql_url: str) -> None:
    """A write that another transaction blocks fails in time, and succeeds afterwards."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(postgresql_url, busy_timeout_s=0.05))
        outbox = Outbox(database)
        async with database.transaction() as connection:
            await connection.execute(text("LOCK TABLE outbox"))
            with pytest.raises(StorageError, match="another transaction holds a lock"):
                await outbox.commit([make_notification("n1")], [])
        await outbox.commit([make_notification("n2")], [])

        assert await outbox.waiting() == (make_notification("n2"),)


async def test_slow_statement(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that takes too long is ended."""
    monkeypatch.setattr(postgresql_module, "_STATEMENT_TIMEOUT_S", 0.05)
    async with Database(postgresql_url) as database:
        with pytest.raises(StorageError, match="took too long: look at the server's load"):
            async with database.transaction() as connection:
                await connection.execute(text("SELECT pg_sleep(30)"))


async def test_silent_server(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops answering is given up, and the next transaction connects anew."""
    monkeypatch.setattr(postgresql_module, "_ANSWER_TIMEOUT_S", 0.2)
    async with Database(postgresql_url) as database:
        with pytest.raises(StorageError, match="the server does not answer"):
            async with database.transaction() as connection:
                await connection.execute(text("SELECT pg_sleep(30)"))

        assert await Outbox(database).waiting() == ()


async def test_no_free_connection(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long for a connection is told so."""
    monkeypatch.setattr(postgresql_module, "_POOL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(postgresql_module, "_POOL_SIZE", 1)
    async with Database(postgresql_url) as database:
        async with database.transaction():
            with pytest.raises(StorageError, match=r"no connection was free for 0\.05 s"):
                async with database.transaction():
                    pass


async def test_wrong_password(postgresql_server: PostgreSQLServer) -> None:
    """A refused password is named as such and not repeated."""
    said = await failure(postgresql_server.url("postgres", password="secret"))

    assert "password authentication failed" in said
    assert "look at user and password in alerts.storage_url" in said
    assert "secret" not in said


async def test_no_such_database(postgresql_server: PostgreSQLServer) -> None:
    """A database that is not there is named, with how to make it."""
    said = await failure(postgresql_server.url("nothing"))

    assert 'database "nothing" does not exist; make it with CREATE DATABASE' in said


async def test_read_only(postgresql_server: PostgreSQLServer, postgresql_url: str) -> None:
    """A database that takes no writes is named as such."""
    name = postgresql_server.sql("SELECT datname FROM pg_database ORDER BY oid DESC LIMIT 1")
    postgresql_server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    assert "it is a standby: let alerts.storage_url name the primary" in await failure(
        postgresql_url
    )


async def test_without_rights(postgresql_server: PostgreSQLServer, postgresql_url: str) -> None:
    """A user who may not create tables is told which right is missing."""
    name = postgresql_server.sql("SELECT datname FROM pg_database ORDER BY oid DESC LIMIT 1")
    postgresql_server.sql("CREATE ROLE guest LOGIN PASSWORD 'secret'")
    try:
        said = await failure(postgresql_server.url(name, user="guest", password="secret"))
    finally:
        postgresql_server.sql("DROP ROLE guest")

    assert "permission denied for schema public; the user needs the right to use" in said


async def test_nobody_there(unused_tcp_port: int) -> None:
    """A server that is not there is named, without the password."""
    said = await failure(f"postgresql://me:secret@127.0.0.1:{unused_tcp_port}/alerts")

    assert f"the database alerts at 127.0.0.1:{unused_tcp_port} fails" in said
    assert "is the server running, and are host and port" in said
    assert "secret" not in said


async def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that takes connections and says nothing is given up."""
    monkeypatch.setattr(postgresql_module, "_CONNECT_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = await failure(f"postgresql://me@127.0.0.1:{listener.getsockname()[1]}/alerts")

    assert "the server does not answer; look at the server and the network" in said


def test_driver_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver the URL is refused with the command that installs it."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(StorageError, match=r"pip install 'gatewatch\[postgres\]'"):
        Database("postgresql://host/alerts")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me:secret@db.example.org:5433/alerts", "alerts at db.example.org:5433"),
        ("postgresql://me:sec%40ret@[::1]:5433/my%20alerts", "my alerts at [::1]:5433"),
        ("postgres://a:1,b:2/alerts", "alerts at a:1,b:2"),
        ("postgresql:///alerts?host=/run/pg&user=me&password=secret", "alerts at /run/pg"),
        ("postgresql://host?dbname=alerts", "alerts at host"),
        ("postgresql+asyncpg://", "of the user at the local server"),
    ],
)
def test_names(url: str, name: str) -> None:
    """Messages name the database and its server, never user or password."""
    assert Database(url).name == name


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:host/alerts",
        "postgresql://me:secr/et@host/alerts",
        "postgresql://me:secr#et@host/alerts",
        "postgresql://me:secr?et@host/alerts",
        "postgresql://me:secret@host:port/alerts",
        "postgresql://me:secret@[host/alerts",
    ],
)
def test_wrong_urls(url: str) -> None:
    """A URL whose password is not written as it must be is refused and not repeated."""
    with pytest.raises(StorageError, match="is no PostgreSQL URL; write one such as") as caught:
        Database(url)

    assert "secr" not in str(caught.value)


async def test_parameters_nobody_knows(postgresql_url: str) -> None:
    """A parameter the server does not know is refused in its words."""
    said = await failure(f"{postgresql_url}&colour=red")

    assert 'unrecognized configuration parameter "colour"' in said


async def test_values_the_driver_refuses(postgresql_url: str) -> None:
    """A parameter the driver cannot read makes the URL wrong."""
    assert "is no PostgreSQL URL" in await failure(f"{postgresql_url}&sslmode=secret")
