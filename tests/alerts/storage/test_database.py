"""Opening and migrating the database."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.storage.tables import METADATA
from tests.support.alerts import database_url


async def test_created(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File and directory are made when needed, and nothing is printed."""
    async with Database(database_url(tmp_path / "deep" / "er")):
        pass

    assert (tmp_path / "deep" / "er" / "alerts.db").exists()
    assert capsys.readouterr().out == ""


async def test_durable(tmp_path: Path) -> None:
    """Connections write ahead, wait for the disk, check foreign keys and wait for locks."""
    async with Database(database_url(tmp_path)) as database, database.transaction() as connection:
        values = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]

    assert values == ["wal", 2, 1, 5000]


async def test_migrations_make_the_tables(tmp_path: Path) -> None:
    """The migrations lead to exactly the tables the code uses."""
    async with Database(database_url(tmp_path)):
        pass

    engine = create_engine(database_url(tmp_path))
    found = {
        name: {(column["name"], column["nullable"]) for column in inspect(engine).get_columns(name)}
        for name in inspect(engine).get_table_names()
        if name != "alembic_version"
    }
    engine.dispose()
    assert found == {
        table.name: {(column.name, column.nullable) for column in table.columns}
        for table in METADATA.tables.values()
    }


async def test_opened_again(tmp_path: Path) -> None:
    """What was committed is there when the file is opened again."""
    url = database_url(tmp_path)
    async with Database(url) as database, database.transaction() as connection:
        await connection.execute(text("CREATE TABLE mine (a)"))

    async with Database(url) as database, database.transaction() as connection:
        rows = await connection.execute(text("SELECT count(*) FROM mine"))

        assert rows.scalar() == 0


async def test_rolled_back(tmp_path: Path) -> None:
    """A transaction that fails leaves nothing, its tables included."""
    async with Database(database_url(tmp_path)) as database:
        with pytest.raises(StorageError):
            async with database.transaction() as connection:
                await connection.execute(text("CREATE TABLE mine (a)"))
                await connection.execute(text("SELECT nothing"))

        async with database.transaction() as connection:
            rows = await connection.execute(
                text("SELECT count(*) FROM sqlite_master WHERE name = 'mine'")
            )
            assert rows.scalar() == 0


async def test_newer_version(tmp_path: Path) -> None:
    """A database of a newer version is left alone and the way out is named."""
    async with Database(database_url(tmp_path)) as database, database.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StorageError) as caught:
        async with Database(database_url(tmp_path)):
            pass

    assert "is at revision '9999', which this version of gatewatch does not know" in str(
        caught.value
    )


async def test_locked(tmp_path: Path) -> None:
    """A database another process holds is named as such."""
    connection = sqlite3.connect(tmp_path / "alerts.db")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StorageError) as caught:
            async with Database(database_url(tmp_path), busy_timeout_s=0.05):
                pass
    finally:
        connection.close()

    assert "database is locked; another process uses it" in str(caught.value)


async def test_something_else(tmp_path: Path) -> None:
    """A file that is no database is named as such and left alone."""
    (tmp_path / "alerts.db").write_text("these are my notes, not a database" * 100)

    with pytest.raises(StorageError) as caught:
        async with Database(database_url(tmp_path)):
            pass

    assert "file is not a database; the file is something else" in str(caught.value)
    assert (tmp_path / "alerts.db").read_text().startswith("these are my notes")


async def test_directory_in_the_way(tmp_path: Path) -> None:
    """A path that cannot be a file says what to do."""
    (tmp_path / "alerts.db").mkdir()

    with pytest.raises(StorageError) as caught:
        async with Database(database_url(tmp_path)):
            pass

    assert "unable to open database file; the user that runs gatewatch" in str(caught.value)


async def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A directory that cannot be made says what to do."""
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="cannot create the directory of the database"):
        async with Database(database_url(tmp_path / "file" / "deep")):
            pass


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A directory nobody but root may write in."""
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_unwritable(unwritable: Path) -> None:
    """A directory that cannot be written says what to do."""
    with pytest.raises(StorageError, match="must be able to write the file"):
        async with Database(database_url(unwritable)):
            pass


async def test_closed(tmp_path: Path) -> None:
    """A closed database says so."""
    database = Database(database_url(tmp_path))

    with pytest.raises(StorageError, match="is closed"):
        async with database.transaction():
            pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url at secret@host", "is no database URL"),
        ("mysql://user:secret@host/db", "names a mysql database, which is not supported; write"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_wrong_url(url: str, message: str) -> None:
    """A URL that cannot be used says what would be right, without repeating its password."""
    with pytest.raises(StorageError) as caught:
        Database(url)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_many_writers(tmp_path: Path) -> None:
    """Transactions at the same time wait for each other."""
    async with Database(database_url(tmp_path)) as database:
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE mine (a)"))

        async def write(number: int) -> None:
            async with database.transaction() as connection:
                await connection.execute(text("INSERT INTO mine VALUES (:a)"), {"a": number})

        await asyncio.gather(*(write(number) for number in range(10)))

        async with database.transaction() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM mine"))).scalar() == 10
