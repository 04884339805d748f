"""What is SQLite's own: the file, its lock and the disk it is on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from alerts.notify.outbox import Outbox
from alerts.storage import sqlite as sqlite_module
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from tests.support.alerts import database_url, make_alert, make_notification


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


async def test_locked_later(tmp_path: Path) -> None:
    """A write fails while another process holds the lock, and succeeds afterwards."""
    async with Database(database_url(tmp_path), busy_timeout_s=0.05) as database:
        outbox = Outbox(database)
        connection = sqlite3.connect(tmp_path / "alerts.db")
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="database is locked; another process uses it"):
            await outbox.commit([make_notification("n1")], [])
        connection.close()
        await outbox.commit([make_notification("n2")], [])

        assert await outbox.waiting() == (make_notification("n2"),)


async def test_full(tmp_path: Path) -> None:
    """A full disk is named; what was there is there, and what fits later is stored."""
    large = make_notification("n2", alerts=tuple(make_alert(n=str(n)) for n in range(1000)))
    async with Database(database_url(tmp_path)) as database:
        outbox = Outbox(database)
        await outbox.commit([make_notification("n1")], [])
        async with database.transaction() as connection:
            pages = (await connection.execute(text("PRAGMA page_count"))).scalar()
            await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(StorageError, match="disk is full; make room on the disk"):
            await outbox.commit([large], [])

        assert await outbox.waiting() == (make_notification("n1"),)

        async with database.transaction() as connection:
            await connection.execute(text("PRAGMA max_page_count = 1000000"))
        await outbox.commit([large], [])
        assert await outbox.waiting() == (make_notification("n1"), large)


async def test_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long for the transactions before is told so."""
    monkeypatch.setattr(sqlite_module, "_QUEUE_TIMEOUT_S", 0.05)
    async with Database(database_url(tmp_path)) as database:
        async with database.transaction():
            with pytest.raises(StorageError, match=r"waited 0\.05 s for those before it"):
                async with database.transaction():
                    pass


async def test_cancelled(tmp_path: Path) -> None:
    """A transaction that is cancelled leaves nothing, and the next one goes on."""
    async with Database(database_url(tmp_path)) as database:
        began, never = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("CREATE TABLE mine (a INTEGER)"))
                began.set()
                await never.wait()

        task = asyncio.create_task(write())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE mine (a INTEGER)"))


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
