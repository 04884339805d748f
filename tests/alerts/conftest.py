"""The databases tests of storage run on: a file of SQLite, and a database of PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alerts.storage.database import Database
from alerts.storage.tables import METADATA
from tests.support.alerts import database_url
from tests.support.postgresql import PostgreSQLServer, UnavailableError


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server, started when the first test asks for it."""
    try:
        server = PostgreSQLServer().__enter__()
    except UnavailableError as error:
        pytest.skip(f"no PostgreSQL can be run here: {error}")
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


@pytest.fixture
def postgresql_url(postgresql_server: PostgreSQLServer) -> Iterator[str]:
    """The URL of an empty database of PostgreSQL."""
    name = postgresql_server.create_database()
    yield postgresql_server.url(name)
    postgresql_server.drop_database(name)


@pytest.fixture(scope="session")
def shared_postgresql(postgresql_server: PostgreSQLServer) -> str:
    """The name of a database of PostgreSQL that tests use one after the other."""
    return postgresql_server.create_database()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file of SQLite, to be copied."""
    directory = tmp_path_factory.mktemp("migrated")

    async def migrate() -> None:
        async with Database(database_url(directory)):
            pass

    # In a thread, as a test's loop may run in this one.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, migrate()).result()
    return directory / "alerts.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of database a test runs on: it runs on both."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def storage_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if kind == "sqlite":
        return database_url(tmp_path)
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def database(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> AsyncIterator[Database]:
    """A migrated database without rows, of either kind."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path)
        async with Database(database_url(tmp_path)) as opened:
            yield opened
        return
    name: str = request.getfixturevalue("shared_postgresql")
    server: PostgreSQLServer = request.getfixturevalue("postgresql_server")
    async with Database(server.url(name)) as opened:
        yield opened
    # For so few rows quicker than TRUNCATE, which makes new files.
    server.sql(";".join(f"DELETE FROM {table}" for table in METADATA.tables), database=name)
