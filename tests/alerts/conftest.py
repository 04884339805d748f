"""The databases tests of storage run on: a file of SQLite, and a database of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return database_url(tmp_path)
    url: str = request.getfixturevalue("postgresql_url")
    return url
