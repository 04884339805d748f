"""Opening a database of either kind and writing to it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import inspect, text

from alerts.storage.database import Database
from alerts.storage.errors import StorageError


async def test_opened_again(storage_url: str) -> None:
    """What was committed is there when the file is opened again."""
    async with Database(storage_url) as database, database.transaction() as connection:
        await connection.execute(text("CREATE TABLE mine (a INTEGER)"))

    async with Database(storage_url) as database, database.transaction() as connection:
        rows = await connection.execute(text("SELECT count(*) FROM mine"))

        assert rows.scalar() == 0


async def test_rolled_back(storage_url: str) -> None:
    """A transaction that fails leaves nothing, its tables included."""
    async with Database(storage_url) as database:
        with pytest.raises(StorageError):
            async with database.transaction() as connection:
                await connection.execute(text("CREATE TABLE mine (a INTEGER)"))
                await connection.execute(text("SELECT nothing"))

        async with database.transaction() as connection:
            assert not await connection.run_sync(lambda sync: inspect(sync).has_table("mine"))


async def test_newer_version(storage_url: str) -> None:
    """A database of a newer version is left alone and the way out is named."""
    async with Database(storage_url) as database, database.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StorageError) as caught:
        async with Database(storage_url):
            pass

    assert "is at revision '9999', which this version of gatewatch does not know" in str(
        caught.value
    )


async def test_closed(storage_url: str) -> None:
    """A closed database says so."""
    database = Database(storage_url)

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


async def test_many_writers(storage_url: str) -> None:
    """Transactions at the same time wait for each other."""
    async with Database(storage_url) as database:
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE mine (a INTEGER)"))

        async def write(number: int) -> None:
            async with database.transaction() as connection:
                await connection.execute(text("INSERT INTO mine VALUES (:a)"), {"a": number})

        await asyncio.gather(*(write(number) for number in range(10)))

        async with database.transaction() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM mine"))).scalar() == 10
